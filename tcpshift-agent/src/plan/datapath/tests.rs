//! What is chosen on which host, and what is said of it.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use tcpshift_common::address::{Prefix, family};
use tcpshift_common::decide::Steer;
use tcpshift_common::destination;

use super::*;
use crate::plan::weigh::Layout;
use crate::plan::{
    Abilities, Endpoint, EndpointSet, Kind, Limits, LoadBalancer, OnEmpty, Settings, Unusable, WeightTable,
};

const AT: &str = "127.0.0.1:9000";
const BESIDE: &str = "127.0.0.1:9001";
const SIX: &str = "[::1]:9000";

/// A route with the endpoint sets of its destinations, in their order.
#[derive(Clone)]
struct Case {
    route: Route,
    sets: Vec<EndpointSet>,
}

impl Case {
    fn push(&mut self, (mut destination, set): (Destination, EndpointSet)) {
        destination.set = self.sets.len() as u32;
        self.route.destinations.push(destination);
        self.sets.push(set);
    }

    fn choose(&self, site: &ServedAt, host: &Host) -> Chosen {
        choose(&self.route, &self.sets.iter().cloned().collect(), site, host)
    }
}

fn destination(name: &str, slots: u32, endpoints: &[&str]) -> (Destination, EndpointSet) {
    let endpoint = |text: &&str| Endpoint {
        address: match text.parse::<SocketAddr>() {
            Ok(address) => address.into(),
            Err(_) => EndpointAddress::Unix((*text).into()),
        },
        decides: destination::EndpointFacts { number: 0, weight: 1, upto: 1 },
    };
    let destination = Destination {
        name: name.to_owned(),
        host: name.to_owned(),
        subset: None,
        port: 1,
        number: 0,
        target: 0,
        weight: 1,
        slots,
        settings: Settings::default(),
        choice: LoadBalancer::default(),
        set: 0,
    };
    let set = EndpointSet {
        unusable: endpoints.is_empty().then_some(Unusable::NoEndpoint),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..EndpointSet::default()
    };
    (destination, set)
}

fn route(asked: Wish, destinations: Vec<(Destination, EndpointSet)>) -> Case {
    let route = Route {
        number: 7,
        kind: Kind::VirtualService,
        namespace: "default".to_owned(),
        object: "r".to_owned(),
        rule: 0,
        id: 0,
        steer: Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        on_empty: OnEmpty::Refuse,
        limits: Limits::default(),
        asked,
        chosen: Chosen::default(),
        destinations: Vec::new(),
        table: WeightTable::new(Layout::Scattered, &[]),
    };
    let mut case = Case { route, sets: Vec::new() };
    for destination in destinations {
        case.push(destination);
    }
    case
}

fn local(asked: Wish) -> Case {
    route(asked, vec![destination("v1", 8_000, &[AT]), destination("v2", 2_000, &[BESIDE])])
}

/// At a Gateway that listens at every address.
fn at_gateway() -> ServedAt {
    ServedAt { listener: Some(Ipv6Addr::UNSPECIFIED.into()), withheld: false, excess: None }
}

fn in_mesh() -> ServedAt {
    ServedAt::in_mesh(None)
}

fn listening() -> Host {
    let presence = [AT, BESIDE, SIX].map(|address| (address.parse().unwrap(), Presence::Listening));
    let abilities = Abilities { connect: Ok(()), lookup: Ok(()), room: 0 };
    Host { presence: presence.into(), abilities, ..Host::new(1) }
}

/// One where somebody else is beside, or nobody.
fn beside(presence: Presence) -> Host {
    let mut host = listening();
    host.presence.insert(BESIDE.parse().unwrap(), presence);
    host
}

fn silent() -> Host {
    beside(Presence::Silent)
}

fn unfit() -> Host {
    beside(Presence::Unfit("it listens with MPTCP".to_owned()))
}

