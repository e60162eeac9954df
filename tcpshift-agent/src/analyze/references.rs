//! What VirtualServices refer to: hosts, ports and subsets of destinations, and gateways.

use std::collections::HashSet;

use super::code;
use super::finding::Findings;
use super::provider::Provider;
use super::world::{World, admits};
use crate::route::model::{GatewayRef, RouteDestination, RouteMatch, VirtualService};
use crate::route::names;
use crate::route::object::Object;

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    for (object, service) in &world.virtual_services {
        gateways(world, object, service, out);
        for (index, rule) in service.tcp.iter().enumerate() {
            let path = format!("spec.tcp[{index}]");
            matches(world, object, service, &path, rule.matches.iter(), out);
            destinations(world, object, &path, &rule.route, out);
        }
        for (index, rule) in service.tls.iter().enumerate() {
            let path = format!("spec.tls[{index}]");
            matches(world, object, service, &path, rule.matches.iter().map(|block| &block.connection), out);
            destinations(world, object, &path, &rule.route, out);
        }
    }
}

fn gateways(world: &World<'_>, object: &Object, service: &VirtualService, out: &mut Findings) {
    let mut seen = HashSet::new();
    for (index, gateway) in service.gateways.iter().enumerate() {
        let GatewayRef::Gateway { namespace, name } = gateway else { continue };
        let field = format!("spec.gateways[{index}]");
        if !seen.insert(gateway) {
            continue;
        }
        let Some((owner, found)) = world.gateway(namespace, name) else {
            let elsewhere = world.gateway_named(name);
            let cure = match elsewhere {
                Some(other) => format!("write {}/{name}, or add the Gateway", other.key.namespace),
                None => "add the Gateway, or correct the name".to_owned(),
            };
            let written = if *namespace == object.key.namespace { name.clone() } else { format!("{namespace}/{name}") };
            out.push(code::NOT_FOUND, object, field, format!("Referenced gateway not found: {written:?}"), cure);
            continue;
        };
        if !service.hosts.is_empty()
            && !found.servers.iter().any(|server| admits(owner, &server.hosts, object, service))
        {
            let message = format!("no server of {} admits {}", owner.key, service.hosts.join(", "));
            let cure = "add one of the hosts to a server, or a host of a server here";
            out.push(code::HOST_NOT_IN_GATEWAY, object, "spec.hosts", message, cure);
        }
    }
}

/// What each match asks for that its gateways cannot give.
fn matches<'m>(
    world: &World<'_>,
    object: &Object,
    service: &VirtualService,
    path: &str,
    blocks: impl Iterator<Item = &'m RouteMatch>,
    out: &mut Findings,
) {
    for (at, block) in blocks.enumerate() {
        let path = format!("{path}.match[{at}]");
        for (index, gateway) in block.gateways.iter().enumerate() {
            if service.gateways.contains(gateway) {
                continue;
            }
            let field = format!("{path}.gateways[{index}]");
            let name = match gateway {
                GatewayRef::Mesh => "mesh".to_owned(),
                GatewayRef::Gateway { namespace, name } => format!("{namespace}/{name}"),
            };
            if let GatewayRef::Gateway { namespace, name: short } = gateway
                && world.gateway(namespace, short).is_none()
            {
                let message = format!("Referenced gateway not found: {name:?}");
                out.push(code::NOT_FOUND, object, field, message, "add the Gateway, or correct the name");
                continue;
            }
            let message =
                format!("the object does not name {name} in `spec.gateways`, so the match never applies there");
            out.push(code::MATCH_GATEWAY_UNBOUND, object, field, message, "add it there, or remove it here");
        }
        let applies = if block.gateways.is_empty() { &service.gateways } else { &block.gateways };
        if applies.contains(&GatewayRef::Mesh) {
            continue;
        }
        let found: Vec<_> = applies
            .iter()
            .filter_map(|gateway| match gateway {
                GatewayRef::Gateway { namespace, name } => world.gateway(namespace, name),
                GatewayRef::Mesh => None,
            })
            .collect();
        if let Some(port) = block.port
            && !found.is_empty()
            && found.len() == applies.len()
            && !found.iter().any(|(_, gateway)| gateway.servers.iter().any(|server| u32::from(server.port) == port))
        {
            let mut ports: Vec<_> =
                found.iter().flat_map(|(_, gateway)| gateway.servers.iter().map(|server| server.port)).collect();
            ports.sort_unstable();
            ports.dedup();
            let ports: Vec<_> = ports.iter().take(8).map(ToString::to_string).collect();
            let message = format!("no server of its gateways has port {port}");
            let cure = format!("a match names the port that clients connect to; there are {}", ports.join(", "));
            out.push(code::MATCH_PORT_UNSERVED, object, format!("{path}.port"), message, cure);
        }
        for (given, name) in
            [(!block.source_labels.is_empty(), "sourceLabels"), (block.source_namespace.is_some(), "sourceNamespace")]
        {
            if given {
                let message = format!("{name} is ignored at gateways: connections of every client match");
                let cure = "use sourceSubnet to choose clients, or remove it";
                out.push(code::IGNORED_AT_GATEWAY, object, format!("{path}.{name}"), message, cure);
            }
        }
    }
}

