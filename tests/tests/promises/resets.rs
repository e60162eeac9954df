//! Resets: when one side breaks a connection, the other side sees a reset and never an orderly end.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{scope, sleep};
use std::time::Duration;

use serde_json::{Value, json};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, End, connect, drain};
use tcpshift_tests::example::{base, route, to_unix_sockets};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::server::{Server, reset};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// A policy that asks for nothing but the usual.
fn usual() -> Value {
    json!({ "connectionPool": { "tcp": { "connectTimeout": "10s" } } })
}

/// An agent that carries everything to the endpoint at port 9000.
fn served(world: &World) -> Agent<'_> {
    let agent = Agent::start(world, &["--datapath", "proxy"]);
    agent.apply(base() + route(&[("v1", 1)]));
    agent
}

/// An agent that carries everything to a unix socket, for each connection of which the script runs.
fn served_at_socket<'a>(world: &'a World, policy: &Value, script: impl Fn(UnixStream) + Send + 'static) -> Agent<'a> {
    let path = world.path("endpoint.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(script));
    let agent = Agent::start(world, &["--datapath", "proxy"]);
    agent.apply(base() + to_unix_sockets(&[&path], policy));
    agent
}

/// How a stream ended. The kernel reports a reset once: to the write, or to the read.
fn either(sent: io::Result<()>, read: End) -> End {
    if sent.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) { End::Reset } else { read }
}

#[test]
fn an_endpoint_that_resets_at_once_never_looks_like_one_that_answers_nothing() {
    let world = World::new();
    let _server = Server::each("127.0.0.1:9000", |stream| {
        reset(stream);
        Ok(())
    });
    let _agent = served(&world);
    scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..400 {
                    // The reset may come before the client has done anything.
                    let sent = connect(ENTRANCE).and_then(|stream| {
                        (&stream).write_all(b"line\n")?;
                        stream.shutdown(Shutdown::Write)?;
                        Ok(stream)
                    });
                    let end = sent.map_or(End::Reset, |stream| drain(&stream).1);
                    assert_eq!(end, End::Reset, "connection {number}");
                }
            });
        }
    });
}

#[test]
fn a_truncated_answer_of_any_length_ends_by_a_reset() {
    let world = World::new();
    // The client's first four bytes say how much is answered before the reset; the server reads no more than these.
    let _server = Server::each("127.0.0.1:9000", |mut stream| {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let sent = stream.write_all(&Noise::new(3).take(u32::from_le_bytes(length) as usize));
        reset(stream);
        sent
    });
    let _agent = served(&world);
    let mut lengths = Noise::new(4);
    for round in 0..60_u64 {
        let stream = connect(ENTRANCE).unwrap();
        let length = lengths.below([10, 10_000, 3_000_000][round as usize % 3]) as u32;
        (&stream).write_all(&length.to_le_bytes()).unwrap();
        let end = scope(|scope| {
            let reader = scope.spawn(|| drain(&stream).1);
            // Half of the clients go on sending, and all end their side.
            let more = Noise::new(5).take(if round % 2 == 0 { 1_000_000 } else { 0 });
            let sent = (&stream).write_all(&more).and_then(|()| stream.shutdown(Shutdown::Write));
            either(sent, reader.join().unwrap())
        });
        assert_eq!(end, End::Reset, "round {round}, after {length} bytes");
    }
}

#[test]
fn a_client_that_resets_in_the_middle_of_bulk_is_seen_to_reset() {
    let world = World::new();
    let (sender, seen) = channel();
    let _server = Server::each("127.0.0.1:9000", move |stream| {
        let end = scope(|scope| {
            let reader = scope.spawn(|| drain(&stream).1);
            let piece = Noise::new(1).take(64 << 10);
            let sent = (0..).try_for_each(|_| (&stream).write_all(&piece));
            either(sent, reader.join().unwrap())
        });
        sender.send(end).map_err(io::Error::other)
    });
    let _agent = served(&world);
    let piece = Noise::new(2).take(64 << 10);
    for round in 0..16 {
        let stream = connect(ENTRANCE).unwrap();
        for _ in 0..=round * 5 {
            (&stream).write_all(&piece).unwrap();
            (&stream).read_exact(&mut vec![0; piece.len()]).unwrap();
        }
        reset(stream);
        assert_eq!(seen.recv_timeout(seconds(20)).unwrap(), End::Reset, "round {round}");
    }
}

