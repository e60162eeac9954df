//! Clients inside a mesh: services that they cannot connect to, and destinations that they cannot reach from there.
//!
//! They connect to the endpoint themselves, so it must have an address of their family.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::code;
use super::finding::Findings;
use super::provider::{Provider, ProviderEndpoint};
use super::rules::not_found;
use super::world::World;
use crate::route::model::{GatewayRef, RouteDestination, Spec, VirtualService, WorkloadAddress, selects};
use crate::route::names;
use crate::route::object::Object;

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    for (object, service) in &world.virtual_services {
        if service.gateways.contains(&GatewayRef::Mesh) && !service.tcp.is_empty() {
            let families = addresses(world, object, service, out);
            destinations(world, object, service, &families, out);
        }
    }
}

/// Families of the addresses that clients connect to: true is IPv4. A host without addresses is reported.
fn addresses(world: &World<'_>, object: &Object, service: &VirtualService, out: &mut Findings) -> BTreeSet<bool> {
    let mut families = BTreeSet::new();
    for (at, host) in service.hosts.iter().enumerate() {
        let full = names::full_host(host, &object.key.namespace);
        let meant: Vec<&Provider<'_>> = if full.starts_with('*') {
            world.providers.iter().filter(|provider| names::covers(&full, &provider.host)).collect()
        } else {
            world.providers(&object.key.namespace, &service.export, host).0.into_iter().take(1).collect()
        };
        if meant.is_empty() && is_missing(world, object, service, &full) {
            let message = format!("no service has the host {host}, so clients inside a mesh cannot connect to it");
            let cure = not_found(world, &object.key.namespace, &service.export, host);
            out.push(code::MESH_NO_ADDRESS, object, format!("spec.hosts[{at}]"), message, cure);
        }
        let own: Vec<&IpNet> = meant.iter().flat_map(|provider| provider.addresses()).collect();
        if own.is_empty() && !meant.is_empty() {
            let message = format!("{host} has no address that clients inside a mesh could connect to");
            let cure = address_cure(meant[0]);
            out.push(code::MESH_NO_ADDRESS, object, format!("spec.hosts[{at}]"), message, cure);
        }
        families.extend(own.iter().map(|net| net.addr().to_canonical().is_ipv4()));
    }
    families
}

/// Whether a host without a service makes rules useless that are only for clients inside a mesh. If it is a destination's host
/// too, the finding is the destination's.
fn is_missing(world: &World<'_>, object: &Object, service: &VirtualService, full: &str) -> bool {
    let namespace = object.key.namespace.as_str();
    let mut destinations = service.tcp.iter().flat_map(|rule| &rule.route);
    service.gateways == [GatewayRef::Mesh]
        && !world.beside.provides(namespace, full)
        && !destinations.any(|destination| names::full_host(&destination.host, namespace) == full)
}

/// How a service gets an address.
fn address_cure(provider: &Provider<'_>) -> String {
    let key = &provider.object.key;
    match &provider.object.spec {
        Spec::Service(_) if provider.external => {
            format!("write a ServiceEntry with `addresses` in place of {key}, which leads to another host")
        }
        Spec::Service(_) => format!("give {key} a `clusterIP`"),
        _ if provider.resolves_each() => format!("give {key} `addresses`, endpoints and `resolution: STATIC`"),
        _ => format!("add `addresses` to {key}"),
    }
}

fn destinations(
    world: &World<'_>,
    object: &Object,
    service: &VirtualService,
    families: &BTreeSet<bool>,
    out: &mut Findings,
) {
    for (index, rule) in service.tcp.iter().enumerate() {
        let mesh = |gateways: &[GatewayRef]| gateways.is_empty() || gateways.contains(&GatewayRef::Mesh);
        if !rule.matches.is_empty() && !rule.matches.iter().any(|block| mesh(&block.gateways)) {
            continue;
        }
        let alone = rule.route.len() == 1;
        for (at, destination) in rule.route.iter().enumerate().filter(|(_, one)| alone || one.weight > 0) {
            let Some(endpoints) = endpoints(world, (object, service), destination) else { continue };
            // From IPv6 sockets both families are reached.
            let reached = |v4: bool| endpoints.iter().flatten().any(|ip| !v4 || ip.to_canonical().is_ipv4());
            if let Some(v4) = families.iter().find(|v4| !endpoints.is_empty() && !reached(**v4)) {
                let family = if *v4 { "IPv4" } else { "IPv6" };
                let name = destination.subset.as_ref().map_or_else(String::new, |name| format!(" subset {name}"));
                let host = &destination.host;
                let message = format!("clients that connect to an {family} address reach no endpoint of {host}{name}");
                // Only the agent reaches unix sockets of the host.
                let has_ip = endpoints.iter().any(Option::is_some);
                let cure = match (*v4, has_ip) {
                    (true, true) => "add an endpoint with an IPv4 address, or leave the service IPv6 addresses alone",
                    (true, false) => "add an endpoint with an IPv4 address",
                    (false, _) => "add an endpoint with an IP address",
                };
                let field = format!("spec.tcp[{index}].route[{at}].destination.host");
                out.push(code::MESH_FAMILY, object, field, message, cure);
            }
        }
    }
}

/// Addresses of the endpoints of a destination, none for a unix socket; no list if not all of them are known.
fn endpoints(
    world: &World<'_>,
    (object, service): (&Object, &VirtualService),
    destination: &RouteDestination,
) -> Option<Vec<Option<IpAddr>>> {
    let RouteDestination { host, subset, .. } = destination;
    let namespace = &object.key.namespace;
    let (providers, _) = world.providers(namespace, &service.export, host);
    let provider = providers.first()?;
    let rules = world.rules_for(namespace, &provider.object.key.namespace, host);
    let labels = match subset {
        None => None,
        Some(name) => {
            let subsets = rules.iter().flat_map(|(_, rule)| &rule.subsets);
            Some(&subsets.into_iter().find(|subset| subset.name == *name)?.labels)
        }
    };
    let all = world.endpoints(provider)?;
    let selected = all.into_iter().filter(|endpoint| labels.is_none_or(|labels| selects(labels, endpoint.labels())));
    let mut found = Vec::new();
    for endpoint in selected {
        match endpoint {
            ProviderEndpoint::Workload(workload) => match &workload.address {
                WorkloadAddress::Ip(ip) => found.push(Some(*ip)),
                WorkloadAddress::Unix(_) => found.push(None),
                // Only DNS knows the addresses.
                WorkloadAddress::Host(_) | WorkloadAddress::Network => return None,
            },
            ProviderEndpoint::Slice(slice) => {
                found.extend(slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).map(|ip| Some(*ip)));
            }
        }
    }
    Some(found)
}
