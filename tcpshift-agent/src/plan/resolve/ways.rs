//! The ways into rules: pairs of a source and a destination prefix, each of which the first rule that has it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::address::{Address, Prefix};
use tcpshift_common::listener::RuleRow;

use crate::plan::intent::RouteIntent;
use crate::route::model::{GatewayRef, RouteMatch, TcpRule};

/// Bits in front of an IPv4 address in the IPv6 address that stands for it.
const MAPPED_BITS: u32 = 96;

/// A prefix, as something that is ordered.
pub(in crate::plan) type PrefixKey = (u32, u32, Address);

/// Rules and routes of one listener, while they are collected.
#[derive(Default)]
pub(super) struct Ways {
    /// As they came.
    pub rules: Vec<RuleRow>,
    /// `RuleRow::route` is a place in this list.
    pub routes: Vec<Arc<RouteIntent>>,
    /// Places of routes by the ways that lead to them.
    taken: BTreeMap<(PrefixKey, PrefixKey), u32>,
}

impl Ways {
    /// Adds a route with those of its entrances that are not taken yet. If all are, the route is not made, and
    /// the name of one that has them is returned.
    pub(super) fn add(
        &mut self,
        entrances: &[(Prefix, Prefix)],
        route: impl FnOnce() -> Arc<RouteIntent>,
    ) -> Option<String> {
        let pair = |(source, destination): &(Prefix, Prefix)| (key(source), key(destination));
        let free: Vec<_> = entrances.iter().filter(|entrance| !self.taken.contains_key(&pair(entrance))).collect();
        if free.is_empty() {
            let first = entrances.iter().rev().find_map(|entrance| self.taken.get(&pair(entrance)));
            return first.and_then(|first| self.routes.get(*first as usize)).map(|route| route.name());
        }
        let route = route();
        let place = self.routes.len() as u32;
        for entrance in free {
            self.taken.insert(pair(entrance), place);
            self.rules.push(RuleRow::new(entrance.0, entrance.1, place));
        }
        self.routes.push(route);
        None
    }
}

/// The ways into a rule at a port of a gateway, or of the mesh, by the blocks of its match that fit.
pub(super) fn entrances(
    rule: &TcpRule,
    port: u16,
    here: &GatewayRef,
    fits: impl Fn(&RouteMatch) -> bool,
) -> Vec<(Prefix, Prefix)> {
    if rule.matches.is_empty() {
        return vec![(Prefix::ANY, Prefix::ANY)];
    }
    let mut entrances = Vec::new();
    let mut seen = BTreeSet::new();
    for block in &rule.matches {
        let port_fits = block.port.is_none_or(|wanted| wanted == u32::from(port));
        if !port_fits || !(block.gateways.is_empty() || block.gateways.contains(here)) || !fits(block) {
            continue;
        }
        let source = block.source.as_ref().map_or(Prefix::ANY, prefix);
        let any = [Prefix::ANY];
        let destinations: Vec<Prefix> = block.destinations.iter().map(prefix).collect();
        for destination in if destinations.is_empty() { &any[..] } else { &destinations } {
            if seen.insert((key(&source), key(destination))) {
                entrances.push((source, *destination));
            }
        }
    }
    entrances
}

pub(in crate::plan) fn key(prefix: &Prefix) -> PrefixKey {
    (prefix.family, prefix.bits, prefix.address)
}

/// A subnet as the decision reads it. IPv4 addresses may be written as IPv6 addresses that stand for them.
pub(in crate::plan) fn prefix(subnet: &IpNet) -> Prefix {
    let bits = u32::from(subnet.prefix_len());
    match subnet {
        IpNet::V4(subnet) => Prefix::v4(subnet.network().octets(), bits),
        IpNet::V6(subnet) => match subnet.network().to_ipv4_mapped().zip(bits.checked_sub(MAPPED_BITS)) {
            Some((v4, bits)) => Prefix::v4(v4.octets(), bits),
            None => Prefix::v6(subnet.network().octets(), bits),
        },
    }
}