fn incapable(host: Host) -> Host {
    let abilities = Abilities { connect: Err("no connect".to_owned()), lookup: Err("no lookup".to_owned()), room: 0 };
    Host { abilities, ..host }
}

#[track_caller]
fn assert_chosen(case: &Case, site: &ServedAt, host: &Host, datapath: Option<Datapath>, only: bool, reason: &str) {
    let chosen = case.choose(site, host);
    assert_eq!((chosen.datapath, chosen.only, chosen.reason.as_str()), (datapath, only, reason));
}

#[test]
fn local_endpoints_that_listen_are_handed_the_syn() {
    let host = listening();
    let why = "every endpoint listens on this host, or did; IPv6 clients are carried";
    assert_chosen(&local(Wish::Auto), &at_gateway(), &host, Some(Datapath::Lookup), false, why);
    // What gets nothing does not matter, and a share that is refused is refused there too.
    let mut other = local(Wish::Auto);
    other.push(destination("v3", 0, &["192.0.2.7:9000"]));
    other.push(destination("v4", 5, &[]));
    assert_chosen(&other, &at_gateway(), &host, Some(Datapath::Lookup), false, why);
}

#[test]
fn auto_is_carried_where_something_stands_in_the_way() {
    let listens = listening();
    let carried = |case: Case, host: &Host, why: &str| {
        assert_chosen(&case, &at_gateway(), host, Some(Datapath::Proxy), false, why);
    };
    let with = |change: fn(&mut Route)| {
        let mut case = local(Wish::Auto);
        change(&mut case.route);
        case
    };
    carried(local(Wish::Auto), &incapable(listening()), "no lookup");
    carried(local(Wish::Auto), &silent(), "nothing listens at 127.0.0.1:9001");
    carried(local(Wish::Auto), &unfit(), "127.0.0.1:9001: it listens with MPTCP");
    carried(route(Wish::Auto, vec![destination("v1", 10_000, &[])]), &listens, "there is no endpoint");
    let far = route(Wish::Auto, vec![destination("v1", 10_000, &[AT, "192.0.2.7:9000"])]);
    carried(far, &listens, "v1 has endpoints on other hosts");
    let unix = route(Wish::Auto, vec![destination("v1", 10_000, &["/run/x"])]);
    carried(unix, &listens, "unix:///run/x is no TCP address");
    let sequence = with(|route| route.steer.by = steer::SEQUENCE);
    carried(sequence, &listens, "steer-by sequence counts connections, and `lookup` sees packets");
    let idle = with(|route| route.limits.idle_timeout = Some(Duration::from_secs(1)));
    carried(idle, &listens, "idle timeout needs the relay");
    let lasting = with(|route| route.limits.max_duration = Some(Duration::from_secs(1)));
    carried(lasting, &listens, "maximal duration needs the relay");
    let few = with(|route| route.destinations[1].settings.max_connections = Some(1));
    carried(few, &listens, "a limit of connections needs the relay");
    let kept = with(|route| route.destinations[0].settings.keepalive = Some(crate::plan::Keepalive::default()));
    carried(kept, &listens, "keepalive needs the relay");
}

#[test]
fn an_endpoint_that_nothing_is_known_of_is_silent() {
    let other = route(Wish::Auto, vec![destination("v1", 8_000, &[AT]), destination("v2", 2_000, &["127.0.0.1:1"])]);
    let why = "nothing listens at 127.0.0.1:1";
    assert_chosen(&other, &at_gateway(), &listening(), Some(Datapath::Proxy), false, why);
}

#[test]
fn what_comes_to_an_address_that_is_not_served_is_left_alone() {
    let why = "its listener is not served";
    let site = ServedAt { withheld: true, ..at_gateway() };
    for asked in [Wish::Auto, Wish::Proxy, Wish::Connect, Wish::Lookup] {
        assert_chosen(&local(asked), &site, &listening(), Some(Datapath::Proxy), false, why);
        assert_chosen(&local(asked), &site, &incapable(listening()), Some(Datapath::Proxy), false, why);
    }
}

