//! Whose an address is where listeners, services and their subnets overlap.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tcpshift_common::decide::{Steer, steer};

use super::*;
use crate::plan::weigh::Layout;
use crate::plan::{Chosen, Datapath, Kind, Limits, OnEmpty, Route, WeightTable, Wish};

/// Listeners and services of port 9000. Their numbers are their indices here, listeners first.
struct Port<'a> {
    /// An address, and how its connections reach endpoints.
    listeners: &'a [(&'a str, Datapath)],
    /// Addresses, and the kind of the object whose route it has, if it has one.
    services: &'a [(&'a [&'a str], Option<Kind>)],
}

/// Any route.
fn a_route() -> Route {
    Route {
        number: 0,
        kind: Kind::VirtualService,
        namespace: "default".to_owned(),
        object: "r".to_owned(),
        rule: 0,
        id: 0,
        steer: Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        on_empty: OnEmpty::Refuse,
        limits: Limits::default(),
        asked: Wish::Auto,
        chosen: Chosen::default(),
        destinations: Vec::new(),
        table: WeightTable::new(Layout::Scattered, &[]),
    }
}

fn prefix(text: &str) -> Prefix {
    let net: IpNet = text.parse().unwrap_or_else(|_| IpNet::from(text.parse::<IpAddr>().unwrap()));
    let bits = u32::from(net.prefix_len());
    match net.addr() {
        IpAddr::V4(ip) => Prefix::v4(ip.octets(), bits),
        IpAddr::V6(ip) => Prefix::v6(ip.octets(), bits),
    }
}

fn plan(Port { listeners, services }: &Port<'_>) -> Plan {
    let mut plan = Plan::empty(1);
    let route = a_route();
    let mut number = 0;
    for (ip, datapath) in *listeners {
        let address = SocketAddr::new(ip.parse().unwrap(), 9000);
        let chosen = Chosen { datapath: Some(*datapath), family: family::ANY, ..Chosen::default() };
        let routes = vec![Arc::new(Route { number, chosen, ..route.clone() })];
        plan.listeners.push(Arc::new(Listener { number, name: String::new(), address, rules: Vec::new(), routes }));
        number += 1;
    }
    for (addresses, kind) in *services {
        let addresses = addresses.iter().map(|text| prefix(text)).collect();
        let routes = kind.map(|kind| Arc::new(Route { number, kind, ..route.clone() }));
        let (host, routes) = (format!("{number}.example.com"), routes.into_iter().collect());
        plan.mesh.push(Arc::new(MeshListener { number, host, port: 9000, addresses, rules: Vec::new(), routes }));
        number += 1;
    }
    plan.local = ["127.0.0.0/8", "::1", "10.0.0.1", "10.0.0.2", "fd00::1"].map(prefix).to_vec();
    plan
}

/// The number at an address, as the kernel finds it.
#[track_caller]
fn at(port: &Port<'_>, scope: u32, ip: &str) -> Option<u32> {
    let table = of(&plan(port), &crate::kernel::rows::ports(&plan(port)));
    longest(&table, key(scope, 9000, &ip.parse::<IpAddr>().unwrap().into())).filter(|number| *number != NONE)
}

const PROXY: Datapath = Datapath::Proxy;
const CONNECT: Datapath = Datapath::Connect;
const LOOKUP: Datapath = Datapath::Lookup;
const RULES: Option<Kind> = Some(Kind::VirtualService);
const PLAIN: Option<Kind> = Some(Kind::ServiceEntry);

#[test]
fn packets_are_for_the_most_specific_listener_whatever_its_datapath() {
    let listeners = [("::", LOOKUP), ("0.0.0.0", PROXY), ("10.0.0.1", PROXY), ("fd00::1", PROXY)];
    let port = Port { listeners: &listeners, services: &[] };
    for (ip, expected) in [("10.0.0.1", 2), ("10.0.0.2", 1), ("127.0.0.1", 1), ("fd00::1", 3), ("::1", 0)] {
        assert_eq!(at(&port, scope::LOOKUP, ip), Some(expected), "{ip}");
        assert_eq!(at(&port, scope::CONNECT, ip), None, "{ip}: nobody is pointed elsewhere");
    }
    let port = Port { listeners: &[("::", PROXY), ("10.0.0.1", CONNECT)], services: &[] };
    assert_eq!(at(&port, scope::LOOKUP, "10.0.0.1"), None, "nothing is handed over");
}

