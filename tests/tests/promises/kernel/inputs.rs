//! Counters that decisions read: the kernel's programs and the agent share them.

use std::net::TcpStream;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, answers, connect, converse, tally};
use tcpshift_tests::example::{base, entry, route};
use tcpshift_tests::maps::{bpftool, links, path};
use tcpshift_tests::objects::{Objects, destination_rule};
use tcpshift_tests::server::Server;
use tcpshift_tests::world::World;

use super::{assigned, start};

/// Detaches the program, so that from now on the agent decides.
fn detach(world: &World) {
    for name in links(world).keys() {
        bpftool(world, &["link", "detach", "pinned", &path(&format!("links/{name}"))]);
    }
}

/// Three endpoints of one subset, `e1` to `e3`, with a policy.
fn endpoints(agent: &Agent<'_>, count: u32, policy: &str) {
    let entries = (1..=count).map(|n| entry(&format!("e{n}"), "v3", &format!("127.0.0.{n}"), 9100));
    let subset = destination_rule("tcp-echo-destination", "tcp-echo").subset("v3").balanced(policy);
    agent.apply(entries.collect::<Objects>() + subset + route(&[("v3", 1)]));
}

fn servers() -> Vec<Server> {
    (1..=3).map(|n| Server::named(&format!("127.0.0.{n}:9100"), &format!("e{n}"))).collect()
}

#[test]
fn ten_in_a_row_are_exact_across_edits_and_from_the_kernel_to_the_agent() {
    let world = World::new();
    let _versions = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = start(&world);
    let by_sequence = |extra: &str| {
        route(&[("v1", 70), ("v2", 30)]).annotation("tcpshift.io/steer-by", "sequence").annotation("note", extra)
    };
    agent.apply(base() + by_sequence("a"));
    let mut all = answers(ENTRANCE, 25);
    // An edit of something else, and an edit of the route that leaves its weights as they are.
    agent.apply(entry("new", "v2", "127.0.0.1", 9100));
    all.extend(answers(ENTRANCE, 8));
    agent.apply(by_sequence("b"));
    all.extend(answers(ENTRANCE, 14));
    assert_eq!(assigned(&agent), (47, 0));
    detach(&world);
    all.extend(answers(ENTRANCE, 36));
    assert_eq!(assigned(&agent), (47, 36));
    for (first, ten) in all.windows(10).enumerate() {
        assert_eq!(ten.iter().filter(|who| *who == "two").count(), 3, "connections {first} and on: {ten:?}");
    }
}

#[test]
fn turns_go_on_from_the_kernel_to_the_agent() {
    let world = World::new();
    let _servers = servers();
    let agent = start(&world);
    agent.apply(base());
    endpoints(&agent, 3, "ROUND_ROBIN");
    let mut all = answers(ENTRANCE, 61);
    assert_eq!(assigned(&agent), (61, 0));
    detach(&world);
    all.extend(answers(ENTRANCE, 59));
    assert_eq!(assigned(&agent), (61, 59));
    for three in all.windows(3) {
        assert!(three[0] != three[1] && three[1] != three[2] && three[0] != three[2], "{three:?}");
    }
}

#[test]
fn the_kernel_sees_the_load_that_the_agent_carries() {
    let world = World::new();
    let _servers = servers();
    let agent = start(&world);
    agent.apply(base());
    endpoints(&agent, 1, "LEAST_REQUEST");
    let held: Vec<TcpStream> = (0..40).map(|_| connect(ENTRANCE).unwrap()).collect();
    assert!(held.iter().all(|stream| converse(stream, "held").unwrap() == "e1"));
    endpoints(&agent, 2, "LEAST_REQUEST");
    // Of two endpoints, the one without connections is chosen.
    assert_eq!(answers(ENTRANCE, 100), ["e2"; 100]);
    drop(held);
    tcpshift_tests::until::until_so("they are counted down", tcpshift_tests::until::seconds(5), || {
        agent.destination("default/tcp-echo", "v3").active == 0
    });
    let idle = tally(ENTRANCE, 200);
    assert!(idle["e1"] > 50 && idle["e2"] > 50, "{idle:?}");
    assert_eq!(assigned(&agent), (340, 0));
}
