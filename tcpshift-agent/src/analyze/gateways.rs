//! Gateways: servers with the same port, and selectors that select no agent.

use std::collections::{BTreeMap, HashMap};

use super::code::{self, Level};
use super::finding::Findings;
use super::openings::{Lost, Openings, ServedPort};
use super::rules::text;
use super::words::list;
use super::world::World;
use crate::route::kind::Kind;
use crate::route::model::gateway::Protocol;
use crate::route::model::{Gateway, Labels, Server, selects};
use crate::route::object::Object;

pub(super) fn check(world: &World<'_>, agent: Option<&Labels>, openings: &Openings<'_>, out: &mut Findings) {
    for (object, gateway) in &world.gateways {
        if let Some(labels) = agent
            && !selects(&gateway.selector, labels)
        {
            let message = format!("the running agent has not the labels {}", text(&gateway.selector));
            let labels: Vec<_> = gateway.selector.iter().map(|(key, value)| format!("--label {key}={value}")).collect();
            let cure = format!("start it with `run {}`, or correct the selector", labels.join(" "));
            out.push(code::SELECTOR_FOREIGN, object, "spec.selector", message, cure);
        }
    }
    lost(openings, out);
    in_istio(world, out);
}

/// Ports that an older Gateway has: one finding for each older Gateway.
fn lost(openings: &Openings<'_>, out: &mut Findings) {
    type Winner<'k> = (&'k crate::route::object::Key, usize, bool);
    let mut order: Vec<Winner<'_>> = Vec::new();
    let mut losers: HashMap<Winner<'_>, Vec<(&ServedPort<'_>, Lost<'_>)>> = HashMap::new();
    for opening in &openings.all {
        let Some(lost) = openings.lost(opening.object, opening.index) else { continue };
        let winner = (&lost.by.object.key, lost.by.index, is_istios_conflict(opening, &lost));
        let found = losers.entry(winner).or_default();
        if found.is_empty() {
            order.push(winner);
        }
        found.push((opening, lost));
    }
    for winner in order {
        if let Some(found) = losers.get(&winner) {
            clash(openings, found, winner.2, out);
        }
    }
}

/// Whether both are servers of Istio's Gateways for the same agents.
fn is_istios_conflict(opening: &ServedPort<'_>, lost: &Lost<'_>) -> bool {
    let istios = |opening: &ServedPort<'_>| opening.object.key.kind == Kind::Gateway;
    istios(opening) && istios(&lost.by) && opening.selector == lost.by.selector
}

fn clash(openings: &Openings<'_>, found: &[(&ServedPort<'_>, Lost<'_>)], is_istios: bool, out: &mut Findings) {
    let Some(((first, lost), others)) = found.split_first() else { return };
    let (object, port, by) = (first.object, first.port, &lost.by);
    let (word, field) = if object.key.kind == Kind::Gateway {
        ("server", format!("spec.servers[{}].port.number", first.index))
    } else {
        ("listener", format!("spec.listeners[{}].port", first.index))
    };
    let mut losers: Vec<String> = others.iter().map(|(opening, _)| opening.object.key.to_string()).collect();
    losers.dedup();
    let code = if is_istios { code::GATEWAY_CONFLICT } else { code::GATEWAYS_MEET };
    let also = |words: &str| if losers.is_empty() { String::new() } else { format!(" ({words} {})", list(&losers)) };
    let served = if openings.is_led(by) { "" } else { ", though no rule leads from the other" };
    let own = by.object.key == object.key;
    let message = if own {
        format!(
            "{word} #{} of this Gateway has port {port} too, and comes first: this one is not served{served}",
            by.index
        )
    } else if lost.everywhere {
        let others = also("nor those of");
        format!("the older {} has port {port} too: this {word} is not served{others}{served}", by.object.key)
    } else {
        let others = also("also in place of");
        format!("an agent that the older {} selects too serves that one at port {port}{others}", by.object.key)
    };
    let cure = if own {
        "remove one of them, or give it another port"
    } else {
        "give it a port that no other has, here and in the matches of its routes"
    };
    out.push(code, object, field, message, cure);
}

/// Servers for one port that conflict in Istio and of which one is not for plain TCP: that one is not served here.
fn in_istio(world: &World<'_>, out: &mut Findings) {
    type Site<'s> = (&'s Labels, u16, Option<std::net::IpAddr>, &'s str);
    type Found<'s> = (&'s Object, &'s Gateway, usize, &'s Server);
    let mut taken: BTreeMap<Site<'_>, Vec<Found<'_>>> = BTreeMap::new();
    for (object, gateway) in &world.gateways {
        for (index, server) in gateway.servers.iter().enumerate().filter(|(_, server)| server.port > 0) {
            for host in &server.hosts {
                let site = (&gateway.selector, server.port, server.bind, host.as_str());
                taken.entry(site).or_default().push((object, gateway, index, server));
            }
        }
    }
    let mut told: BTreeMap<(&crate::route::object::Key, usize), Vec<&str>> = BTreeMap::new();
    let mut findings = Vec::new();
    for ((_, port, _, host), found) in &taken {
        let is_mixed = found.iter().any(|(_, _, _, server)| server.protocol != Protocol::Tcp);
        let mut owners: Vec<_> = found.iter().map(|(object, ..)| &object.key).collect();
        owners.dedup();
        let [.., (object, _, index, server)] = found.as_slice() else { continue };
        if !is_mixed || owners.len() < 2 {
            continue;
        }
        let hosts = told.entry((&object.key, *index)).or_default();
        hosts.push(host);
        if hosts.len() == 1 {
            owners.retain(|key| **key != object.key);
            findings.push((*object, *index, *port, server.protocol, list(owners)));
        }
    }
    for (object, index, port, protocol, others) in findings {
        let hosts = told.get(&(&object.key, index)).map(list).unwrap_or_default();
        let here = match protocol {
            Protocol::Tcp => "tcpshift serves this server, as the others are not for TCP",
            _ => "tcpshift does not serve this server, as it is not for TCP",
        };
        let message =
            format!("Istio reports a conflict of port {port} with {others}, as both have the hosts {hosts}; {here}");
        let field = format!("spec.servers[{index}].port.number");
        let cure = "for Istio, give it a port that no other has";
        out.push_at(Level::Info, code::GATEWAY_CONFLICT, object, field, message, cure);
    }
}
