//! What is chosen on which ground, and what is said of it.

use std::time::Duration;

use tcpshift_common::address::{Prefix, family};
use tcpshift_common::decide::Steer;
use tcpshift_common::destination;

use super::*;
use crate::plan::weigh::Layout;
use crate::plan::{Endpoint, Kind, Limits, Listener, MeshListener, OnEmpty, Settings, Unusable, WeightTable};

const AT: &str = "127.0.0.1:9000";
const BESIDE: &str = "127.0.0.1:9001";

fn destination(name: &str, slots: u32, endpoints: &[&str]) -> Destination {
    let endpoint = |text: &&str| Endpoint {
        address: match text.parse::<SocketAddr>() {
            Ok(address) => address.into(),
            Err(_) => EndpointAddress::Unix((*text).into()),
        },
        decides: destination::EndpointFacts { number: 0, weight: 1, upto: 1 },
    };
    Destination {
        name: name.to_owned(),
        host: name.to_owned(),
        subset: None,
        port: 1,
        target: 0,
        weight: 1,
        slots,
        settings: Settings::default(),
        unusable: endpoints.is_empty().then_some(Unusable::NoEndpoint),
        decides: destination::DestinationFacts::default(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        hashing: None,
    }
}

fn route(asked: Wish, destinations: Vec<Destination>) -> Route {
    Route {
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
        destinations,
        table: WeightTable::new(Layout::Scattered, &[]),
    }
}

fn local(asked: Wish) -> Route {
    route(asked, vec![destination("v1", 8_000, &[AT]), destination("v2", 2_000, &[BESIDE])])
}

fn at_gateway(route: Route) -> Plan {
    let address = "[::]:31400".parse().unwrap();
    let listener =
        Listener { number: 0, name: "gate".to_owned(), address, rules: Vec::new(), routes: vec![route.into()] };
    Plan { listeners: vec![listener.into()], ..Plan::empty(1) }
}

fn in_mesh(route: Route) -> Plan {
    let listener = MeshListener {
        number: 0,
        host: "echo".to_owned(),
        port: 1,
        addresses: vec![Prefix::v4([240, 0, 0, 1], 32)],
        rules: Vec::new(),
        routes: vec![route.into()],
    };
    Plan { mesh: vec![listener.into()], ..Plan::empty(1) }
}

fn listening(_: SocketAddr) -> Presence {
    Presence::Listening
}

fn silent(address: SocketAddr) -> Presence {
    if address.port() == 9_001 { Presence::Silent } else { Presence::Listening }
}

fn unfit(address: SocketAddr) -> Presence {
    if address.port() == 9_001 { Presence::Unfit("it listens with MPTCP".to_owned()) } else { Presence::Listening }
}

fn ground(presence: &dyn Fn(SocketAddr) -> Presence) -> Ground<'_> {
    Ground { connect: Ok(()), lookup: Ok(()), is_local: &|ip| ip.is_loopback(), presence }
}

fn incapable(presence: &dyn Fn(SocketAddr) -> Presence) -> Ground<'_> {
    Ground { connect: Err("no connect".to_owned()), lookup: Err("no lookup".to_owned()), ..ground(presence) }
}

/// Datapath, whether no other may do it, and why, of the one route of a plan.
fn chosen(plan: &Plan, last: &Plan, ground: &Ground<'_>) -> (Option<Datapath>, bool, String) {
    let all = choose(plan, last, ground);
    assert_eq!(all.len(), 1);
    let Chosen { datapath, only, reason, .. } = all[&7].clone();
    (datapath, only, reason)
}

#[track_caller]
fn assert_chosen(plan: &Plan, ground: &Ground<'_>, datapath: Option<Datapath>, only: bool, reason: &str) {
    assert_eq!(chosen(plan, &Plan::empty(1), ground), (datapath, only, reason.to_owned()));
}

#[test]
fn local_endpoints_that_listen_are_handed_the_syn() {
    let ground = ground(&listening);
    let why = "every endpoint listens on this host";
    assert_chosen(&at_gateway(local(Wish::Auto)), &ground, Some(Datapath::Lookup), false, why);
    // What gets nothing does not matter, and a share that is refused is refused there too.
    let mut other = local(Wish::Auto);
    other.destinations.push(destination("v3", 0, &["192.0.2.7:9000"]));
    other.destinations.push(destination("v4", 5, &[]));
    assert_chosen(&at_gateway(other), &ground, Some(Datapath::Lookup), false, why);
}

