//! Which rule gets the connections of a port: rules that never get one, ports with several VirtualServices, and ports without
//! any.
//!
//! At a gateway the longest source prefix wins, then the longest destination prefix, then the order. So a rule
//! is dead where each of its pairs of prefixes is taken by an earlier one, or none of its ports is served.

mod mesh;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::code;
use super::finding::Findings;
use super::openings::Openings;
use super::words::list;
use super::world::{World, admits};
use crate::route::model::gateway::{self, Protocol};
use crate::route::model::{Gateway, GatewayRef, RouteMatch, Server, VirtualService};
use crate::route::object::{Key, Object};

/// A match block of a rule, by the indices of the VirtualService, the rule and the block. A rule without blocks has one.
type BlockIndex = (usize, usize, usize);

/// A source and a destination; none for any.
type Pair = (Option<IpNet>, Option<IpNet>);

/// Which blocks get connections, after all ports are checked.
#[derive(Default)]
struct Fate {
    /// Blocks that get connections somewhere.
    alive: HashSet<BlockIndex>,
    /// Blocks that get none at any port that was checked, with the first block that takes them.
    blocked: BTreeMap<BlockIndex, Blocker>,
}

/// Why a block gets nothing.
#[derive(Clone, Copy)]
enum Blocker {
    Rule(usize, usize),
    /// The server listens on another address.
    Bind(std::net::IpAddr),
}

/// Checks all rules; returns the `tcp` rules that get connections.
pub(super) fn check<'a>(world: &World<'a>, openings: &mut Openings<'a>, out: &mut Findings) -> HashSet<(Key, usize)> {
    let services = &world.virtual_services;
    let mut bound: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (index, (_, service)) in services.iter().enumerate() {
        let named: BTreeSet<_> = service.gateways.iter().filter_map(name_of).collect();
        for gateway in named {
            bound.entry(gateway).or_default().push(index);
        }
    }
    let mut fate = Fate::default();
    for (object, gateway) in &world.gateways {
        let key = (object.key.namespace.as_str(), object.key.name.as_str());
        let bound = bound.get(&key).map(Vec::as_slice).unwrap_or_default();
        ports(world, (object, gateway), bound, openings, &mut fate, out);
    }
    mesh::walk(services, &mut fate, out);
    dead(services, &fate, out);
    fate.alive.iter().map(|(service, rule, _)| (services[*service].0.key.clone(), *rule)).collect()
}

fn name_of(gateway: &GatewayRef) -> Option<(&str, &str)> {
    match gateway {
        GatewayRef::Mesh => None,
        GatewayRef::Gateway { namespace, name } => Some((namespace, name)),
    }
}

fn block<'a>(services: &[(&'a Object, &'a VirtualService)], (service, rule, at): BlockIndex) -> Option<&'a RouteMatch> {
    services[service].1.tcp[rule].matches.get(at)
}

