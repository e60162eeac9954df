//! Services: selectors that select nothing, hosts without endpoints, and conflicts of ServiceEntries.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::code;
use super::finding::Findings;
use super::provider::{Endpoint, Provider};
use super::rules::text;
use super::world::World;
use crate::route::model::gateway::Protocol;
use crate::route::model::{Spec, WorkloadAddress};
use crate::route::object::Object;

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    let listeners = Listeners::new(world);
    let mut ports: BTreeMap<(&str, u16), Vec<(&Object, Protocol)>> = BTreeMap::new();
    let mut last: Option<&Object> = None;
    for provider in &world.providers {
        let object = provider.object;
        for port in &provider.ports {
            if let Some(protocol) = port.protocol {
                ports.entry((&provider.host, port.number)).or_default().push((object, protocol));
            }
        }
        // A ServiceEntry of several hosts is one object.
        if !last.is_some_and(|last| std::ptr::eq(last, object)) {
            endpoints(world, provider, &listeners, out);
            addresses(provider, out);
        }
        last = Some(object);
    }
    for ((host, port), found) in ports {
        let Some((first, protocol)) = found.first() else { continue };
        for (object, other) in found.iter().filter(|(_, other)| other != protocol) {
            let message =
                format!("{} gives port {port} of {host} another protocol: {protocol:?}, here {other:?}", first.key);
            out.push(code::PROTOCOL_CONFLICT, object, "spec.ports", message, "give it one protocol");
        }
    }
}

/// Ports of a ServiceEntry that has no addresses. Whether a mesh makes some up is not known here; Istio's validator
/// supposes that it does.
fn addresses(provider: &Provider<'_>, out: &mut Findings) {
    let object = provider.object;
    if !matches!(&object.spec, Spec::ServiceEntry(entry) if entry.addresses.is_empty()) {
        return;
    }
    // What MONGO and the like become here is TCP too, and Istio tells them apart.
    let written =
        |at: usize| object.content.pointer(&format!("/spec/ports/{at}/protocol")).and_then(|word| word.as_str());
    for (at, port) in provider.ports.iter().enumerate() {
        if written(at).is_none_or(|word| word.is_empty() || word.eq_ignore_ascii_case("TCP")) {
            let number = port.number;
            let message =
                format!("without `addresses`, a mesh takes every connection to port {number} for this service");
            let cure = "add `addresses` if there is a mesh that makes up none";
            out.push(code::ADDRESSES_NEEDED, object, format!("spec.ports[{at}].protocol"), message, cure);
        }
    }
}

fn endpoints(world: &World<'_>, provider: &Provider<'_>, listeners: &Listeners, out: &mut Findings) {
    let object = provider.object;
    let Some(found) = world.endpoints(provider) else { return };
    if found.is_empty() {
        let (selector, field) = match &object.spec {
            Spec::Service(service) => (Some(&service.selector).filter(|one| !one.is_empty()), "spec.selector"),
            Spec::ServiceEntry(entry) => (entry.selector.as_ref(), "spec.workloadSelector"),
            _ => return,
        };
        if let Some(selector) = selector {
            let message = format!("no WorkloadEntry of the namespace has {}", text(selector));
            out.push(code::SELECTS_NOTHING, object, field, message, "add one, or correct the labels");
        } else {
            let cure = match &object.spec {
                Spec::Service(_) => "add a `selector` of WorkloadEntries, or an EndpointSlice of the service",
                _ => "add `endpoints`, or a `workloadSelector`",
            };
            out.push(code::NO_ENDPOINT, object, "spec", "the service has no endpoint", cure);
        }
        return;
    }
    for port in &provider.ports {
        let addresses = found.iter().flat_map(|one| one.addresses(port).into_iter().map(move |at| (one, at)));
        if let Some((endpoint, (ip, number))) = addresses.into_iter().find(|(_, (ip, at))| listeners.have(*ip, *at)) {
            let message =
                format!("port {} leads to {ip}:{number}, where a Gateway listens: it is not used", port.number);
            let field = match endpoint {
                Endpoint::Slice(_) => "in `ports` of its EndpointSlice",
                Endpoint::Workload(workload) if workload.ports.contains_key(port.name) => "in its `ports`",
                Endpoint::Workload(_) => "as `targetPort`",
            };
            let cure = format!("name the port where the endpoint serves {field}");
            out.push(code::LOOP, object, "spec.ports", message, cure);
        }
    }
    if let Spec::ServiceEntry(entry) = &object.spec {
        let dialled = |address: &WorkloadAddress| !matches!(address, WorkloadAddress::Network);
        if !entry.endpoints.is_empty() && !entry.endpoints.iter().any(|one| dialled(&one.address)) {
            let message = "no endpoint has an address that could be dialled";
            out.push(code::NO_ENDPOINT, object, "spec.endpoints", message, "give one an IP address");
        }
    }
}

/// What the Gateways listen on.
struct Listeners {
    /// Ports of this host, at every address and at some.
    everywhere: HashSet<u16>,
    bound: HashSet<(IpAddr, u16)>,
}

impl Listeners {
    fn new(world: &World<'_>) -> Self {
        let mut listeners = Self { everywhere: HashSet::new(), bound: HashSet::new() };
        for (_, gateway) in &world.gateways {
            for server in gateway.servers.iter().filter(|server| server.protocol == Protocol::Tcp) {
                match server.bind {
                    Some(ip) if !ip.is_unspecified() => drop(listeners.bound.insert((ip, server.port))),
                    _ => drop(listeners.everywhere.insert(server.port)),
                }
            }
        }
        for (_, gateway) in &world.api_gateways {
            let ports = gateway.listeners.iter().filter(|one| one.protocol == "TCP").map(|one| one.port);
            listeners.everywhere.extend(ports);
        }
        listeners
    }

    /// Whether one is surely at an address. Which addresses are the agent's own is not known here, but for
    /// loopback.
    fn have(&self, ip: IpAddr, port: u16) -> bool {
        self.bound.contains(&(ip, port)) || ip.is_loopback() && self.everywhere.contains(&port)
    }
}