#[test]
fn a_killed_agent_ends_no_connection_in_order() {
    let world = World::new();
    let (sender, seen) = channel();
    let _server = Server::each("127.0.0.1:9000", move |mut stream| {
        stream.write_all(b"a part of the answer")?;
        sender.send(drain(&stream).1).map_err(io::Error::other)
    });
    let mut agent = served(&world);
    let mut stream = connect(ENTRANCE).unwrap();
    stream.read_exact(&mut [0; 20]).unwrap();
    agent.process().kill();
    assert_eq!(drain(&stream).1, End::Reset, "seen by the client");
    assert_eq!(seen.recv_timeout(seconds(10)).unwrap(), End::Reset, "seen by the server");
}

#[test]
fn a_unix_endpoint_that_leaves_bytes_unread_resets_its_client() {
    let world = World::new();
    let _agent = served_at_socket(&world, &usual(), |mut stream| {
        let mut order = [0];
        let read = stream.read_exact(&mut order).and_then(|()| stream.write_all(b"a part"));
        if order == *b"o" && read.is_ok() {
            while stream.read(&mut [0; 100]).is_ok_and(|count| count > 0) {}
        }
    });
    for round in 0..50 {
        let stream = connect(ENTRANCE).unwrap();
        (&stream).write_all(b"r and more that nobody reads").unwrap();
        if round % 2 == 0 {
            stream.shutdown(Shutdown::Write).ok();
        }
        assert_eq!(drain(&stream).1, End::Reset, "round {round}");
        let stream = connect(ENTRANCE).unwrap();
        (&stream).write_all(b"o, which is all").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(drain(&stream).1, End::Closed, "round {round}");
    }
}

/// An agent whose only endpoint stops reading, says so, says nothing more, and keeps its connections.
fn deaf_and_silent<'a>(world: &'a World, policy: &Value) -> (Agent<'a>, Receiver<()>) {
    let (sender, deaf) = channel();
    let held = Mutex::new(Vec::new());
    let agent = served_at_socket(world, policy, move |stream| {
        stream.shutdown(Shutdown::Read).unwrap();
        held.lock().unwrap().push(stream);
        sender.send(()).unwrap();
    });
    (agent, deaf)
}

#[test]
fn a_unix_endpoint_that_stopped_reading_and_is_silent_keeps_no_client_that_resets() {
    let world = World::new();
    let (agent, deaf) = deaf_and_silent(&world, &usual());
    let active = || agent.destination("default/tcp-echo", "v1").active;
    let streams: Vec<_> = (0..5).map(|_| connect(ENTRANCE).unwrap()).collect();
    for _ in &streams {
        deaf.recv_timeout(seconds(10)).unwrap();
    }
    for mut stream in &streams {
        stream.write_all(b"to nobody").unwrap();
    }
    sleep(Duration::from_millis(200));
    assert_eq!(active(), 5, "an answer may still come");
    streams.into_iter().for_each(reset);
    until_so("none is active", seconds(10), || active() == 0);
}

#[test]
fn a_unix_endpoint_that_stopped_reading_and_is_silent_is_there_no_longer_than_it_may_be_idle() {
    let world = World::new();
    let (agent, deaf) = deaf_and_silent(&world, &json!({ "connectionPool": { "tcp": { "idleTimeout": "1s" } } }));
    let stream = connect(ENTRANCE).unwrap();
    deaf.recv_timeout(seconds(10)).unwrap();
    (&stream).write_all(b"to nobody").unwrap();
    assert_eq!(drain(&stream).1, End::Reset, "what was sent is lost");
    until_so("none is active", seconds(10), || agent.destination("default/tcp-echo", "v1").active == 0);
}

#[test]
fn the_answer_of_a_unix_endpoint_that_stopped_reading_arrives_whole() {
    const LENGTH: usize = 3_000_000;
    let world = World::new();
    let (sender, deaf) = channel();
    let _agent = served_at_socket(&world, &usual(), move |mut stream| {
        stream.shutdown(Shutdown::Read).unwrap();
        sender.send(()).unwrap();
        sleep(Duration::from_millis(100));
        stream.write_all(&Noise::new(6).take(LENGTH)).unwrap();
    });
    let mut stream = connect(ENTRANCE).unwrap();
    deaf.recv_timeout(seconds(10)).unwrap();
    stream.write_all(b"to nobody").unwrap();
    sleep(Duration::from_millis(300));
    let mut answer = vec![0; LENGTH];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == Noise::new(6).take(LENGTH), "other bytes came");
}
