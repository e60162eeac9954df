//! Nine thousand connections: the list touches nobody, and half of them are ended without the other half.

use std::collections::BTreeMap;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::crowd::{Crowd, Location};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::steer::{ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, SERVICE, await_datapath, direct, inside, start};
use tcpshift_tests::world::World;

use super::{ONE, TWO, Way, await_listed, base, close, list, route};

/// Of each version.
const EACH: usize = 4_500;

fn only(who: &str) -> BTreeMap<String, usize> {
    BTreeMap::from([(who.to_owned(), EACH)])
}

/// Opens the connections, lists them all, and ends those of v1.
fn half_of_them(world: &World, agent: &Agent<'_>, name: &str, location: Location<'_>, address: &str, reset: &str) {
    let crowd = |who: &str, last: u8| {
        let sources: Vec<String> = (1..=3).map(|more| format!("127.0.{last}.{more}")).collect();
        let crowd = Crowd::hold(world, who, location, address, EACH, &sources);
        crowd.reach(EACH);
        crowd
    };
    let ones = crowd("ones", 1);
    agent.apply(route(name, [0, 100]));
    let twos = crowd("twos", 2);
    await_listed(agent, &[], 2 * EACH as u64);
    let answer = agent.request("GET", "/v1/connections", None);
    assert_eq!(answer.body["connections"].as_array().map(Vec::len), Some(2 * EACH));
    let closed = close(agent, &[name, "--destination", "v1"]);
    assert_eq!((closed.carried + closed.steered, closed.left.len()), (EACH as u64, 0), "{closed:?}");
    await_listed(agent, &["--destination", "v1"], 0);
    assert_eq!(list(agent, &["--destination", "v2"]).total, EACH as u64);
    assert_eq!(twos.finish(), only("two"));
    let ends = ones.finish();
    assert!(ends.keys().all(|end| reset.split('|').any(|reset| end == reset)), "{ends:?}");
    assert_eq!(ends.values().sum::<usize>(), EACH);
}

fn of_a_gateway(way: Way) {
    let world = World::new();
    let _versions = [tcp_echo(&world, "9001", "one", "127.0.0.1"), tcp_echo(&world, "9002", "two", "127.0.0.1")];
    let agent = way.start(&world, [100, 0]);
    let ends = "ConnectionReset at last|UnexpectedEof at last|BrokenPipe at last";
    half_of_them(&world, &agent, GATEWAY_ROUTE, Location::Here, ENTRANCE, ends);
}

#[test]
fn half_of_those_that_are_carried_are_ended() {
    of_a_gateway(Way::Carried);
}

#[test]
fn half_of_those_that_are_handed_over_are_ended() {
    of_a_gateway(Way::HandedOver);
}

#[test]
fn half_of_those_that_are_pointed_at_an_endpoint_are_ended() {
    let world = World::new();
    let _direct = direct();
    let _versions = [tcp_echo(&world, "9001", "one", "127.0.0.1"), tcp_echo(&world, "9002", "two", "127.0.0.1")];
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    await_datapath(&agent, MESH_ROUTE, "connect");
    half_of_them(&world, &agent, MESH_ROUTE, inside(&world), SERVICE, "ConnectionAborted at last");
}
