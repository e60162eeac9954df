//! Rules for clients inside a mesh: those of all VirtualServices of one host form one sequence.
//!
//! The clients of a match are known before a connection comes. Of the matches that fit, the longest prefix wins, as at a
//! gateway.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{BlockIndex, Blocker, Fate, block, pairs};
use crate::analyze::code;
use crate::analyze::finding::Findings;
use crate::analyze::words::list;
use crate::route::model::{Export, GatewayRef, RouteMatch, VirtualService, selects};
use crate::route::names;
use crate::route::object::Object;

/// Blocks of one host that are compared with each other, at most.
const MOST: usize = 2000;

/// The scope of objects that every namespace sees.
const EVERYWHERE: &str = "*";

pub(super) fn walk(services: &[(&Object, &VirtualService)], fate: &mut Fate, out: &mut Findings) {
    let mut hosts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, (object, service)) in services.iter().enumerate() {
        if service.gateways.contains(&GatewayRef::Mesh) {
            for host in &service.hosts {
                hosts.entry(names::full_host(host, &object.key.namespace)).or_default().push(index);
            }
        }
    }
    conflicts(services, out);
    for members in hosts.into_values() {
        let indices: Vec<BlockIndex> = members.iter().flat_map(|index| blocks(services, *index)).take(MOST).collect();
        for (at, index) in indices.iter().enumerate() {
            let first = indices[..at].iter().find(|other| {
                meets(services[other.0], services[index.0])
                    && leaves_nothing(block(services, **other), block(services, *index))
            });
            match first {
                Some(first) => drop(fate.blocked.entry(*index).or_insert(Blocker::Rule(first.0, first.1))),
                None => drop(fate.alive.insert(*index)),
            }
        }
    }
}

/// Blocks that are for clients inside a mesh.
fn blocks<'a>(services: &'a [(&Object, &VirtualService)], index: usize) -> impl Iterator<Item = BlockIndex> + 'a {
    services[index].1.tcp.iter().enumerate().flat_map(move |(rule, tcp)| {
        let count = tcp.matches.len().max(1);
        (0..count).map(move |at| (index, rule, at)).filter(move |(_, _, at)| {
            tcp.matches
                .get(*at)
                .is_none_or(|block| block.gateways.is_empty() || block.gateways.contains(&GatewayRef::Mesh))
        })
    })
}

/// Whether some namespace sees both.
fn meets((_, one): (&Object, &VirtualService), (_, two): (&Object, &VirtualService)) -> bool {
    match (&one.export, &two.export) {
        (Export::Nowhere, _) | (_, Export::Nowhere) => false,
        (Export::Namespaces(some), Export::Namespaces(others)) => some.iter().any(|name| others.contains(name)),
        _ => true,
    }
}

/// Whether the first takes every connection that the second could.
fn leaves_nothing(first: Option<&RouteMatch>, second: Option<&RouteMatch>) -> bool {
    let none = RouteMatch::default();
    let (first, second) = (first.unwrap_or(&none), second.unwrap_or(&none));
    let ports = first.port.is_none() || first.port == second.port;
    let clients = selects(&first.source_labels, &second.source_labels)
        && (first.source_namespace.is_none() || first.source_namespace == second.source_namespace);
    ports && clients && {
        let taken = pairs(first);
        pairs(second).iter().all(|pair| taken.iter().any(|other| has(other.0, pair.0) && has(other.1, pair.1)))
    }
}

/// Whether the first prefix takes all connections of the second, which wins if it is longer: the two are equal, or the first is
/// none and the second has 0 bits.
fn has(first: Option<IpNet>, second: Option<IpNet>) -> bool {
    first == second || first.is_none() && second.is_some_and(|net| net.prefix_len() == 0)
}

/// Several objects with one host, as Istio reports them: two that are exported to everybody conflict if their hosts are equal;
/// one that is not also conflicts with a wildcard that covers its host.
fn conflicts(services: &[(&Object, &VirtualService)], out: &mut Findings) {
    let mut hosts: BTreeMap<(&str, String), Vec<usize>> = BTreeMap::new();
    for (index, (object, service)) in services.iter().enumerate() {
        if !service.gateways.contains(&GatewayRef::Mesh) {
            continue;
        }
        let scopes = match &service.export {
            Export::Everywhere => vec![EVERYWHERE],
            Export::Namespaces(namespaces) => namespaces.iter().map(String::as_str).collect(),
            Export::Nowhere => Vec::new(),
        };
        for scope in scopes {
            for host in &service.hosts {
                let host = names::full_host(host, &object.key.namespace);
                hosts.entry((scope, host)).or_default().push(index);
            }
        }
    }
    let common = || hosts.iter().filter(|((scope, _), _)| *scope == EVERYWHERE);
    let wild: Vec<_> = common().filter(|((_, host), _)| host.starts_with('*')).collect();
    let mut groups: BTreeMap<Vec<usize>, BTreeSet<&str>> = BTreeMap::new();
    for ((scope, host), members) in &hosts {
        let mut members = members.clone();
        let mut met = BTreeSet::from([host.as_str()]);
        if *scope != EVERYWHERE {
            let mut others: Vec<_> = if host.starts_with('*') {
                common().filter(|((_, other), _)| names::hosts_overlap(host, other)).collect()
            } else {
                wild.iter().copied().filter(|((_, other), _)| names::covers(other, host)).collect()
            };
            others.extend(hosts.get_key_value(&(EVERYWHERE, host.clone())));
            for ((_, other), found) in others {
                members.extend(found);
                met.insert(other);
            }
        }
        members.sort_unstable();
        members.dedup();
        if members.len() > 1 {
            groups.entry(members).or_default().extend(met);
        }
    }
    for (members, hosts) in groups {
        let keys = members.iter().map(|index| &services[*index].0.key);
        let message = format!("{} have hosts in common for clients inside a mesh: {}", list(keys), list(&hosts));
        let cure = "put the rules into one object: which comes first is a matter of age";
        out.push(code::MESH_HOST_TWICE, services[members[1]].0, "spec.hosts", message, cure);
    }
}
