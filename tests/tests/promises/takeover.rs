//! Takeover: a new agent replaces the running one, and no connection fails. If a takeover fails, the running agent goes on.

mod changes;
mod counts;
mod failed;

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask, connect, converse};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::example::{base, route, route_of, rule};
use tcpshift_tests::load::{Load, echo_many};
use tcpshift_tests::objects::gateway;
use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::rush::Rush;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

const NONE: [&str; 0] = [];

/// An agent that leads to a server `one`, whose two ports are both versions.
fn served(world: &World) -> (Agent<'_>, Process) {
    let server = tcp_echo(world, "9000,9100", "one", "127.0.0.1");
    let agent = Agent::start(world, &NONE);
    agent.apply(base() + route(&[("v1", 1)]));
    (agent, server)
}

pub(crate) fn program() -> Command {
    command(built("tcpshift-agent"))
}

/// The same program on one core, where it has one worker.
fn on_one_core() -> Command {
    let mut launcher = command("taskset");
    launcher.args(["-c", "0"]).arg(built("tcpshift-agent"));
    launcher
}

/// Has another agent take over, and waits for the end of the first.
fn succeed<'a>(mut agent: Agent<'a>, process: &str, launcher: Command) -> Agent<'a> {
    let successor = agent.successor(process, launcher, &NONE).answers();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    successor
}

/// Makes so many takeovers, with so many connections during each. Returns the number of connections and the time it took.
fn takeovers(takeovers: usize, connections: usize) -> (usize, Duration) {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let began = Instant::now();
    let rush = Rush::start(ENTRANCE, 8);
    for number in 1..=takeovers {
        rush.go_on(connections / 2);
        agent = succeed(agent, &format!("agent-{number}"), program());
        rush.go_on(connections / 2);
    }
    (rush.finish(), began.elapsed())
}

#[test]
fn five_thousand_connections_do_not_notice_three_takeovers() {
    let (made, _) = takeovers(3, 1_700);
    assert!(made >= 5_000, "{made}");
}

/// Run by `cargo xtask soak`, in release.
#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn soak_takeover() {
    for round in 1..=10 {
        let (made, took) = takeovers(5, 10_000);
        assert!(made >= 50_000, "{made}");
        let each = took.as_secs_f64();
        eprintln!("round {round}: {made} connections over 5 takeovers in {each:.1} s, none refused or reset");
    }
}

#[test]
fn live_connections_go_on_in_the_old_agent_until_they_end() {
    let world = World::new();
    echo_many("127.0.0.1:9000");
    let mut agent = Agent::start(&world, &NONE);
    agent.apply(base() + route(&[("v1", 1)]));
    let load = Load::start(ENTRANCE, 200);
    let successor = agent.successor("successor", program(), &NONE).answers();
    let later = Load::start(ENTRANCE, 50);
    let destination = successor.destination("default/tcp-echo", "v1");
    assert_eq!((destination.opened, destination.active), (250, 50), "the new agent has the new ones alone");
    // Each connection has several exchanges in this time.
    sleep(Duration::from_secs(2));
    assert!(agent.process().ended().is_none(), "{}", agent.log());
    load.finish();
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(0), "{}", agent.log());
    later.finish();
    assert!(successor.socket().exists(), "the socket belongs to the new agent");
}

#[test]
fn the_old_agent_waits_for_connections_no_longer_than_it_was_told_to() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let mut agent = Agent::start(&world, &["--drain-timeout", "1s"]);
    agent.apply(base() + route(&[("v1", 1)]));
    let held = connect(ENTRANCE).unwrap();
    assert_eq!(converse(&held, "before").unwrap(), "one");
    let _successor = agent.successor("successor", program(), &NONE).answers();
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(0), "{}", agent.log());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
}

#[test]
fn the_number_of_workers_may_differ() {
    let world = World::new();
    let (mut agent, _server) = served(&world);
    let rush = Rush::start(ENTRANCE, 4);
    for (number, launcher) in [on_one_core(), program(), on_one_core(), program()].into_iter().enumerate() {
        agent = succeed(agent, &format!("agent-{number}"), launcher);
        rush.go_on(100);
    }
    rush.finish();
}

#[test]
fn six_hundred_listeners_go_over() {
    let world = World::new();
    let _server = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let agent = Agent::start(&world, &NONE);
    agent.apply(base());
    agent.apply(gateway("tcp-echo-gateway").ports(20_000..20_600) + route_of([rule(&[("v1", 1)])]));
    assert_eq!(agent.status().listeners.len(), 600);
    let successor = succeed(agent, "successor", program());
    let status = successor.status();
    assert_eq!(status.listeners.len(), 600);
    for port in 20_000..20_600 {
        assert_eq!(ask(&format!("127.0.0.1:{port}")).unwrap(), "one", "{port}");
    }
}

/// The example at other ports, as a file.
pub(crate) fn file(world: &World, name: &str, ports: &[u16]) -> PathBuf {
    let gateway = gateway("tcp-echo-gateway").ports(ports.iter().copied());
    let objects = base().without("Gateway") + gateway + route_of([rule(&[("v1", 1)])]);
    world.write(name, objects.to_string())
}
