//! References of VirtualServices: hosts, ports and subsets of destinations, and gateways.

use std::collections::{BTreeSet, HashSet};
use std::slice;

use super::code;
use super::finding::Findings;
use super::provider::Provider;
use super::reach::is_plain;
use super::rules::not_found;
use super::world::{ROOT_NAMESPACE, RuleObject, World, admits};
use crate::route::kind::Kind;
use crate::route::model::gateway::{self, Protocol};
use crate::route::model::{Export, Gateway, GatewayRef, RouteDestination, RouteMatch, VirtualService};
use crate::route::names;
use crate::route::object::Object;

pub(super) fn check(world: &World<'_>, out: &mut Findings) {
    for (object, service) in &world.virtual_services {
        gateways(world, object, service, out);
        for (index, rule) in service.tcp.iter().enumerate() {
            let path = format!("spec.tcp[{index}]");
            matches(world, object, service, (&path, Protocol::Tcp), rule.matches.iter(), out);
            destinations(world, (object, &service.export), &path, &rule.route, out);
        }
        for (index, rule) in service.tls.iter().enumerate() {
            let path = format!("spec.tls[{index}]");
            let blocks = rule.matches.iter().map(|block| &block.connection);
            matches(world, object, service, (&path, Protocol::Tls), blocks, out);
            destinations(world, (object, &service.export), &path, &rule.route, out);
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
            if world.beside.has(Kind::Gateway, namespace, name) {
                continue;
            }
            let written = if *namespace == object.key.namespace { name.clone() } else { format!("{namespace}/{name}") };
            let (message, cure) = no_gateway(world, namespace, name, &written);
            out.push(code::NOT_FOUND, object, field, message, cure);
            continue;
        };
        if !service.hosts.is_empty()
            && !found.servers.iter().any(|server| admits(owner, &server.hosts, object, service))
        {
            let message = format!("no server of {} admits {}", owner.key, service.hosts.join(", "));
            let cure = host_cure((owner, found), object, service);
            out.push(code::HOST_NOT_IN_GATEWAY, object, "spec.hosts", message, cure);
        }
    }
}

/// What to do about a Gateway that has none of the hosts of a VirtualService.
fn host_cure((owner, gateway): (&Object, &Gateway), object: &Object, service: &VirtualService) -> String {
    let namespace = &object.key.namespace;
    let takes = |entries: &[String], host: &str| {
        gateway::admits(entries, &owner.key.namespace, namespace, slice::from_ref(&host.to_owned()))
    };
    let open: Vec<_> = gateway.servers.iter().filter(|server| takes(&server.hosts, "*")).collect();
    let is_plain = is_plain(object, service);
    match open.as_slice() {
        // Other hosts do not distinguish connections.
        [] if is_plain => format!("write `*` here, and add {namespace}/* to `hosts` of a server of the Gateway"),
        [_] if is_plain => "write `*` here".to_owned(),
        open => {
            let own = names::full_host(&service.hosts[0], namespace);
            let entries = open.iter().flat_map(|server| &server.hosts);
            let hosts = entries.map(|entry| entry.split_once('/').map_or(entry.as_str(), |(_, host)| host));
            let decides = |host: &&str| !is_plain || !open.iter().all(|server| takes(&server.hosts, host));
            match hosts.into_iter().filter(|host| open.iter().any(|server| takes(&server.hosts, host))).find(decides) {
                Some(host) => format!("add {own} to `hosts` of a server of the Gateway, or {host} here"),
                None => format!("add {own} to `hosts` of a server of the Gateway"),
            }
        }
    }
}

/// The message for a Gateway that does not exist.
fn no_gateway(world: &World<'_>, namespace: &str, name: &str, written: &str) -> (String, String) {
    let message = format!("Referenced gateway not found: {written:?}");
    if world.api_gateway(namespace, name).is_some() {
        let message = format!("{message} is a Gateway of gateway.networking.k8s.io");
        let cure = "a VirtualService is bound to Gateways of networking.istio.io alone; write a TCPRoute";
        return (message, cure.to_owned());
    }
    let cure = match world.gateway_named(name) {
        Some(other) => format!("write {}/{name}, or add the Gateway", other.key.namespace),
        None => "add the Gateway, or correct the name".to_owned(),
    };
    (message, cure)
}

/// Checks the gateways and ports of each match, for the rules of one protocol.
fn matches<'m>(
    world: &World<'_>,
    object: &Object,
    service: &VirtualService,
    (path, protocol): (&str, Protocol),
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
                if world.beside.has(Kind::Gateway, namespace, short) {
                    continue;
                }
                let (message, own) = no_gateway(world, namespace, short, &name);
                let cure = if world.api_gateway(namespace, short).is_some() {
                    own
                } else {
                    "add the Gateway and name it in `spec.gateways` too, or name one that stands there".to_owned()
                };
                out.push(code::NOT_FOUND, object, field, message, cure);
                continue;
            }
            let message =
                format!("the object does not name {name} in `spec.gateways`, so the match never applies there");
            let cure = if *gateway == GatewayRef::Mesh && service.hosts.iter().any(|host| host == "*") {
                "name a gateway that stands there"
            } else {
                "add it there, or name one that stands there"
            };
            out.push(code::MATCH_GATEWAY_UNBOUND, object, field, message, cure);
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
            let servers = found.iter().flat_map(|(_, gateway)| &gateway.servers);
            let served = servers.filter(|server| server.protocol == protocol && server.port > 0);
            let ports: BTreeSet<u16> = served.map(|server| server.port).collect();
            let ports: Vec<_> = ports.iter().take(8).map(ToString::to_string).collect();
            let message = format!("no server of its gateways has port {port}");
            let mut cure = format!("add a server with port {port} to one of them");
            if !ports.is_empty() {
                cure = format!("name a port that clients connect to ({}), or {cure}", ports.join(", "));
            }
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