#[test]
fn auto_is_carried_where_something_stands_in_the_way() {
    let listens = ground(&listening);
    let carried = |route: Route, ground: &Ground<'_>, why: &str| {
        assert_chosen(&at_gateway(route), ground, Some(Datapath::Proxy), false, why);
    };
    let with = |change: fn(&mut Route)| {
        let mut route = local(Wish::Auto);
        change(&mut route);
        route
    };
    carried(local(Wish::Auto), &incapable(&listening), "no lookup");
    carried(local(Wish::Auto), &ground(&silent), "nothing listens at 127.0.0.1:9001");
    carried(local(Wish::Auto), &ground(&unfit), "127.0.0.1:9001: it listens with MPTCP");
    carried(route(Wish::Auto, vec![destination("v1", 10_000, &[])]), &listens, "there is no endpoint");
    let far = route(Wish::Auto, vec![destination("v1", 10_000, &[AT, "192.0.2.7:9000"])]);
    carried(far, &listens, "192.0.2.7:9000 is not an address of this host");
    let unix = route(Wish::Auto, vec![destination("v1", 10_000, &["/run/x"])]);
    carried(unix, &listens, "unix:///run/x is no TCP address");
    let sequence = with(|route| route.steer.by = steer::SEQUENCE);
    carried(sequence, &listens, "steer-by sequence would count packets there, and not connections");
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
fn a_version_that_restarts_does_not_change_the_datapath() {
    let plan = at_gateway(local(Wish::Auto));
    let mut last = at_gateway(local(Wish::Auto));
    let chosen_after = |last: &Plan| chosen(&plan, last, &ground(&silent)).0;
    assert_eq!(chosen_after(&last), Some(Datapath::Proxy), "it was not chosen for");
    last.datapaths = choose(&last, &Plan::empty(1), &ground(&listening));
    assert_eq!(chosen_after(&last), Some(Datapath::Lookup));
    let other = route(Wish::Auto, vec![destination("v1", 8_000, &[AT]), destination("v2", 2_000, &["127.0.0.1:1"])]);
    let last = Plan { datapaths: last.datapaths.clone(), ..at_gateway(other) };
    assert_eq!(chosen_after(&last), Some(Datapath::Proxy), "an endpoint is another one");
}

#[test]
fn what_is_asked_for_is_done_or_said() {
    let (all, none) = (ground(&listening), incapable(&listening));
    let plan = |asked| at_gateway(local(asked));
    assert_chosen(&plan(Wish::Proxy), &all, Some(Datapath::Proxy), false, "asked for");
    assert_chosen(&plan(Wish::Connect), &all, Some(Datapath::Connect), false, "asked for");
    assert_chosen(&plan(Wish::Connect), &none, None, true, "no connect");
    assert_chosen(&plan(Wish::Lookup), &all, Some(Datapath::Lookup), true, "asked for");
    let said = "asked for, although nothing listens at 127.0.0.1:9001";
    assert_chosen(&plan(Wish::Lookup), &ground(&silent), Some(Datapath::Lookup), true, said);
    assert_chosen(&plan(Wish::Lookup), &none, None, true, "no lookup");
    let far = route(Wish::Lookup, vec![destination("v1", 10_000, &["192.0.2.7:9000"])]);
    assert_chosen(&at_gateway(far), &all, None, true, "192.0.2.7:9000 is not an address of this host");
    let mut idle = local(Wish::Lookup);
    idle.limits.idle_timeout = Some(Duration::from_secs(1));
    let said = "asked for, although idle timeout needs the relay";
    assert_chosen(&at_gateway(idle), &all, Some(Datapath::Lookup), true, said);
}

#[test]
fn clients_inside_a_mesh_are_steered_or_not_served() {
    let (all, none) = (ground(&listening), incapable(&listening));
    let plan = |asked| in_mesh(local(asked));
    assert_chosen(&plan(Wish::Auto), &all, Some(Datapath::Connect), false, "clients inside a mesh");
    assert_chosen(&plan(Wish::Connect), &all, Some(Datapath::Connect), false, "asked for");
    assert_chosen(&plan(Wish::Auto), &none, None, false, "no connect");
    assert_chosen(&plan(Wish::Connect), &none, None, true, "no connect");
    for asked in [Wish::Proxy, Wish::Lookup] {
        let (datapath, only, why) = chosen(&plan(asked), &Plan::empty(1), &all);
        assert!(datapath.is_none() && only && why.ends_with("remove the annotation tcpshift.io/datapath"), "{why}");
    }
}