#[test]
fn clients_mean_the_most_specific_listener_whatever_its_datapath() {
    let listeners = [("::", CONNECT), ("10.0.0.1", PROXY), ("fd00::1", LOOKUP), ("127.0.0.7", PROXY)];
    let port = Port { listeners: &listeners, services: &[] };
    let all = [("10.0.0.1", 1), ("10.0.0.2", 0), ("fd00::1", 2), ("::1", 0), ("127.0.0.1", 0), ("127.0.0.7", 3)];
    for (ip, expected) in all {
        assert_eq!(at(&port, scope::CONNECT, ip), Some(expected), "{ip}");
    }
    assert_eq!(at(&port, scope::CONNECT, "10.0.0.3"), None, "another host's address");
    // The other way round, and at every IPv4 address.
    let port = Port { listeners: &[("::", PROXY), ("0.0.0.0", PROXY), ("10.0.0.1", CONNECT)], services: &[] };
    for (ip, expected) in [("10.0.0.1", 2), ("10.0.0.2", 1), ("fd00::1", 0)] {
        assert_eq!(at(&port, scope::CONNECT, ip), Some(expected), "{ip}");
    }
}

#[test]
fn a_service_has_its_address_in_another_ones_subnet() {
    let services: [(&[&str], _); 4] = [
        (&["10.0.0.0/8", "fd00::/8"], RULES),
        (&["10.1.0.0/16"], PLAIN),
        (&["10.1.0.1", "fd00:1::1"], None),
        (&["10.1.0.2"], RULES),
    ];
    let port = Port { listeners: &[], services: &services };
    for (ip, expected) in [("10.2.0.1", 0), ("10.1.0.9", 1), ("10.1.0.1", 2), ("10.1.0.2", 3), ("fd00:1::1", 2)] {
        assert_eq!(at(&port, scope::CONNECT, ip), Some(expected), "{ip}");
    }
    assert_eq!(at(&port, scope::CONNECT, "fd00:1::2"), Some(0));
}

#[test]
fn of_a_service_and_a_listener_with_one_address_the_one_with_the_rules_has_it() {
    let listeners = [("::", PROXY), ("10.0.0.1", PROXY)];
    let with = |kind| {
        let services: [(&[&str], _); 2] = [(&["10.0.0.1", "10.0.0.2"], kind), (&["240.0.0.1"], PLAIN)];
        let port = Port { listeners: &listeners, services: &services };
        [at(&port, scope::CONNECT, "10.0.0.1"), at(&port, scope::CONNECT, "10.0.0.2")]
    };
    assert_eq!(with(RULES), [Some(2), Some(2)]);
    assert_eq!(with(PLAIN), [Some(1), Some(0)]);
    assert_eq!(with(None), [Some(1), Some(0)]);
    // A subnet is more specific than every address.
    let services: [(&[&str], _); 1] = [(&["10.0.0.0/8"], RULES)];
    let port = Port { listeners: &[("::", CONNECT)], services: &services };
    assert_eq!((at(&port, scope::CONNECT, "10.0.0.1"), at(&port, scope::CONNECT, "127.0.0.1")), (Some(1), Some(0)));
}

#[test]
fn a_subnet_of_ipv6_has_no_ipv4_address() {
    let services: [(&[&str], _); 1] = [(&["::/0"], RULES)];
    let port = Port { listeners: &[], services: &services };
    assert_eq!(at(&port, scope::CONNECT, "2001:db8::1"), Some(0));
    assert_eq!(at(&port, scope::CONNECT, "192.0.2.1"), None);
    let port = Port { listeners: &[("::", CONNECT)], services: &services };
    assert_eq!((at(&port, scope::CONNECT, "10.0.0.1"), at(&port, scope::CONNECT, "fd00::1")), (Some(0), Some(1)));
}
