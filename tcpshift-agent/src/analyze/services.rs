//! Services: selectors that select nothing, hosts without endpoints, and conflicts of ServiceEntries.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use super::code;
use super::finding::Findings;
use super::provider::{Provider, ProviderEndpoint};
use super::rules::{pods, text};
use super::words::list;
use super::world::World;
use crate::route::model::gateway::Protocol;
use crate::route::model::{Export, Labels, Spec, WorkloadAddress};
use crate::route::object::{Key, Object};

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    let listeners = Listeners::new(world);
    let mut last: Option<&Object> = None;
    for provider in &world.providers {
        let object = provider.object;
        // A ServiceEntry of several hosts is one object.
        if !last.is_some_and(|last| std::ptr::eq(last, object)) {
            endpoints(world, provider, &listeners, out);
            addresses(provider, out);
        }
        last = Some(object);
    }
    protocols(world, out);
}

/// Ports of one host that ServiceEntries give different protocols, by the words that they write, as in Istio.
fn protocols(world: &World<'_>, out: &mut Findings) {
    type Uses<'a> = Vec<(&'a Object, usize, String)>;
    type Conflict<'a> = (&'a Object, usize, Vec<String>);
    let mut scopes: BTreeMap<(&str, u16), BTreeMap<String, Uses<'_>>> = BTreeMap::new();
    let mut last: Option<(&Object, Vec<String>)> = None;
    for provider in &world.providers {
        let Spec::ServiceEntry(entry) = &provider.object.spec else { continue };
        let known = last.take().filter(|(object, _)| std::ptr::eq(*object, provider.object));
        let (_, words) = last.insert(known.unwrap_or_else(|| (provider.object, written(provider.object))));
        let named = match &entry.export {
            Export::Everywhere => vec!["*".to_owned()],
            Export::Namespaces(namespaces) => namespaces.clone(),
            Export::Nowhere => Vec::new(),
        };
        for (index, port) in entry.ports.iter().enumerate() {
            let protocol = words.get(index).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
            let uses = scopes.entry((&provider.host, port.number)).or_default();
            for scope in &named {
                uses.entry(scope.clone()).or_default().push((provider.object, index, protocol.clone()));
            }
        }
    }
    // One finding for all ports that conflict.
    let mut conflicts: BTreeMap<(&str, Vec<&Key>), Conflict<'_>> = BTreeMap::new();
    for ((host, port), uses) in &scopes {
        let everywhere = uses.get("*");
        for (scope, own) in uses {
            let all = own.iter().chain(everywhere.into_iter().flatten().filter(|_| scope != "*"));
            let mut all: Vec<_> = all.collect();
            let words: BTreeSet<&str> = all.iter().map(|(_, _, word)| word.as_str()).collect();
            if words.len() < 2 {
                continue;
            }
            all.sort_by(|a, b| a.0.age().cmp(&b.0.age()).then_with(|| a.0.key.cmp(&b.0.key)));
            let mut keys: Vec<&Key> = all.iter().map(|(object, ..)| &object.key).collect();
            keys.dedup();
            let second = all.iter().find(|(object, ..)| object.key != all[0].0.key).unwrap_or(&all[0]);
            let words = words.into_iter().map(|word| if word.is_empty() { "none" } else { word });
            let said = format!("{port} has {}", list(words));
            let (_, _, ports) = conflicts.entry((host, keys)).or_insert((second.0, second.1, Vec::new()));
            if !ports.contains(&said) {
                ports.push(said);
            }
        }
    }
    for ((host, keys), (object, index, ports)) in conflicts {
        let message = format!("{} give ports of {host} different protocols: {}", list(keys), list(ports));
        let cure = "give each port one protocol";
        out.push(code::PROTOCOL_CONFLICT, object, format!("spec.ports[{index}].protocol"), message, cure);
    }
}

/// The protocol of each port as it is written; empty where none is.
fn written(object: &Object) -> Vec<String> {
    let ports = object.content.at("/spec/ports").unwrap_or_default();
    let word =
        |port: &serde_json::Value| port.get("protocol").and_then(|word| word.as_str()).unwrap_or_default().to_owned();
    ports.as_array().into_iter().flatten().map(word).collect()
}

/// Ports of a ServiceEntry without addresses. Istio's validator assumes that a mesh allocates some.
fn addresses(provider: &Provider<'_>, out: &mut Findings) {
    let object = provider.object;
    if !matches!(&object.spec, Spec::ServiceEntry(entry) if entry.addresses.is_empty() && entry.allocated.is_empty()) {
        return;
    }
    // Istio distinguishes MONGO and others, which count as TCP here.
    let words = written(object);
    for (at, port) in provider.ports.iter().enumerate() {
        if words.get(at).is_none_or(|word| word.is_empty() || word.eq_ignore_ascii_case("TCP")) {
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
            let owners = world.beside.pods(&object.key.namespace, selector, &Labels::new());
            if !owners.is_empty() {
                pods(object, field, &provider.host, &owners, out);
                return;
            }
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
                ProviderEndpoint::Slice(_) => "in `ports` of its EndpointSlice",
                ProviderEndpoint::Workload(workload) if workload.ports.contains_key(port.name) => "in its `ports`",
                ProviderEndpoint::Workload(_) => "as `targetPort`",
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

/// Addresses and ports of the Gateways.
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

    /// Whether a listener is certainly at an address. Of the agent's own addresses only loopback is known here.
    fn have(&self, ip: IpAddr, port: u16) -> bool {
        self.bound.contains(&(ip, port)) || ip.is_loopback() && self.everywhere.contains(&port)
    }
}