fn destinations(world: &World<'_>, object: &Object, path: &str, route: &[RouteDestination], out: &mut Findings) {
    for (index, wanted) in route.iter().enumerate() {
        destination(world, object, &format!("{path}.route[{index}].destination"), wanted, out);
    }
}

fn destination(world: &World<'_>, object: &Object, path: &str, wanted: &RouteDestination, out: &mut Findings) {
    let namespace = object.key.namespace.as_str();
    let (providers, wild) = world.providers(namespace, &wanted.host);
    if providers.is_empty() {
        let cure = match world.similar(namespace, &wanted.host) {
            Some(other) => format!("did you mean {other}?"),
            None => "add a Service or ServiceEntry, or correct the host".to_owned(),
        };
        let message = format!("Referenced host not found: {:?}", wanted.host);
        out.push(code::NOT_FOUND, object, format!("{path}.host"), message, cure);
    } else if wild && (wanted.host.starts_with('*') || !providers.iter().any(|provider| provider.resolves_each())) {
        let message = format!("{} is known as {} alone, which names no endpoints", wanted.host, providers[0].host);
        let cure = "add a ServiceEntry with this host";
        out.push(code::WILDCARD_SERVICE, object, format!("{path}.host"), message, cure);
    }
    ports(object, path, wanted, &providers, out);
    let Some(subset) = &wanted.subset else { return };
    let service = providers.first().map_or(namespace, |provider| provider.object.key.namespace.as_str());
    let rules = world.rules_for(namespace, service, &wanted.host);
    if rules.iter().any(|(_, rule)| rule.subsets.iter().any(|known| known.name == *subset)) {
        return;
    }
    let mut known: Vec<_> =
        rules.iter().flat_map(|(_, rule)| rule.subsets.iter().map(|subset| subset.name.as_str())).collect();
    known.dedup();
    let cure = match known.as_slice() {
        [] => elsewhere(world, &names::full_host(&wanted.host, namespace), subset),
        known => format!("its subsets are {}", known.join(", ")),
    };
    let message =
        format!("Referenced host+subset in destinationrule not found: {:?}", format!("{}+{subset}", wanted.host));
    out.push(code::NOT_FOUND, object, format!("{path}.subset"), message, cure);
}

/// A DestinationRule that has the subset and is not seen.
fn elsewhere(world: &World<'_>, host: &str, subset: &str) -> String {
    let has = |(_, rule): &&super::world::Rule<'_>| rule.subsets.iter().any(|one| one.name == subset);
    match world.rules_of(host).iter().find(has) {
        Some((other, _)) => format!("{} has it, and is not visible from here", other.key),
        None => "add a DestinationRule for the host with this subset".to_owned(),
    }
}

fn ports(object: &Object, path: &str, wanted: &RouteDestination, providers: &[&Provider<'_>], out: &mut Findings) {
    if providers.is_empty() || providers.iter().any(|provider| provider.external) {
        return;
    }
    let mut numbers: Vec<u16> =
        providers.iter().flat_map(|provider| provider.ports.iter().map(|port| port.number)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let known: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    let known = known.join(", ");
    match wanted.port {
        Some(port) if !numbers.contains(&port) => {
            let message = format!("Referenced host:port not found: {:?}", format!("{}:{port}", wanted.host));
            let cure = match numbers.len() {
                0 => "the service has no TCP port".to_owned(),
                _ => format!("name a port of the service: {known}"),
            };
            out.push(code::NOT_FOUND, object, format!("{path}.port.number"), message, cure);
        }
        None if numbers.len() > 1 => {
            let message = format!("{} has the ports {known}, and the destination names none", wanted.host);
            out.push(code::PORT_NEEDED, object, path, message, "add `port: {number: N}`");
        }
        _ => {}
    }
}