fn destinations(
    world: &World<'_>,
    object: (&Object, &Export),
    path: &str,
    route: &[RouteDestination],
    out: &mut Findings,
) {
    for (index, wanted) in route.iter().enumerate() {
        destination(world, object, &format!("{path}.route[{index}].destination"), wanted, out);
    }
}

fn destination(
    world: &World<'_>,
    (object, export): (&Object, &Export),
    path: &str,
    wanted: &RouteDestination,
    out: &mut Findings,
) {
    let namespace = object.key.namespace.as_str();
    let (providers, wild) = world.providers(namespace, export, &wanted.host);
    if providers.is_empty() && world.beside.provides(namespace, &wanted.host) {
        return;
    }
    if providers.is_empty() {
        let cure = not_found(world, namespace, export, &wanted.host);
        let message = format!("Referenced host not found: {:?}", wanted.host);
        out.push(code::NOT_FOUND, object, format!("{path}.host"), message, cure);
    } else if wild && (wanted.host.starts_with('*') || !providers.iter().any(|provider| provider.resolves_each())) {
        let message = format!("{} is known as {} alone, which names no endpoints", wanted.host, providers[0].host);
        let cure = if wanted.host.starts_with('*') {
            "name one host, and add a ServiceEntry with it"
        } else {
            "add a ServiceEntry with this host"
        };
        out.push(code::WILDCARD_SERVICE, object, format!("{path}.host"), message, cure);
    }
    ports(object, path, wanted, &providers, out);
    let Some(subset) = &wanted.subset else { return };
    let service = providers.first().map(|provider| provider.object.key.namespace.as_str());
    let rules = world.rules_for(namespace, service.unwrap_or(namespace), &wanted.host);
    let has =
        |rules: &[RuleObject<'_>]| rules.iter().any(|(_, rule)| rule.subsets.iter().any(|one| one.name == *subset));
    // The subset of an unknown host is not checked.
    let meant = world.hidden(namespace, &wanted.host).or_else(|| world.similar(namespace, &wanted.host));
    let meant = meant.filter(|_| service.is_none());
    let meant = meant.map(|meant| world.rules_for(namespace, &meant.object.key.namespace, &meant.host));
    if has(&rules) || meant.is_some_and(|rules| has(&rules)) || world.beside.rules(namespace, &wanted.host) {
        return;
    }
    let known: BTreeSet<_> =
        rules.iter().flat_map(|(_, rule)| rule.subsets.iter().map(|subset| subset.name.as_str())).collect();
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    let cure = match (rules.first(), service) {
        (Some((rule, _)), _) if known.is_empty() => format!("add the subset to {}", rule.key),
        (Some((rule, _)), _) => format!("name one of its subsets ({known}), or add this one to {}", rule.key),
        (None, service) => elsewhere(world, namespace, service.unwrap_or(namespace), &wanted.host, subset),
    };
    let message =
        format!("Referenced host+subset in destinationrule not found: {:?}", format!("{}+{subset}", wanted.host));
    out.push(code::NOT_FOUND, object, format!("{path}.subset"), message, cure);
}

/// What to do about a DestinationRule that has the subset and is not seen from a namespace, or that there is none.
fn elsewhere(world: &World<'_>, namespace: &str, service: &str, host: &str, subset: &str) -> String {
    let has = |(_, rule): &&RuleObject<'_>| rule.subsets.iter().any(|one| one.name == subset);
    match world.rules_of(&names::full_host(host, namespace)).iter().find(has) {
        Some((other, _)) if [service, ROOT_NAMESPACE].contains(&other.key.namespace.as_str()) => {
            format!("{} has it: let its `exportTo` reach {namespace}", other.key)
        }
        Some((other, _)) => format!("{} has it: put it into the namespace {service}", other.key),
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
                0 => "add the port to the service".to_owned(),
                _ => format!("name a port of the service ({known}), or add this one to it"),
            };
            out.push(code::NOT_FOUND, object, format!("{path}.port.number"), message, cure);
        }
        None if numbers.len() > 1 => {
            let message = format!("{} has the ports {known}, and the destination names none", wanted.host);
            let cure = format!("add `port: {{number: {}}}`, or another of them", numbers[0]);
            out.push(code::PORT_NEEDED, object, path, message, cure);
        }
        _ => {}
    }
}
