//! A plan as text.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use tcpshift_agent::plan::{
    Destination, EndpointSet, Limits, Listener, MeshListener, OnEmpty, Plan, Route, Sets, Settings, Wish, steer_name,
};
use tcpshift_common::address::{Prefix, family};
use tcpshift_common::destination::policy;
use tcpshift_common::listener::RuleRow;

/// A plan as people read it. Numbers are left out.
pub(crate) fn text(plan: &Plan, sets: &Sets) -> String {
    let mut text = String::new();
    for listener in &plan.listeners {
        self::listener(&mut text, listener, sets);
    }
    for listener in &plan.mesh {
        let MeshListener { number: _, host, port, addresses, rules, routes } = &**listener;
        let addresses: Vec<_> = addresses.iter().map(prefix).collect();
        line(&mut text, 0, &format!("mesh {host}:{port} at {}", addresses.join(", ")));
        ways(&mut text, rules, routes, sets);
    }
    for note in &plan.notes {
        line(&mut text, 0, &format!("note: {note}"));
    }
    text
}

fn line(text: &mut String, depth: usize, line: &str) {
    writeln!(text, "{}{line}", "  ".repeat(depth)).expect("a string takes everything");
}

fn listener(text: &mut String, listener: &Listener, sets: &Sets) {
    let Listener { number: _, name, address, rules, routes } = listener;
    line(text, 0, &format!("listener {address} {name}"));
    ways(text, rules, routes, sets);
}

fn ways(text: &mut String, rules: &[RuleRow], routes: &[Arc<Route>], sets: &Sets) {
    for rule in rules {
        let (source, destination) = (prefix(&rule.source), prefix(&rule.destination));
        line(text, 1, &format!("from {source} to {destination}: route {}", rule.route));
    }
    for (place, route) in routes.iter().enumerate() {
        self::route(text, place, route, sets);
    }
}

fn prefix(prefix: &Prefix) -> String {
    let octets = prefix.address.words().iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let address = <[u8; 16]>::try_from(octets).map(Ipv6Addr::from).expect("two words are 16 bytes");
    match prefix.family {
        family::V4 => format!("{}/{}", address.to_ipv4_mapped().map_or(address.into(), IpAddr::V4), prefix.bits),
        family::V6 => format!("{address}/{}", prefix.bits),
        _ => "any".to_owned(),
    }
}

fn route(text: &mut String, place: usize, route: &Route, sets: &Sets) {
    let Route { number: _, kind, steer, on_empty, limits, asked, destinations, .. } = route;
    let kind = if route.is_own() { String::new() } else { format!("{} ", kind.name()) };
    let mut about = format!("route {place}: {kind}{} by {}", route.name(), steer_name(steer));
    if *on_empty == OnEmpty::Redistribute {
        about.push_str(", redistributed");
    }
    if *asked != Wish::Auto {
        write!(about, ", asks for {asked:?}").expect("a string takes everything");
    }
    let Limits { idle_timeout, max_duration, half_closed_timeout } = limits;
    for (name, limit) in [("idle", idle_timeout), ("lasting", max_duration), ("half-closed", half_closed_timeout)] {
        if let Some(limit) = limit {
            write!(about, ", {name} at most {limit:?}").expect("a string takes everything");
        }
    }
    line(text, 1, &about);
    for destination in destinations {
        self::destination(text, destination, sets.of(destination));
    }
}

fn destination(text: &mut String, destination: &Destination, set: &EndpointSet) {
    let Destination { name, weight, slots, settings, .. } = destination;
    let EndpointSet { unusable, decides, endpoints, .. } = set;
    let mut about = format!("{slots} slots, weight {weight}: {name}");
    if let Some(unusable) = unusable {
        write!(about, ", unusable: {unusable}").expect("a string takes everything");
    }
    match decides.policy {
        policy::LEAST_REQUEST => {}
        policy::ROUND_ROBIN => about.push_str(", in turn"),
        policy::RANDOM => about.push_str(", at random"),
        other => write!(about, ", policy {other}").expect("a string takes everything"),
    }
    let Settings { connect_timeout, max_connections, keepalive } = settings;
    if *connect_timeout != Settings::default().connect_timeout {
        write!(about, ", connected within {connect_timeout:?}").expect("a string takes everything");
    }
    if let Some(most) = max_connections {
        write!(about, ", {most} connections").expect("a string takes everything");
    }
    if let Some(keepalive) = keepalive {
        write!(about, ", {keepalive:?}").expect("a string takes everything");
    }
    line(text, 2, &about);
    for endpoint in endpoints.iter() {
        line(text, 3, &format!("{} weight {}", endpoint.address, endpoint.decides.weight));
    }
}
