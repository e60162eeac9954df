//! Endpoints that are unix sockets with a full backlog.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask, connect, converse};
use tcpshift_tests::example::{base, to_unix_sockets};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// A unix socket that nobody accepts from, and whose backlog is full.
fn frozen(path: &Path) -> (UnixListener, Vec<Socket>) {
    let address = SockAddr::unix(path).unwrap();
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&address).unwrap();
    socket.listen(1).unwrap();
    let mut filling = Vec::new();
    loop {
        let one = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
        if one.connect(&address).is_err() {
            return (socket.into(), filling);
        }
        filling.push(one);
    }
}

/// Answers each line of each connection with a name.
fn answer(listener: UnixListener, name: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || one(&stream, name).is_err());
        }
    });
}

fn one(mut stream: &UnixStream, name: &str) -> std::io::Result<()> {
    let mut lines = std::io::BufReader::new(stream);
    let mut line = String::new();
    while std::io::BufRead::read_line(&mut lines, &mut line)? > 0 {
        stream.write_all(format!("{name} {line}").as_bytes())?;
        line.clear();
    }
    Ok(())
}

/// A policy for the time that a connection to an endpoint may take.
fn timeout(time: &str) -> Value {
    json!({ "connectionPool": { "tcp": { "connectTimeout": time } } })
}

fn served<'a>(world: &'a World, paths: &[&Path], policy: &Value) -> Agent<'a> {
    let agent = Agent::start(world, &["--datapath", "proxy"]);
    agent.apply(base() + to_unix_sockets(paths, policy));
    agent
}

#[test]
fn clients_of_a_full_backlog_cost_no_processor_and_are_served_once_it_has_room() {
    let world = World::new();
    let path = world.path("frozen.sock");
    let (listener, filling) = frozen(&path);
    let mut agent = served(&world, &[&path], &timeout("60s"));
    let streams: Vec<_> = (0..500).map(|_| connect(ENTRANCE).unwrap()).collect();
    until_so("all wait", seconds(20), || agent.destination("default/tcp-echo", "v1").active == 500);
    // A second tells two probes every 50 ms apart from 500 tasks that each retry.
    let (before, begun) = (agent.process().processor_time(), Instant::now());
    std::thread::sleep(seconds(1));
    let share = agent.process().processor_time().saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.3, "{:.0} % of a processor for clients that wait", share * 100.0);
    drop(filling);
    answer(listener, "thawed");
    for stream in &streams {
        assert_eq!(converse(stream, "at last").unwrap(), "thawed");
    }
}

#[test]
fn a_full_backlog_fails_within_the_connect_timeout_and_is_counted() {
    let world = World::new();
    let path = world.path("frozen.sock");
    let _frozen = frozen(&path);
    let agent = served(&world, &[&path], &timeout("200ms"));
    assert!(ask(ENTRANCE).is_err());
    let failures = agent.destination("default/tcp-echo", "v1").failures;
    assert!(failures.iter().any(|one| one.reason == "connect timed out" && one.count == 1), "{failures:?}");
}

#[test]
fn another_endpoint_is_tried_where_a_backlog_stays_full() {
    let world = World::new();
    let (full, open) = (world.path("frozen.sock"), world.path("open.sock"));
    let _frozen = frozen(&full);
    answer(UnixListener::bind(&open).unwrap(), "open");
    let _agent = served(&world, &[&full, &open], &timeout("1s"));
    for _ in 0..4 {
        assert_eq!(ask(ENTRANCE).unwrap(), "open");
    }
}
