//! Bytes: every one arrives, in order, and both ends of a stream are carried as they are.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, End, connect, drain, send};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::noise::Mark;
use tcpshift_tests::server::{Server, reset};
use tcpshift_tests::streams;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

/// The address of the gateway over IPv6.
const ENTRANCE6: &str = "[::1]:31400";

fn served(world: &World, script: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> (Agent<'_>, Server) {
    let server = Server::each("127.0.0.1:9000", script);
    let agent = Agent::start::<&str>(world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    (agent, server)
}

#[test]
fn streams_of_random_length_both_ways_over_both_families() {
    let world = World::new();
    let (_server, seen) = streams::server("127.0.0.1:9000");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    for round in 0..24 {
        let address = if round % 2 == 0 { ENTRANCE } else { ENTRANCE6 };
        streams::converse(&connect(address).unwrap(), round).unwrap();
        seen.recv_timeout(seconds(10)).unwrap().unwrap();
    }
}

#[test]
fn endpoints_may_be_ipv6() {
    let world = World::new();
    let _server = Server::named("[::1]:9000", "six");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base());
    agent.apply(tcpshift_tests::example::entry("tcp-echo-v1", "v1", "::1", 9000) + route(&[("v1", 1)]));
    for address in [ENTRANCE, ENTRANCE6] {
        assert_eq!(tcpshift_tests::client::ask(address).unwrap(), "six", "{address}");
    }
}

#[test]
fn a_server_may_speak_first() {
    let world = World::new();
    let (_agent, _server) = served(&world, |mut stream| {
        stream.write_all(b"220 ready\r\n")?;
        drain(&stream);
        Ok(())
    });
    for _ in 0..20 {
        let mut stream = connect(ENTRANCE).unwrap();
        stream.set_read_timeout(Some(seconds(5))).unwrap();
        let mut banner = [0; 11];
        stream.read_exact(&mut banner).unwrap();
        assert_eq!(&banner, b"220 ready\r\n");
    }
}

#[test]
fn the_client_may_close_its_half_first() {
    let world = World::new();
    let (_agent, _server) = served(&world, |mut stream| {
        let (mark, end) = drain(&stream);
        assert_eq!(end, End::Closed);
        sleep(Duration::from_millis(200));
        stream.write_all(format!("{} bytes", mark.length).as_bytes())
    });
    let mut stream = connect(ENTRANCE).unwrap();
    stream.write_all(&[7; 12_345]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "12345 bytes");
}

#[test]
fn the_server_may_close_its_half_first() {
    let world = World::new();
    let (sender, seen) = channel();
    let (_agent, _server) = served(&world, move |mut stream| {
        stream.write_all(b"that is all from me")?;
        stream.shutdown(Shutdown::Write)?;
        sender.send(drain(&stream)).map_err(io::Error::other)
    });
    let mut stream = connect(ENTRANCE).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "that is all from me");
    sleep(Duration::from_millis(200));
    send(&stream, 5, 200_000).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(seen.recv_timeout(seconds(10)).unwrap(), (Mark::of(5, 200_000), End::Closed));
}

#[test]
fn a_reset_by_the_server_reaches_the_client() {
    let world = World::new();
    let (_agent, _server) = served(&world, |mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if byte == *b"h" {
            stream.shutdown(Shutdown::Write)?;
            sleep(Duration::from_millis(100));
        }
        reset(stream);
        Ok(())
    });
    let stream = connect(ENTRANCE).unwrap();
    (&stream).write_all(b"x").unwrap();
    assert_eq!(drain(&stream), (Mark::default(), End::Reset));

    // After its FIN too.
    let stream = connect(ENTRANCE).unwrap();
    (&stream).write_all(b"h").unwrap();
    assert_eq!(drain(&stream), (Mark::default(), End::Closed));
    let begin = Instant::now();
    while (&stream).write_all(b"more").is_ok() {
        assert!(begin.elapsed() < seconds(5), "a connection that the server reset is still open");
        sleep(Duration::from_millis(20));
    }
}

fn ends(world: &World) -> (Agent<'_>, Server, Receiver<(Mark, End)>) {
    let (sender, seen) = channel();
    let (agent, server) = served(world, move |mut stream| {
        stream.write_all(b"!")?;
        sender.send(drain(&stream)).map_err(io::Error::other)
    });
    (agent, server, seen)
}

#[test]
fn a_reset_by_the_client_reaches_the_server() {
    let world = World::new();
    let (_agent, _server, seen) = ends(&world);
    let mut byte = [0];
    for _ in 0..10 {
        let mut stream = connect(ENTRANCE).unwrap();
        stream.read_exact(&mut byte).unwrap();
        reset(stream);
        assert_eq!(seen.recv_timeout(seconds(10)).unwrap().1, End::Reset);
    }
    let mut stream = connect(ENTRANCE).unwrap();
    stream.read_exact(&mut byte).unwrap();
    drop(stream);
    assert_eq!(seen.recv_timeout(seconds(10)).unwrap().1, End::Closed, "a FIN became a reset");
}

#[test]
fn a_closed_connection_is_counted_down() {
    let world = World::new();
    let (agent, _server, seen) = ends(&world);
    let mut streams: Vec<TcpStream> = (0..5).map(|_| connect(ENTRANCE).unwrap()).collect();
    // A client that resets its connection before the endpoint has it is never seen there.
    for stream in &mut streams {
        stream.read_exact(&mut [0]).unwrap();
    }
    let active = || agent.destination("default/tcp-echo", "v1").active;
    tcpshift_tests::until::until_so("five are active", seconds(5), || active() == 5);
    for stream in streams {
        reset(stream);
        seen.recv_timeout(seconds(10)).unwrap();
    }
    tcpshift_tests::until::until_so("none is active", seconds(5), || active() == 0);
}

/// How much is sent to one who does not read.
const BULK: u64 = 16_000_000;

#[test]
fn a_client_that_reads_slowly_costs_little_memory_and_gets_all() {
    let world = World::new();
    let (agent, _server) = served(&world, |stream| {
        send(&stream, 11, BULK)?;
        stream.shutdown(Shutdown::Write)?;
        drain(&stream);
        Ok(())
    });
    let streams: Vec<TcpStream> = (0..12).map(|_| connect(ENTRANCE).unwrap()).collect();
    sleep(Duration::from_millis(1_500));
    assert!(agent.megabytes() < 100, "{} MB for 12 clients that do not read", agent.megabytes());
    let expected = (Mark::of(11, BULK), End::Closed);
    for stream in &streams[..4] {
        assert_eq!(drain(stream), expected);
    }
}

#[test]
fn a_server_that_reads_slowly_holds_its_client_back() {
    let world = World::new();
    let (sender, seen) = channel();
    let (agent, _server) = served(&world, move |stream| {
        sleep(Duration::from_millis(1_500));
        sender.send(drain(&stream)).map_err(io::Error::other)
    });
    let stream = connect(ENTRANCE).unwrap();
    scope(|scope| {
        let writer = scope.spawn(|| send(&stream, 12, 4 * BULK));
        sleep(Duration::from_secs(1));
        assert!(!writer.is_finished(), "64 MB went to a server that does not read");
        assert!(agent.megabytes() < 100, "{} MB for one slow server", agent.megabytes());
        writer.join().unwrap().unwrap();
    });
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(seen.recv_timeout(seconds(20)).unwrap(), (Mark::of(12, 4 * BULK), End::Closed));
}