/// Every TCP port of a Gateway, and the VirtualServices bound to it.
fn ports<'a>(
    world: &World<'a>,
    (object, gateway): (&'a Object, &'a Gateway),
    bound: &[usize],
    openings: &mut Openings<'a>,
    fate: &mut Fate,
    out: &mut Findings,
) {
    let services = &world.virtual_services;
    let mut by_port: HashMap<u32, Vec<BlockIndex>> = HashMap::new();
    let mut any: Vec<BlockIndex> = Vec::new();
    for &index in bound {
        for (rule, tcp) in services[index].1.tcp.iter().enumerate() {
            if tcp.matches.is_empty() {
                any.push((index, rule, 0));
            }
            for (at, block) in tcp.matches.iter().enumerate() {
                let here = |other: &GatewayRef| {
                    name_of(other) == Some((object.key.namespace.as_str(), object.key.name.as_str()))
                };
                if !(block.gateways.is_empty() || block.gateways.iter().any(here)) {
                    continue;
                }
                match block.port {
                    Some(port) => by_port.entry(port).or_default().push((index, rule, at)),
                    None => any.push((index, rule, at)),
                }
            }
        }
    }
    let mut shared: BTreeMap<Vec<usize>, Vec<u16>> = BTreeMap::new();
    for (index, server) in gateway.servers.iter().enumerate().filter(|(_, one)| one.protocol == Protocol::Tcp) {
        let own = by_port.get(&u32::from(server.port)).into_iter().flatten();
        let mut indices: Vec<BlockIndex> = own.chain(&any).copied().collect();
        indices.sort_unstable();
        let mut admitted: HashMap<usize, bool> = HashMap::new();
        indices.retain(|index| {
            let (other, service) = services[index.0];
            *admitted.entry(index.0).or_insert_with(|| admits(object, &server.hosts, other, service))
        });
        let is_lost = openings.is_lost(object, index);
        if indices.is_empty() {
            // `gateways` reports a port that another Gateway has.
            if server.port > 0 && !is_lost && !world.beside.is_bound(&object.key) {
                let field = format!("spec.servers[{index}].port");
                let message = format!("no rule leads from port {}: it is not listened on", server.port);
                let cure = format!("bind a VirtualService to {} with a rule for this port", object.key.name);
                out.push(code::PORT_UNUSED, object, field, message, cure);
            }
            continue;
        }
        openings.lead(object, index);
        if is_lost {
            continue;
        }
        let mut members: Vec<usize> = indices.iter().map(|index| index.0).collect();
        members.dedup();
        shared.entry(members).or_default().push(server.port);
        claim(services, server, &indices, fate);
    }
    for (members, ports) in shared {
        if members.len() > 1 {
            several(services, object, &members, &ports, out);
        }
        for index in members {
            hosts(world, services[index], out);
        }
    }
}

/// Several VirtualServices at some ports of a Gateway, the oldest first.
fn several(
    services: &[(&Object, &VirtualService)],
    gateway: &Object,
    members: &[usize],
    ports: &[u16],
    out: &mut Findings,
) {
    let keys = || members.iter().map(|index| &services[*index].0.key);
    let word = if ports.len() > 1 { "ports" } else { "port" };
    let message = format!(
        "{word} {} of {}: rules of {} are looked at in this order, the oldest first (in Istio, those of the first alone)",
        list(ports),
        gateway.key,
        list(keys())
    );
    let cure = "put the rules into one object in the order that is meant, or use two ports";
    out.push(code::SHARED_PORT, services[members[1]].0, "spec.tcp", message, cure);
}

/// Whether an object is only for plain TCP at gateways, where its hosts do not distinguish connections.
pub(super) fn is_plain(object: &Object, service: &VirtualService) -> bool {
    let has_http = object.content.at("/spec/http").is_some_and(|http| !http.is_null());
    !has_http && service.tls.is_empty() && !service.gateways.contains(&GatewayRef::Mesh)
}

/// Hosts that decide nothing: neither which servers take the object, nor what clients inside a mesh mean.
fn hosts(world: &World<'_>, (object, service): (&Object, &VirtualService), out: &mut Findings) {
    if !is_plain(object, service)
        || service.hosts.iter().all(|host| host == "*")
        || out.has(&object.key, "spec.hosts[0]")
    {
        return;
    }
    let any = ["*".to_owned()];
    let gateways = service.gateways.iter().filter_map(name_of).filter_map(|(space, name)| world.gateway(space, name));
    let decides = gateways.into_iter().any(|(owner, gateway)| {
        let takes = |hosts: &[String], server: &Server| {
            gateway::admits(&server.hosts, &owner.key.namespace, &object.key.namespace, hosts)
        };
        gateway.servers.iter().any(|server| takes(&any, server) != takes(&service.hosts, server))
    });
    if !decides {
        let message = format!("{} does not tell connections apart at a TCP port", list(&service.hosts));
        let cure = "every connection to the port is taken; write `hosts: [\"*\"]` to say so";
        out.push(code::HOST_IDLE, object, "spec.hosts[0]", message, cure);
    }
}