#[test]
fn what_is_asked_for_is_done_or_said() {
    let (all, none, site) = (listening(), incapable(listening()), at_gateway());
    assert_chosen(&local(Wish::Proxy), &site, &all, Some(Datapath::Proxy), false, "asked for");
    assert_chosen(&local(Wish::Connect), &site, &all, Some(Datapath::Connect), false, "asked for");
    assert_chosen(&local(Wish::Connect), &site, &none, None, true, "no connect");
    assert_chosen(&local(Wish::Lookup), &site, &all, Some(Datapath::Lookup), true, "asked for");
    let said = "asked for, although nothing listens at 127.0.0.1:9001";
    assert_chosen(&local(Wish::Lookup), &site, &silent(), Some(Datapath::Lookup), true, said);
    assert_chosen(&local(Wish::Lookup), &site, &none, None, true, "no lookup");
    let far = route(Wish::Lookup, vec![destination("v1", 10_000, &["192.0.2.7:9000"])]);
    assert_chosen(&far, &site, &all, None, true, "v1 has endpoints on other hosts");
    let mut idle = local(Wish::Lookup);
    idle.route.limits.idle_timeout = Some(Duration::from_secs(1));
    let said = "asked for, although idle timeout needs the relay";
    assert_chosen(&idle, &site, &all, Some(Datapath::Lookup), true, said);
}

#[test]
fn clients_inside_a_mesh_are_steered_or_not_served() {
    let (all, none, site) = (listening(), incapable(listening()), in_mesh());
    assert_chosen(&local(Wish::Auto), &site, &all, Some(Datapath::Connect), false, "clients inside a mesh");
    assert_chosen(&local(Wish::Connect), &site, &all, Some(Datapath::Connect), false, "asked for");
    assert_chosen(&local(Wish::Auto), &site, &none, None, false, "no connect");
    assert_chosen(&local(Wish::Connect), &site, &none, None, true, "no connect");
    for asked in [Wish::Proxy, Wish::Lookup] {
        let Chosen { datapath, only, reason: why, .. } = local(asked).choose(&site, &all);
        assert!(datapath.is_none() && only && why.ends_with("remove the annotation tcpshift.io/datapath"), "{why}");
    }
}

#[test]
fn more_rules_than_programs_look_at_are_carried_only_if_no_other_datapath_is_asked_for() {
    let all = listening();
    let rules = vec![RuleRow::new(Prefix::ANY, Prefix::ANY, 0); layout::RULES as usize + 1];
    let why = "its listener has more than 256 rules";
    assert_eq!((excess(&rules).as_deref(), excess(&rules[1..])), (Some(why), None));
    let gateway = ServedAt { excess: excess(&rules), ..at_gateway() };
    assert_chosen(&local(Wish::Auto), &gateway, &all, Some(Datapath::Proxy), false, why);
    assert_chosen(&local(Wish::Proxy), &gateway, &all, Some(Datapath::Proxy), false, "asked for");
    let mesh = ServedAt::in_mesh(excess(&rules));
    assert_chosen(&local(Wish::Auto), &mesh, &all, None, false, why);
    for asked in [Wish::Connect, Wish::Lookup] {
        assert_chosen(&local(asked), &gateway, &all, None, true, why);
        let chosen = local(asked).choose(&gateway, &all);
        let said = refusal(&Route { chosen, ..local(asked).route });
        assert_eq!(said, Some(format!("VirtualService default/r: its connections are refused: {why}")));
        assert_chosen(&local(asked), &mesh, &all, None, true, why);
    }
}

#[test]
fn who_listens_does_not_matter_where_that_decides_nothing() {
    let hosts = [listening(), silent(), unfit(), Host::new(1)].map(incapable);
    let networks = vec!["192.0.2.0/24".parse().unwrap()];
    let elsewhere = Host { networks, ..hosts[0].clone() };
    for asked in [Wish::Auto, Wish::Proxy, Wish::Connect, Wish::Lookup] {
        for site in [at_gateway(), in_mesh()] {
            let expected = local(asked).choose(&site, &elsewhere);
            assert!(hosts.iter().all(|host| local(asked).choose(&site, host) == expected), "{expected:?}");
        }
    }
}

