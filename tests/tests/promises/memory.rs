//! Memory: the buffers of connections are bounded, also when peers do not read.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::scope;
use std::time::{Duration, Instant};

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, connect};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::server::listen;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// What all connections may hold, in MiB: a connection has 16 KiB, so 1,024 at most.
const MOST: u64 = 16;

fn served(world: &World) -> Agent<'_> {
    let agent = Agent::start(world, &["--datapath", "proxy", "--max-memory", &format!("{MOST}M")]);
    agent.apply(base() + route(&[("v1", 1)]));
    agent
}

/// A server that hands out its connections and does not read from them.
fn not_reading() -> Receiver<TcpStream> {
    let listener = listen("127.0.0.1:9000".parse().unwrap(), 4096);
    let (sender, accepted) = channel();
    std::thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| sender.send(stream)));
    accepted
}

/// Writes to all streams until none has accepted a byte for a while. Returns how many bytes each accepted.
fn pour(streams: &[TcpStream]) -> Vec<usize> {
    let (mut taken, piece) = (vec![0; streams.len()], vec![7; 256 << 10]);
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(500) {
        for (taken, mut stream) in taken.iter_mut().zip(streams) {
            stream.set_nonblocking(true).unwrap();
            if let Ok(count) = stream.write(&piece) {
                (*taken, last) = (*taken + count, Instant::now());
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    taken
}

#[test]
fn many_that_pour_at_a_server_that_does_not_read_hold_no_more_than_the_bound_and_go_on_once_it_reads() {
    let world = World::new();
    let accepted = not_reading();
    let agent = served(&world);
    let before = agent.megabytes();
    let clients: Vec<_> = (0..400).map(|_| connect(ENTRANCE).unwrap()).collect();
    let servers: Vec<_> = clients.iter().map(|_| accepted.recv_timeout(seconds(10)).unwrap()).collect();
    let taken = pour(&clients);
    // Without a bound 400 buffers of 256 KiB are 100 MiB.
    let held = agent.most_megabytes().saturating_sub(before);
    assert!(held <= MOST + 16, "{held} MiB beyond {before} for connections that may hold {MOST}");
    for (client, taken) in clients.iter().zip(&taken) {
        assert!(*taken > 0, "a connection got no turn");
        client.shutdown(Shutdown::Write).unwrap();
    }
    // All streams are read by turns: the agent may need the buffers of one for the others.
    let got: u64 = scope(|scope| {
        let read = |mut stream: &TcpStream| std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        let readers: Vec<_> = servers.iter().map(|stream| scope.spawn(move || read(stream))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert_eq!(got, taken.iter().map(|count| *count as u64).sum::<u64>(), "bytes are lost");
}

#[test]
fn connections_beyond_the_bound_are_refused_counted_and_said_once() {
    let world = World::new();
    let accepted = not_reading();
    let agent = served(&world);
    let mut clients: Vec<_> = (0..1_100).map(|_| connect(ENTRANCE).unwrap()).collect();
    let refused = || {
        let trouble = agent.status().trouble;
        trouble.iter().find(|one| one.reason.contains("memory")).map_or(0, |one| one.count)
    };
    until_so("those beyond the bound are refused", seconds(10), || refused() == 1_100 - MOST * 64);
    assert_eq!(agent.log().matches("--max-memory").count(), 1, "{}", agent.log());
    // Those that were let in are served.
    let servers: Vec<_> = (0..MOST * 64).map(|_| accepted.recv_timeout(seconds(10)).unwrap()).collect();
    for mut server in &servers {
        server.write_all(b"!").unwrap();
    }
    let served = clients.iter_mut().filter_map(|client| client.read_exact(&mut [0]).ok()).count();
    assert_eq!(served, servers.len());
    // The memory is free again for new connections.
    clients.clear();
    drop(servers);
    until_so("connections are let in again", seconds(10), || {
        let before = refused();
        connect(ENTRANCE).is_ok() && refused() == before
    });
}