/// Gives each pair of prefixes of a port to the first block that asks for it.
fn claim(services: &[(&Object, &VirtualService)], server: &Server, indices: &[BlockIndex], fate: &mut Fate) {
    let mut taken: HashMap<Pair, (usize, usize)> = HashMap::new();
    for index in indices {
        let block = block(services, *index);
        let mut blocker = None;
        let mut free = Vec::new();
        for pair in block.map_or_else(|| vec![(None, None)], pairs) {
            if let (Some(bind), Some(net)) = (server.bind.filter(|ip| !ip.is_unspecified()), pair.1)
                && !net.contains(&bind)
            {
                blocker = blocker.or(Some(Blocker::Bind(bind)));
            } else if let Some((service, rule)) = owner(&taken, pair) {
                blocker = blocker.or(Some(Blocker::Rule(service, rule)));
            } else {
                free.push(pair);
            }
        }
        if free.is_empty() {
            if let Some(blocker) = blocker {
                fate.blocked.entry(*index).or_insert(blocker);
            }
        } else {
            fate.alive.insert(*index);
            taken.extend(free.into_iter().map(|pair| (pair, (index.0, index.1))));
        }
    }
}

fn pairs(block: &RouteMatch) -> Vec<Pair> {
    if block.destinations.is_empty() {
        return vec![(block.source, None)];
    }
    block.destinations.iter().map(|net| (block.source, Some(*net))).collect()
}

/// The block that has all connections of a pair. A prefix of 0 bits matches all addresses of its family.
fn owner(taken: &HashMap<Pair, (usize, usize)>, (source, destination): Pair) -> Option<(usize, usize)> {
    let wider = |net: Option<IpNet>| {
        let all = net.is_none_or(|net| net.prefix_len() == 0);
        std::iter::once(net).chain((all && net.is_some()).then_some(None))
    };
    let single = |source: Option<IpNet>, destination: Option<IpNet>| {
        let pairs = wider(source).flat_map(|source| wider(destination).map(move |destination| (source, destination)));
        pairs.filter_map(|pair| taken.get(&pair)).min().copied()
    };
    let families = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    single(source, destination)
        .or_else(|| {
            let [v4, v6] = families.map(|family| source.is_none().then(|| single(Some(family), destination)).flatten());
            v4.and(v6)
        })
        .or_else(|| {
            let [v4, v6] = families.map(|family| destination.is_none().then(|| single(source, Some(family))).flatten());
            v4.and(v6)
        })
}

/// Whether a rule is for some ports only.
fn has_port(service: &VirtualService, rule: usize) -> bool {
    let blocks = &service.tcp[rule].matches;
    !blocks.is_empty() && blocks.iter().all(|block| block.port.is_some())
}

/// Reports rules and blocks that get no connection at any port.
fn dead(services: &[(&Object, &VirtualService)], fate: &Fate, out: &mut Findings) {
    let mut done: HashSet<(usize, usize)> = HashSet::new();
    for (&(service, rule, at), blocker) in &fate.blocked {
        if fate.alive.contains(&(service, rule, at)) {
            continue;
        }
        let (object, spec) = services[service];
        let blocks = spec.tcp[rule].matches.len().max(1);
        let why = match *blocker {
            Blocker::Rule(other, first) if other == service => format!("rule #{first} takes all of its connections"),
            Blocker::Rule(other, first) => {
                format!("rule #{first} of the older {} takes all of its connections", services[other].0.key)
            }
            Blocker::Bind(ip) => {
                format!("the port is listened on at {ip} alone, which its destinationSubnets leave out")
            }
        };
        let cure = match *blocker {
            Blocker::Rule(other, first) if has_port(services[other].1, first) => {
                "remove it, or match another port or narrower subnets"
            }
            Blocker::Rule(..) => "remove it, or match narrower subnets",
            Blocker::Bind(_) => "remove it, or name that address in `destinationSubnets`",
        };
        let lives = |at: usize| fate.alive.contains(&(service, rule, at));
        if (0..blocks).any(lives) {
            let message = format!("rule #{rule} match #{at} adds nothing: {why}");
            let field = format!("spec.tcp[{rule}].match[{at}]");
            out.push(code::INEFFECTIVE, object, field, message, cure);
        } else if (0..blocks).all(|at| fate.blocked.contains_key(&(service, rule, at))) && done.insert((service, rule))
        {
            let message = format!("rule #{rule} is never reached: {why}");
            out.push(code::UNREACHABLE, object, format!("spec.tcp[{rule}]"), message, cure);
        }
    }
}
