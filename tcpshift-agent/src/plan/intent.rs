//! Intent: what the objects ask for, the same value on every host that has the same objects.
//!
//! It has no numbers and nothing of a host: no address of this host, no clock, no DNS answer. Endpoints are as they are
//! written, by address or by host name. [`resolve`](super::resolve) makes it of objects, and
//! [`assemble`](super::assemble) makes a plan of it.

mod digest;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::decide::Steer;
use tcpshift_common::listener::RuleRow;

pub use self::digest::Digest;
use super::{EndpointAddress, Kind, Limits, OnEmpty, Settings, Unusable, Wish};
use crate::route::model::{LoadBalancer, OutlierDetection};
use crate::route::object::Key;

/// Everything that the objects ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// What Gateways open, the oldest Gateway first, and its ports in their order.
    pub gateways: Vec<Arc<GatewayPort>>,
    /// Ports of services for which a VirtualService has rules for clients inside a mesh, by host and port.
    pub mesh: Vec<Arc<MeshPort>>,
    /// Services that clients inside a mesh can connect to, the oldest first.
    pub services: Vec<Arc<ReachedService>>,
    /// What the objects ask for and nobody does, for the person who reads `status`.
    pub notes: Vec<String>,
    /// Host names, in lower case, that endpoints are written by.
    pub names: BTreeSet<String>,
    /// Paths of unix sockets that are endpoints.
    pub sockets: BTreeSet<Arc<str>>,
}

/// A port that a Gateway opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPort {
    /// The Gateway.
    pub gateway: Key,
    /// Name of the server or the listener in the Gateway.
    pub name: String,
    /// The address that it names; none where it leaves that to the agent.
    pub bind: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Which connection falls to which of `routes`, most specific first.
    pub rules: Vec<RuleRow>,
    /// One for each rule that can be reached; `RuleRow::route` is an index into this list.
    pub routes: Vec<Arc<RouteIntent>>,
    /// What its routes ask for and nobody does.
    pub notes: Vec<String>,
    pub(super) digest: Digest,
}

/// A port of a service with rules for clients inside a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshPort {
    /// Full host name.
    pub host: String,
    /// Port of the service.
    pub port: u16,
    /// The object of the service.
    pub service: Key,
    /// Where clients connect.
    pub addresses: Vec<IpNet>,
    /// As those of a Gateway's port.
    pub rules: Vec<RuleRow>,
    /// As those of a Gateway's port.
    pub routes: Vec<Arc<RouteIntent>>,
    /// The oldest object with a rule for it.
    pub first: Key,
    /// How many ports came before it, in the age of their first objects.
    pub order: usize,
    pub(super) digest: Digest,
}

/// A service with addresses. Where no rule is for a port, its address leads to the service's own endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReachedService {
    /// Its object.
    pub key: Key,
    /// Full host name.
    pub host: String,
    /// Where clients connect.
    pub addresses: Vec<IpNet>,
    /// Its ports.
    pub ports: Vec<ReachedPort>,
}

/// A port of a service, and the one destination of the service's own route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReachedPort {
    /// Port of the service.
    pub port: u16,
    /// With the weight 0: it is alone.
    pub to: [(Arc<Backend>, u64); 1],
}

/// A rule of an object: a `tcp` rule of a VirtualService, or that of a TCPRoute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteIntent {
    /// Kind of the object.
    pub kind: Kind,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub object: String,
    /// Which of the object's rules it is, from 0.
    pub rule: usize,
    /// What leads a connection to its slot.
    pub steer: Steer,
    /// What becomes of the share of a destination without endpoints.
    pub on_empty: OnEmpty,
    /// How long its connections may last.
    pub limits: Limits,
    /// The datapath that the object asks for.
    pub asked: Wish,
    /// Where it goes, in the order of the route file, each backend once, with the sum of its weights.
    pub destinations: Vec<(Arc<Backend>, u64)>,
}

/// What a destination leads to: host, subset and port, with the endpoints as they are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// `host:port` or `host:port/subset`
    pub name: String,
    /// Tells it apart from another backend of the same name: what is visible from the route's namespace may differ.
    pub id: String,
    /// Full host name.
    pub host: String,
    /// Name of the subset, where the route names one.
    pub subset: Option<String>,
    /// Port of the service, not of the endpoint.
    pub port: u16,
    /// How connections to it are opened and kept.
    pub settings: Settings,
    /// How long connections of a route last whose first destination leads here.
    pub limits: Limits,
    /// How its endpoints are chosen.
    pub choice: LoadBalancer,
    /// When an endpoint is ejected; none for the agent's own rule.
    pub ejection: Option<OutlierDetection>,
    /// Its endpoints, or why there is none.
    pub endpoints: Result<Vec<Written>, Unusable>,
}

/// An endpoint as objects have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Written {
    /// Where it is.
    pub at: WrittenAt,
    /// Its weight; 0 counts as 1.
    pub weight: u32,
}

/// Where an endpoint is, as objects say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WrittenAt {
    /// At an address.
    Address(EndpointAddress),
    /// Where DNS says that a host name is.
    Name {
        /// In lower case.
        name: String,
        /// Port of the endpoint.
        port: u16,
        /// Only the first address that DNS answers is an endpoint; else each one is.
        only_first: bool,
    },
}

impl Backend {
    /// Unix sockets that are its endpoints.
    pub fn sockets(&self) -> impl Iterator<Item = &Arc<str>> {
        self.endpoints.iter().flatten().filter_map(|written| match &written.at {
            WrittenAt::Address(EndpointAddress::Unix(path)) => Some(path),
            _ => None,
        })
    }

    /// Host names, in lower case, that its endpoints are written by.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().flatten().filter_map(|written| match &written.at {
            WrittenAt::Name { name, .. } => Some(&**name),
            WrittenAt::Address(_) => None,
        })
    }
}

impl RouteIntent {
    /// The name people see: `namespace/name`, with the index of the rule where it is not the first.
    pub fn name(&self) -> String {
        match self.rule {
            0 => format!("{}/{}", self.namespace, self.object),
            rule => format!("{}/{}#{rule}", self.namespace, self.object),
        }
    }
}

impl Intent {
    /// Says whether two hosts were given the same: rules, weights and endpoints as they are written.
    pub fn digest(&self) -> Digest {
        let parts = self.gateways.iter().map(|port| port.digest).chain(self.mesh.iter().map(|port| port.digest));
        Digest::of_all(parts.chain(self.services.iter().map(|service| Digest::of(&**service))))
    }
}

impl GatewayPort {
    fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.routes.iter().flat_map(|route| &route.destinations).map(|(backend, _)| backend)
    }

    /// Host names that its endpoints are written by.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.backends().flat_map(|backend| backend.names())
    }

    /// Unix sockets that are its endpoints.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Arc<str>> {
        self.backends().flat_map(|backend| backend.sockets())
    }

    /// The same with its digest: to be called once all is in.
    pub(super) fn digested(mut self) -> Self {
        let Self { gateway, name, bind, port, rules, routes, notes: _, digest: _ } = &self;
        self.digest = Digest::of(&(gateway, name, bind, port, rules, routes));
        self
    }
}

impl MeshPort {
    /// As [`GatewayPort::digested`].
    pub(super) fn digested(mut self) -> Self {
        let Self { host, port, service: _, addresses, rules, routes, first: _, order: _, digest: _ } = &self;
        self.digest = Digest::of(&(host, port, addresses, rules, routes));
        self
    }
}