#[test]
fn more_rules_than_programs_look_at_are_carried_only_if_no_other_datapath_is_asked_for() {
    let all = ground(&listening);
    let rules = vec![RuleRow::new(Prefix::ANY, Prefix::ANY, 0); layout::RULES as usize + 1];
    let why = "its listener has more than 256 rules";
    let gateway = |asked| {
        let mut plan = at_gateway(local(asked));
        plan.listeners[0] = Listener { rules: rules.clone(), ..Listener::clone(&plan.listeners[0]) }.into();
        plan
    };
    assert_chosen(&gateway(Wish::Auto), &all, Some(Datapath::Proxy), false, why);
    assert_chosen(&gateway(Wish::Proxy), &all, Some(Datapath::Proxy), false, "asked for");
    let mesh = |asked| {
        let mut plan = in_mesh(local(asked));
        plan.mesh[0] = MeshListener { rules: rules.clone(), ..MeshListener::clone(&plan.mesh[0]) }.into();
        plan
    };
    assert_chosen(&mesh(Wish::Auto), &all, None, false, why);
    for asked in [Wish::Connect, Wish::Lookup] {
        assert_chosen(&gateway(asked), &all, None, true, why);
        let plan = Plan { datapaths: choose(&gateway(asked), &Plan::empty(1), &all), ..gateway(asked) };
        let said: Vec<_> = refusals(&plan).map(|(_, said)| said).collect();
        assert_eq!(said, [format!("VirtualService default/r: its connections are refused: {why}")]);
        assert_chosen(&mesh(asked), &all, None, true, why);
    }
}

#[test]
fn nobody_is_looked_for_where_that_decides_nothing() {
    let never = |address: SocketAddr| -> Presence { panic!("{address}") };
    let not_local = |ip: IpAddr| -> bool { panic!("{ip}") };
    let ground = Ground { is_local: &not_local, ..incapable(&never) };
    for asked in [Wish::Auto, Wish::Proxy, Wish::Connect, Wish::Lookup] {
        choose(&at_gateway(local(asked)), &Plan::empty(1), &ground);
        choose(&in_mesh(local(asked)), &Plan::empty(1), &ground);
    }
}

/// Datapath, the family of clients who are steered, and why, of a route at a gateway's address.
fn steered(at: &str, route: Route) -> (Option<Datapath>, u32, String) {
    let mut plan = at_gateway(route);
    Arc::make_mut(&mut plan.listeners[0]).address = at.parse().unwrap();
    let Chosen { datapath, family, reason, .. } = choose(&plan, &Plan::empty(1), &ground(&listening))[&7].clone();
    (datapath, family, reason)
}

#[test]
fn connect_steers_clients_who_reach_every_endpoint() {
    let to = |endpoints: &[&str]| route(Wish::Connect, vec![destination("v1", 10_000, endpoints)]);
    let (four, six) = ("192.0.2.7:9000", "[2001:db8::7]:9000");
    let [any, mapped] = ["[::]:1", "[::ffff:192.0.2.1]:1"];
    let connect = |at: &str, endpoints: &[&str]| {
        let (datapath, family, reason) = steered(at, to(endpoints));
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
        let (datapath, _, reason) = steered(at, to(endpoints));
        assert_eq!(datapath, Some(Datapath::Proxy), "{at}");
        assert!(reason.contains(said) && reason.ends_with("all are carried"), "{reason}");
    }
    // What gets nothing does not matter.
    let mut other = to(&[four]);
    other.destinations.push(destination("v2", 0, &[six, "/run/x.sock"]));
    assert_eq!(steered(any, other).1, family::ANY);
}

#[test]
fn clients_are_handed_over_whose_family_every_endpoint_has() {
    let to = |endpoints: &[&str]| route(Wish::Auto, vec![destination("v1", 10_000, endpoints)]);
    let (four, six) = (AT, "[::1]:9000");
    let at = |at: &str, endpoints: &[&str]| {
        let (datapath, family, _) = steered(at, to(endpoints));
        (datapath, family)
    };
    let (lookup, proxy) = (Some(Datapath::Lookup), (Some(Datapath::Proxy), family::ANY));
    assert_eq!(at("[::]:1", &[four]), (lookup, family::V4));
    assert_eq!(at("[::]:1", &[six]), (lookup, family::V6));
    assert_eq!(at("127.0.0.1:1", &[four]), (lookup, family::V4));
    assert_eq!(at("[::1]:1", &[six]), (lookup, family::V6));
    assert_eq!([at("[::]:1", &[four, six]), at("[::1]:1", &[four]), at("0.0.0.0:1", &[six])], [proxy; 3]);
}
