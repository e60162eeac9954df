//! Gateways: servers that take each other's port, and selectors that no agent has.

use std::collections::HashMap;
use std::net::IpAddr;

use super::code;
use super::finding::Findings;
use super::rules::text;
use super::world::World;
use crate::route::model::gateway::Protocol;
use crate::route::model::{Gateway, Labels, Server, selects};
use crate::route::names;
use crate::route::object::Object;

type Found<'a> = (&'a Object, &'a Gateway, usize, &'a Server);

pub(super) fn check(world: &World<'_>, agent: Option<&Labels>, out: &mut Findings) {
    let mut taken: HashMap<(Option<IpAddr>, u16), Vec<Found<'_>>> = HashMap::new();
    for (object, gateway) in &world.gateways {
        if let Some(labels) = agent
            && !selects(&gateway.selector, labels)
        {
            let message = format!("the running agent has not the labels {}", text(&gateway.selector));
            let labels: Vec<_> = gateway.selector.iter().map(|(key, value)| format!("--label {key}={value}")).collect();
            let cure = format!("start it with `run {}`, or correct the selector", labels.join(" "));
            out.push(code::SELECTOR_FOREIGN, object, "spec.selector", message, cure);
        }
        for (index, server) in gateway.servers.iter().enumerate().filter(|(_, server)| server.port > 0) {
            let bind = server.bind.filter(|ip| !ip.is_unspecified());
            let same = taken.entry((bind, server.port)).or_default();
            let field = format!("spec.servers[{index}].port.number");
            if let Some(first) = same.iter().find(|first| conflict(first, gateway, server)) {
                clash(object, gateway, server, first, &field, out);
            }
            // More than a few at one port are all against the first.
            if same.len() < 64 {
                same.push((object, gateway, index, server));
            }
        }
    }
    let mut listeners: HashMap<u16, &Object> = HashMap::new();
    for (object, gateway) in &world.api_gateways {
        for (index, listener) in gateway.listeners.iter().enumerate().filter(|(_, one)| one.protocol == "TCP") {
            let field = format!("spec.listeners[{index}].port");
            let other = taken.get(&(None, listener.port)).and_then(|same| same.first()).map(|(other, ..)| *other);
            let other = other.or(listeners.get(&listener.port).copied().filter(|other| other.key != object.key));
            if let Some(other) = other {
                let winner = if other.age() <= object.age() { other } else { object };
                let message = format!(
                    "{} listens on port {} too; the older one, {}, is served",
                    other.key, listener.port, winner.key
                );
                out.push(code::GATEWAYS_MEET, object, field, message, "give one of them another port");
            }
            listeners.entry(listener.port).or_insert(object);
        }
    }
}

/// Whether one agent could have to serve both.
fn conflict((_, first, _, other): &Found<'_>, gateway: &Gateway, server: &Server) -> bool {
    if !selects(&first.selector, &gateway.selector) && !selects(&gateway.selector, &first.selector) {
        return false;
    }
    let plain = |server: &Server| server.protocol == Protocol::Tcp;
    let hosts = || {
        let bare = |host: &str| host.split_once('/').map_or_else(|| host.to_owned(), |(_, host)| host.to_owned());
        server.hosts.iter().any(|one| other.hosts.iter().any(|two| names::hosts_overlap(&bare(one), &bare(two))))
    };
    plain(server) || plain(other) || hosts()
}

fn clash(object: &Object, gateway: &Gateway, server: &Server, first: &Found<'_>, field: &str, out: &mut Findings) {
    let (owner, older, index, _) = *first;
    let port = server.port;
    if owner.key == object.key {
        let message = format!("server #{index} of this Gateway has port {port} too, and is the one that is served");
        out.push(code::GATEWAY_CONFLICT, object, field, message, "remove one, or give it another port or `bind`");
    } else if older.selector == gateway.selector {
        let message = format!(
            "{} is older and has port {port} too: it is served, and this server is not (hosts do not tell TCP connections apart)",
            owner.key
        );
        let cure = "give one another port or `bind`, or bind the routes of both to one Gateway";
        out.push(code::GATEWAY_CONFLICT, object, field, message, cure);
    } else {
        let message = format!("an agent that {} selects too serves that one at port {port}, as it is older", owner.key);
        out.push(
            code::GATEWAYS_MEET,
            object,
            field,
            message,
            "give one another port, or selectors of different agents",
        );
    }
}
