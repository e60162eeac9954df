//! Endpoints that are dialled at another port than it seems: ports with names that no service has, and destinations of one
//! route that lead to one address and port.

use std::collections::{BTreeSet, HashMap};

use super::code;
use super::finding::Findings;
use super::provider::Provider;
use super::words::list;
use super::world::World;
use crate::route::kind::Kind;
use crate::route::model::gateway_api::TcpRoute;
use crate::route::model::{Export, Labels, Resolution, RouteDestination, Spec, TargetPort, WorkloadEntry, selects};
use crate::route::names;
use crate::route::object::Object;

/// Destinations of one route that are compared with each other, at most.
const MOST: usize = 32;

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    workloads(world, out);
    slices(world, out);
    for (object, service) in &world.virtual_services {
        for (index, rule) in service.tcp.iter().enumerate().filter(|(_, rule)| rule.route.len() > 1) {
            let ends = rule.route.iter().map(|one| end(world, object, &service.export, one)).collect();
            shared(object, &format!("spec.tcp[{index}].route"), ".destination", ends, out);
        }
    }
    for (object, route) in &world.tcp_routes {
        backends(world, object, route, out);
    }
}

/// The names of ports that endpoints can set a number for: those of the service, and of its target ports.
fn port_names<'p>(provider: &'p Provider<'_>) -> impl Iterator<Item = &'p str> {
    provider.ports.iter().flat_map(|port| {
        let target = match port.target {
            Some(TargetPort::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        [Some(port.name), target].into_iter().flatten().filter(|name| !name.is_empty())
    })
}

/// Ports of `WorkloadEntry` and `WorkloadGroup` objects. Those of a ServiceEntry's own endpoints are checked where it is read.
fn workloads(world: &World<'_>, out: &mut Findings) {
    // Services by the WorkloadEntries that they select.
    let mut selecting: HashMap<*const WorkloadEntry, Vec<&Provider<'_>>> = HashMap::new();
    for provider in &world.providers {
        let Some(selector) = provider.selector() else { continue };
        for workload in world.selected(&provider.object.key.namespace, selector) {
            selecting.entry(std::ptr::from_ref(workload)).or_default().push(provider);
        }
    }
    for (object, workload) in &world.workload_entries {
        let providers = selecting.get(&std::ptr::from_ref(*workload)).map(Vec::as_slice).unwrap_or_default();
        unknown_ports(world, object, "spec.ports", workload, providers, out);
    }
    for (object, group) in &world.workload_groups {
        let labels: Labels = group.labels.clone().into_iter().chain(group.template.labels.clone()).collect();
        let selects = |provider: &&Provider<'_>| {
            provider.object.key.namespace == object.key.namespace
                && provider.selector().is_some_and(|selector| selects(selector, &labels))
        };
        let providers: Vec<_> = world.providers.iter().filter(selects).collect();
        unknown_ports(world, object, "spec.template.ports", &group.template, &providers, out);
    }
}

/// Ports of an endpoint with a name that none of its services has. Without a service nothing is reported.
fn unknown_ports(
    world: &World<'_>,
    object: &Object,
    path: &str,
    workload: &WorkloadEntry,
    providers: &[&Provider<'_>],
    out: &mut Findings,
) {
    let namespace = &object.key.namespace;
    let left_out = [Kind::Service, Kind::ServiceEntry].iter().any(|kind| world.beside.has_kind(*kind, namespace));
    if workload.ports.is_empty() || providers.is_empty() || left_out {
        return;
    }
    let known: BTreeSet<&str> = providers.iter().flat_map(|provider| port_names(provider)).collect();
    let owners: BTreeSet<_> = providers.iter().map(|provider| &provider.object.key).collect();
    for (name, number) in workload.ports.iter().filter(|(name, _)| !known.contains(name.as_str())) {
        let message = format!("{} has no port named {name}: {number} is not dialled", list(&owners));
        let free: Vec<_> = known.iter().filter(|name| !workload.ports.contains_key(**name)).collect();
        let cure = match (free.as_slice(), known.len()) {
            ([only], _) => format!("write {only}"),
            ([], 0) => format!("name the port of the service {name}"),
            ([], _) => format!("remove it, or add a port named {name} to the service"),
            (free, _) => format!("write one of {}", list(free)),
        };
        out.push(code::PORT_NAME, object, format!("{path}.{name}"), message, cure);
    }
}

/// Ports of an `EndpointSlice` that have a name which their Service has not.
fn slices(world: &World<'_>, out: &mut Findings) {
    for (object, slice) in &world.endpoint_slices {
        let Some(name) = &slice.service else { continue };
        let Some(provider) = world.service(&object.key.namespace, name).filter(|service| !service.external) else {
            continue;
        };
        let written = object.content.at("/ports");
        let written = written.as_ref().and_then(|ports| ports.as_array());
        for port in &slice.ports {
            if provider.ports.is_empty() || provider.ports.iter().any(|known| known.name == port.name) {
                continue;
            }
            let is_it = |one: &serde_json::Value| {
                one.get("name").and_then(|name| name.as_str()).unwrap_or_default() == port.name
            };
            let index = written.and_then(|ports| ports.iter().position(is_it)).unwrap_or_default();
            let free = provider.ports.iter().filter(|known| slice.ports.iter().all(|port| port.name != known.name));
            let free: Vec<_> = free.map(|port| format!("{:?}", port.name)).collect();
            let message =
                format!("{} has no port named {:?}: no endpoint is dialled there", provider.object.key, port.name);
            let cure = match free.as_slice() {
                [] => "remove it, or add a port of this name to the Service".to_owned(),
                [only] => format!("write {only}"),
                free => format!("write one of {}", list(free)),
            };
            out.push(code::PORT_NAME, object, format!("ports[{index}].name"), message, cure);
        }
    }
}

/// A destination of a route: its name, its identity, and its addresses.
struct End {
    name: String,
    identity: String,
    addresses: BTreeSet<String>,
}

fn end(world: &World<'_>, object: &Object, export: &Export, wanted: &RouteDestination) -> End {
    let RouteDestination { host, subset, port, .. } = wanted;
    let namespace = object.key.namespace.as_str();
    let full = names::full_host(host, namespace);
    let identity = format!("{full} {subset:?} {port:?}");
    let name = subset.clone().unwrap_or_else(|| host.clone());
    let addresses = addresses(world, (namespace, export), host, subset.as_deref(), *port);
    End { name, identity, addresses: addresses.unwrap_or_default() }
}

/// Addresses and ports of a destination, as far as they are known here.
fn addresses(
    world: &World<'_>,
    (namespace, export): (&str, &Export),
    host: &str,
    subset: Option<&str>,
    port: Option<u16>,
) -> Option<BTreeSet<String>> {
    let (providers, wild) = world.providers(namespace, export, host);
    let provider = providers.first().filter(|_| !wild)?;
    let port = match (port, provider.ports.as_slice()) {
        (None, [only]) => only,
        (None, _) => return None,
        (Some(number), ports) => ports.iter().find(|port| port.number == number)?,
    };
    let none = Labels::new();
    let labels = match subset {
        None => &none,
        Some(name) => {
            let rules = world.rules_for(namespace, &provider.object.key.namespace, host);
            let subsets = rules.iter().flat_map(|(_, rule)| &rule.subsets);
            &subsets.into_iter().find(|subset| subset.name == name)?.labels
        }
    };
    if let Spec::ServiceEntry(entry) = &provider.object.spec
        && matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
        && entry.endpoints.is_empty()
        && entry.selector.is_none()
    {
        let number = port.target_number.unwrap_or(port.number);
        return Some(BTreeSet::from([format!("{}:{number}", provider.host)]));
    }
    let endpoints = world.endpoints(provider)?;
    let selected = endpoints.into_iter().filter(|endpoint| selects(labels, endpoint.labels()));
    Some(selected.flat_map(|endpoint| endpoint.dialled(port)).collect())
}

/// Destinations that lead to an address of another one.
fn shared(object: &Object, path: &str, field: &str, ends: Vec<End>, out: &mut Findings) {
    let ends: Vec<End> = ends.into_iter().take(MOST).collect();
    for (at, end) in ends.iter().enumerate() {
        let field = format!("{path}[{at}]{field}");
        let meets = |other: &&End| other.identity != end.identity && !other.addresses.is_disjoint(&end.addresses);
        let Some(other) = ends[..at].iter().find(meets).filter(|_| !out.has(&object.key, &field)) else { continue };
        let common: Vec<_> = other.addresses.intersection(&end.addresses).collect();
        let message = format!(
            "{} and {} both lead to {}: connections of one get to the other's endpoint",
            other.name,
            end.name,
            list(common)
        );
        let cure = "give each of them an address or a port of its own";
        out.push(code::SAME_ADDRESS, object, field, message, cure);
    }
}

fn backends(world: &World<'_>, object: &Object, route: &TcpRoute, out: &mut Findings) {
    let Some(rule) = route.rules.first().filter(|rule| rule.backends.len() > 1) else { return };
    let ends = rule.backends.iter().map(|backend| {
        let host = names::service_host(&backend.name, &backend.namespace);
        let is_service = backend.group.is_empty() && backend.kind == Kind::Service.name();
        let namespace = object.key.namespace.as_str();
        let addresses = addresses(world, (namespace, &Export::Everywhere), &host, None, backend.port);
        End {
            name: backend.name.clone(),
            identity: format!("{} {} {:?}", backend.namespace, backend.name, backend.port),
            addresses: addresses.filter(|_| is_service).unwrap_or_default(),
        }
    });
    shared(object, "spec.rules[0].backendRefs", "", ends.collect(), out);
}