/// Datapath, the family of clients who are steered, and why, of a route at a gateway's address.
fn steered(at: &str, case: &Case) -> (Option<Datapath>, u32, String) {
    let address: SocketAddr = at.parse().unwrap();
    let site = ServedAt { listener: Some(address.ip()), ..at_gateway() };
    let Chosen { datapath, family, reason, .. } = case.choose(&site, &listening());
    (datapath, family, reason)
}

#[test]
fn connect_steers_clients_who_reach_every_endpoint() {
    let to = |endpoints: &[&str]| route(Wish::Connect, vec![destination("v1", 10_000, endpoints)]);
    let (four, six) = ("192.0.2.7:9000", "[2001:db8::7]:9000");
    let [any, mapped] = ["[::]:1", "[::ffff:192.0.2.1]:1"];
    let connect = |at: &str, endpoints: &[&str]| {
        let (datapath, family, reason) = steered(at, &to(endpoints));
        assert_eq!(datapath, Some(Datapath::Connect), "{reason}");
        (family, reason.contains("IPv4 clients are carried"))
    };
    assert_eq!(connect(any, &[four]), (family::ANY, false));
    assert_eq!(connect("192.0.2.1:1", &[four]), (family::ANY, false));
    assert_eq!(connect(any, &[four, six]), (family::V6, true));
    assert_eq!(connect(any, &[six]), (family::V6, true));
    assert_eq!(connect("[2001:db8::1]:1", &[four, six]), (family::V6, false));
    for (at, endpoints, said) in [
        ("192.0.2.1:1", &[four, six][..], "no IPv4 client can connect to [2001:db8::7]:9000"),
        ("0.0.0.0:1", &[six], "no IPv4 client"),
        (mapped, &[six], "no IPv4 client"),
        (any, &[four, "/run/x.sock"], "unix:///run/x.sock is no TCP address"),
    ] {
        let (datapath, _, reason) = steered(at, &to(endpoints));
        assert_eq!(datapath, Some(Datapath::Proxy), "{at}");
        assert!(reason.contains(said) && reason.ends_with("all are carried"), "{reason}");
    }
    // What gets nothing does not matter.
    let mut other = to(&[four]);
    other.push(destination("v2", 0, &[six, "/run/x.sock"]));
    assert_eq!(steered(any, &other).1, family::ANY);
}

#[test]
fn clients_are_handed_over_whose_family_every_endpoint_has() {
    let to = |endpoints: &[&str]| route(Wish::Auto, vec![destination("v1", 10_000, endpoints)]);
    let (four, six) = (AT, SIX);
    let at = |at: &str, endpoints: &[&str]| {
        let (datapath, family, reason) = steered(at, &to(endpoints));
        let others = [(family::V4, "IPv6 clients are carried"), (family::V6, "IPv4 clients are carried")];
        let said = others.iter().any(|(steered, others)| family == *steered && reason.contains(others));
        assert_eq!(said, datapath == Some(Datapath::Lookup) && at.starts_with("[::]"), "{at}: {reason}");
        (datapath, family)
    };
    let (lookup, proxy) = (Some(Datapath::Lookup), (Some(Datapath::Proxy), family::ANY));
    assert_eq!(at("[::]:1", &[four]), (lookup, family::V4));
    assert_eq!(at("[::]:1", &[six]), (lookup, family::V6));
    assert_eq!(at("127.0.0.1:1", &[four]), (lookup, family::V4));
    assert_eq!(at("[::1]:1", &[six]), (lookup, family::V6));
    assert_eq!([at("[::]:1", &[four, six]), at("[::1]:1", &[four]), at("0.0.0.0:1", &[six])], [proxy; 3]);
}
