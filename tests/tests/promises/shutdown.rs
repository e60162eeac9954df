//! The end: SIGTERM stops accepting, lets connections end, and closes the rest at the deadline.

use std::time::Instant;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, End, connect, converse, drain, refused};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

fn served<'a>(world: &'a World, arguments: &[&str]) -> (Agent<'a>, Server) {
    let server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::start(world, arguments);
    agent.apply(base() + route(&[("v1", 1)]));
    (agent, server)
}

#[test]
fn sigterm_lets_connections_end() {
    let world = World::new();
    let (mut agent, _server) = served(&world, &[]);
    let held = connect(ENTRANCE).unwrap();
    assert_eq!(converse(&held, "before").unwrap(), "one");
    agent.terminate();
    until_so("the port refuses", seconds(5), || refused(ENTRANCE));
    assert_eq!(converse(&held, "while it drains").unwrap(), "one");
    assert!(agent.status().draining);
    drop(held);
    let begin = Instant::now();
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(0), "{}", agent.log());
    assert!(begin.elapsed() < seconds(3), "it waited {:?} for nobody", begin.elapsed());
}

#[test]
fn the_drain_timeout_closes_the_rest() {
    let world = World::new();
    let (mut agent, _server) = served(&world, &["--drain-timeout", "1s"]);
    let held = connect(ENTRANCE).unwrap();
    assert_eq!(converse(&held, "before").unwrap(), "one");
    let begin = Instant::now();
    agent.terminate();
    assert_ne!(drain(&held).1, End::Silent);
    let taken = begin.elapsed();
    assert!(taken >= seconds(1) && taken < seconds(4), "closed after {taken:?}");
    agent.process().wait(seconds(5));
}

#[test]
fn without_connections_it_ends_at_once_and_leaves_no_socket() {
    let world = World::new();
    let (mut agent, _server) = served(&world, &[]);
    let begin = Instant::now();
    agent.terminate();
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(0), "{}", agent.log());
    assert!(begin.elapsed() < seconds(2), "{:?}", begin.elapsed());
    assert!(!agent.socket().exists(), "the socket is left behind");
    agent.cli(&["status"]).expect(1);
}
