//! A stopped agent: commands end with an error that names a cure, and nothing is lost.

use std::time::Instant;

use rustix::process::Signal;
use socket2::{Domain, SockAddr, Socket, Type};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask};
use tcpshift_tests::example::{base, example_file, route};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

use crate::takeover::program;

fn frozen(world: &World) -> Agent<'_> {
    let mut agent = Agent::start::<&str>(world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    agent.process().signal(Signal::STOP);
    agent
}

#[test]
fn every_command_ends_and_says_which_process_stands_still() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let mut agent = frozen(&world);
    let file = example_file("20-v2.yaml");
    let (file, socket) = (file.to_str().unwrap(), format!("unix:{}", agent.socket().display()));
    for words in [
        &["status"][..],
        &["get", "vs"],
        &["get", "vs", "-w"],
        &["describe", "vs", "tcp-echo"],
        &["apply", "-f", file],
        &["delete", "-f", file],
        &["preview", file],
        &["shift", "vs/tcp-echo", "v2=10"],
        &["hosts"],
        &["analyze", "--admin", &socket, file],
    ] {
        let output = agent.cli(&[words, &["--timeout", "100ms"]].concat()).expect(1);
        let process = agent.pid();
        let said = format!("{} (pid {process}) within 100ms", agent.socket().display());
        let is_change = ["apply", "delete", "shift"].contains(&words[0]);
        assert_eq!(output.stderr.contains("the change may still come into force"), is_change, "{words:?}: {output:?}");
        output.complains(&said).complains(&format!("`kill -CONT {process}`"));
    }
    // Clients fill the socket's queue; later ones cannot even connect.
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        match client.connect(&SockAddr::unix(agent.socket()).unwrap()) {
            Ok(()) => waiting.push(client),
            Err(_) => break,
        }
        assert!(waiting.len() < 10_000, "the queue has no end");
    }
    agent.cli(&["status", "--timeout", "100ms"]).expect(1).complains("queue of its socket is full");
    drop(waiting);
    agent.process().signal(Signal::CONT);
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    agent.cli(&["status"]).expect(0);
}

#[test]
fn who_would_take_over_from_it_ends_and_it_goes_on_afterwards() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let mut agent = frozen(&world);
    let begin = Instant::now();
    let mut successor = agent.successor("successor", program(), &["--timeout", "500ms"]);
    assert_eq!(successor.process().wait(seconds(20)).code(), Some(1), "{}", successor.log());
    assert!(begin.elapsed() < seconds(20));
    let said = format!("(pid {}) does not answer within 500ms", agent.pid());
    assert!(successor.log().contains(&said), "{}", successor.log());
    agent.process().signal(Signal::CONT);
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    agent.cli(&["shift", "vs/tcp-echo", "v1=100"]).expect(0);
}

#[test]
fn no_time_is_no_time_to_wait() {
    let output = tcpshift_tests::agent::cli(&[], &["status", "--timeout", "0s"], b"").expect(2);
    output.complains("--timeout");
}
