//! Builders of kinds that have no rules: gateways, services, their subsets and their endpoints.

use serde::Serialize;
use serde_json::json;
use serde_yaml::Value;

use super::{Object, path};

/// A Gateway of Istio.
#[derive(Clone, Copy, Debug)]
pub struct Gateway;

/// A ServiceEntry.
#[derive(Clone, Copy, Debug)]
pub struct ServiceEntry;

/// A DestinationRule.
#[derive(Clone, Copy, Debug)]
pub struct DestinationRule;

/// A WorkloadEntry.
#[derive(Clone, Copy, Debug)]
pub struct WorkloadEntry;

/// A Gateway that an agent with its usual labels serves, without a port.
pub fn gateway(name: &str) -> Object<Gateway> {
    Object::istio("Gateway", name).set("spec.selector.istio", "ingressgateway")
}

impl Object<Gateway> {
    /// One more TCP port, at the addresses where the agent listens.
    pub fn port(self, port: u16) -> Self {
        let port = json!({ "number": port, "name": format!("tcp-{port}"), "protocol": "TCP" });
        self.push("spec.servers", json!({ "port": port, "hosts": ["*"] }))
    }

    /// More TCP ports.
    pub fn ports(self, ports: impl IntoIterator<Item = u16>) -> Self {
        ports.into_iter().fold(self, Self::port)
    }
}

/// A ServiceEntry of host `NAME.example.com` and resolution STATIC, without ports and endpoints.
pub fn service_entry(name: &str) -> Object<ServiceEntry> {
    Object::istio("ServiceEntry", name)
        .set("spec.hosts[0]", format!("{name}.example.com"))
        .set("spec.resolution", "STATIC")
}

impl Object<ServiceEntry> {
    /// One more address or prefix at which clients in the mesh ask for the service.
    pub fn address(self, address: &str) -> Self {
        self.push("spec.addresses", address)
    }

    /// One more TCP port. Endpoints refer to it by its name.
    pub fn port(self, name: &str, number: u16) -> Self {
        self.push("spec.ports", json!({ "number": number, "name": name, "protocol": "TCP" }))
    }

    /// One more endpoint.
    pub fn endpoint(self, endpoint: Endpoint) -> Self {
        self.push("spec.endpoints", endpoint.0)
    }

    /// How endpoints are found: `STATIC`, `DNS` or `NONE`.
    pub fn resolution(self, resolution: &str) -> Self {
        self.set("spec.resolution", resolution)
    }
}

/// A WorkloadEntry of one endpoint.
pub fn workload_entry(name: &str, endpoint: Endpoint) -> Object<WorkloadEntry> {
    Object::istio("WorkloadEntry", name).set("spec", endpoint.0)
}

/// An endpoint: one of a ServiceEntry, or the `spec` of a WorkloadEntry.
#[derive(Clone, Debug)]
pub struct Endpoint(Value);

/// An endpoint at an IP address, a host name, or a socket as `unix:///run/echo.sock`.
pub fn endpoint(address: &str) -> Endpoint {
    Endpoint(path::value(json!({ "address": address })))
}

impl Endpoint {
    /// The number that a port of the service has here.
    pub fn port(self, name: &str, number: u16) -> Self {
        self.set("ports", name, number)
    }

    /// A label, which subsets and selectors are told by.
    pub fn label(self, name: &str, value: &str) -> Self {
        self.set("labels", name, value)
    }

    fn set(mut self, mapping: &str, name: &str, value: impl Serialize) -> Self {
        *path::field(path::field(&mut self.0, mapping), name) = path::value(value);
        self
    }
}

/// A DestinationRule for a host, without subsets.
pub fn destination_rule(name: &str, host: &str) -> Object<DestinationRule> {
    Object::istio("DestinationRule", name).set("spec.host", host)
}

impl Object<DestinationRule> {
    /// One more subset: the endpoints whose label `version` is its name.
    pub fn subset(self, name: &str) -> Self {
        self.push("spec.subsets", json!({ "name": name, "labels": { "version": name } }))
    }

    /// How an endpoint is chosen, as `ROUND_ROBIN`.
    pub fn balanced(self, policy: &str) -> Self {
        self.set("spec.trafficPolicy.loadBalancer.simple", policy)
    }
}
