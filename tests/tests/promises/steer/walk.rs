//! The walk-through inside a mesh: clients of this host are pointed at a version when they connect to the service.

use std::collections::{BTreeMap, BTreeSet};

use tcpshift_tests::crowd::Location;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{
    MAPPED, MESH_ROUTE, ONE, SERVICE, SERVICE6, TWO, assert_split, await_counted, base, datapath, direct, inside,
    route, start, versions,
};

fn only(name: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(name.to_owned(), count)])
}

#[test]
fn the_whole_task_for_clients_of_this_host() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = start(&world, &[]);
    let clients = inside(&world);
    assert_eq!(clients.tally(SERVICE, 20), only("direct", 20), "nothing is applied");
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    assert_eq!(datapath(&agent, MESH_ROUTE).0, "connect");
    for address in [SERVICE, SERVICE6, MAPPED] {
        let seen = clients.ask(address, 300);
        assert_eq!(seen.tally(), only("one", 300), "{address}");
        assert_eq!(seen.peers, BTreeSet::from([address.to_owned()]), "whom it asked for is its peer");
    }
    until_so("the steered connections are counted", seconds(10), || agent.status().assignment.steered == 900);
    let text = agent.cli(&["status"]).expect(0).stdout;
    assert!(text.lines().nth(1).unwrap().ends_with(", 900 connections steered"), "{text}");
    agent.apply(route(MESH_ROUTE, [80, 20]));
    for address in [SERVICE, SERVICE6, MAPPED] {
        assert_split(&clients.tally(address, 1_500), 0.2);
    }
    agent.apply(route(MESH_ROUTE, [0, 100]));
    for address in [SERVICE, SERVICE6, MAPPED] {
        assert_eq!(clients.tally(address, 300), only("two", 300), "{address}");
    }
    agent.apply(route(MESH_ROUTE, [100, 0]));
    assert_eq!(clients.tally(SERVICE, 300), only("one", 300));
    agent.cli(&["delete", "vs", "echo"]).expect(0);
    assert_split(&clients.tally(SERVICE, 300), 0.5);
    agent.cli(&["delete", "se", "echo"]).expect(0);
    assert_eq!(clients.tally(SERVICE, 20), only("direct", 20), "there is no service any more");
}

#[test]
fn clients_of_ipv6_reach_endpoints_of_both_families_and_those_of_ipv4_their_own() {
    let world = World::new();
    let _direct = direct();
    let _six = [super::version("[::1]:9001", "one"), super::version("[::1]:9002", "two")];
    let agent = start(&world, &[]);
    agent.apply(base(&[("v1", "::1", 9001), ("v2", "::1", 9002)]) + route(MESH_ROUTE, [50, 50]));
    let clients = inside(&world);
    let seen = clients.ask(SERVICE6, 300);
    assert_split(&seen.tally(), 0.5);
    assert_eq!(seen.peers, BTreeSet::from([SERVICE6.to_owned()]));
    until_so("each is counted once", seconds(10), || agent.status().assignment.steered == 300);
    // What is asked for counts, not the socket.
    for address in [SERVICE, MAPPED] {
        assert_eq!(clients.tally(address, 20), only("ConnectionRefused", 20), "{address}");
    }
    let _one = super::version("127.0.0.1:9001", "one");
    agent.apply(base(&[ONE, ("v2", "::1", 9002)]));
    assert_split(&clients.tally(SERVICE6, 300), 0.5);
}

#[test]
fn by_sequence_any_ten_in_a_row_are_exactly_eight_and_two() {
    let world = World::new();
    let _versions = versions();
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [80, 20]).annotation("tcpshift.io/steer-by", "sequence"));
    let order = inside(&world).ask(SERVICE, 200).order;
    for (first, ten) in order.windows(10).enumerate() {
        let count = |name: &str| ten.iter().filter(|who| *who == name).count();
        assert_eq!((count("one"), count("two")), (8, 2), "connections {first} and on: {ten:?}");
    }
}

#[test]
fn what_is_opened_and_what_is_open_is_counted() {
    let world = World::new();
    let _versions = versions();
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [50, 50]));
    let held = tcpshift_tests::crowd::Crowd::hold(&world, "held", inside(&world), SERVICE, 40, &[]);
    held.reach(40);
    await_counted(&agent, MESH_ROUTE, 40, 40);
    assert_split(&held.finish(), 0.5);
    await_counted(&agent, MESH_ROUTE, 40, 0);
}

#[test]
fn clients_of_the_whole_host_are_steered_unless_a_group_is_named() {
    let world = World::new();
    let _versions = versions();
    let agent = tcpshift_tests::agent::Agent::start(&world, &["--assign", "kernel", "--datapath", "auto"]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [0, 100]));
    for location in [Location::Here, inside(&world)] {
        assert_eq!(location.tally(SERVICE, 50), only("two", 50), "{location:?}");
    }
}
