//! The walk-through at a gateway whose endpoints are on this host: each connection is handed to a version's own socket.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ask, connect, tally};
use tcpshift_tests::crowd::Location;
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::maps::dump;
use tcpshift_tests::neighbour::Neighbour;
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, ENTRANCE6, GATEWAY_ROUTE, ONE, TWO, assert_split, await_counted, await_datapath, base, datapath, route,
    start, version, versions,
};

/// A server that answers a line with the address that it sees of its client, instead of its name.
fn sees(address: &str) -> Server {
    Server::each(address, |stream| {
        let client = stream.peer_addr()?.ip().to_canonical();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        (&stream).write_all(format!("{client} {line}").as_bytes())
    })
}

fn steered(world: &World, weights: [u32; 2]) -> Agent<'_> {
    let agent = start(world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, weights));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    agent
}

fn only(name: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(name.to_owned(), count)])
}

#[test]
fn the_whole_task_for_neighbours_and_for_clients_of_this_host() {
    let world = World::new();
    // Of both families: a socket of IPv4 takes no connection of IPv6.
    let _versions = [version("[::]:9001", "one"), version("[::]:9002", "two")];
    let neighbour = Neighbour::new(&world);
    let agent = steered(&world, [100, 0]);
    let ways = [
        (Location::Here, ENTRANCE),
        (Location::Here, ENTRANCE6),
        (neighbour.location(), "10.98.0.1:31400"),
        (neighbour.location(), "[fd98::1]:31400"),
    ];
    for (location, address) in ways {
        assert_eq!(location.tally(address, 200), only("one", 200), "{address}");
    }
    agent.apply(route(GATEWAY_ROUTE, [80, 20]));
    for (location, address) in ways {
        assert_split(&location.tally(address, 1_000), 0.2);
    }
    agent.apply(route(GATEWAY_ROUTE, [0, 100]));
    for (location, address) in ways {
        assert_eq!(location.tally(address, 200), only("two", 200), "{address}");
    }
    agent.apply(route(GATEWAY_ROUTE, [100, 0]));
    assert_eq!(tally(ENTRANCE, 200), only("one", 200));
    assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "lookup");
    // The agent has carried the connections of IPv6 alone: 1,400 for each of two locations. The program that hands packets over
    // does not know whether a socket at `[::]` accepts IPv4.
    let assignment = agent.status().assignment;
    assert_eq!((assignment.kernel, assignment.agent), (2_800, 0), "{assignment:?}");
}

#[test]
fn the_server_sees_its_client() {
    let world = World::new();
    let neighbour = Neighbour::new(&world);
    let _servers = [sees("[::]:9001"), sees("[::]:9002")];
    let agent = steered(&world, [50, 50]);
    for (location, address, client) in
        [(neighbour.location(), "10.98.0.1:31400", "10.98.0.2"), (Location::Here, ENTRANCE, "127.0.0.1")]
    {
        let tally = location.tally(address, 60);
        assert_eq!(tally, only(client, 60), "{address}");
    }
    agent.apply(base(&[("v1", "::1", 9001), ("v2", "::1", 9002)]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    for (location, address, client) in
        [(neighbour.location(), "[fd98::1]:31400", "fd98::2"), (Location::Here, ENTRANCE6, "::1")]
    {
        let tally = location.tally(address, 60);
        assert_eq!(tally, only(client, 60), "{address}");
    }
}

/// A listening socket that others may share the port with.
pub(super) fn sharing(address: &str) -> Socket {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(1024).unwrap();
    socket
}

/// Answers as v1 at a listening socket, until it is shut down.
pub(super) fn answer(listener: &Socket) {
    let listener = std::net::TcpListener::from(listener.try_clone().unwrap());
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(format!("one {line}").as_bytes()).unwrap();
        }
    });
}

#[test]
fn a_server_may_be_replaced_socket_by_socket_with_no_agent() {
    let world = World::new();
    let _two = version("127.0.0.1:9002", "two");
    let old: Vec<Socket> = (0..6).map(|_| sharing("127.0.0.1:9001")).collect();
    old.iter().for_each(answer);
    let mut agent = steered(&world, [50, 50]);
    agent.process().kill();
    // The new server listens before the old one closes, as at a reload without a gap.
    let new: Vec<Socket> = (0..6).map(|_| sharing("127.0.0.1:9001")).collect();
    new.iter().for_each(answer);
    for socket in old {
        socket.shutdown(std::net::Shutdown::Both).ok();
    }
    assert_split(&tally(ENTRANCE, 300), 0.5);
}

#[test]
fn a_socket_of_somebody_else_at_the_same_port_gets_nothing() {
    let world = World::new();
    let somebody = version("0.0.0.0:9001", "somebody");
    let servers = ["[::1]:9001", "[::1]:9002"].map(|address| {
        let name = if address.ends_with('1') { "one" } else { "two" };
        version(address, name)
    });
    let agent = start(&world, &[]);
    agent.apply(base(&[("v1", "::1", 9001), ("v2", "::1", 9002)]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_split(&tally(ENTRANCE6, 200), 0.5);
    assert!(!tally(ENTRANCE, 100).contains_key("somebody"));
    drop((somebody, servers));
}

#[test]
fn sockets_of_others_beside_endpoints_take_no_room() {
    let world = World::new();
    let _versions = versions();
    let agent = steered(&world, [50, 50]);
    let before = dump(&world, "listening").len();
    let listen = |number: u8| std::net::TcpListener::bind(SocketAddr::from(([127, 0, 1, number], 9001))).unwrap();
    let _others: Vec<_> = (1..=100).map(listen).collect();
    assert_eq!(dump(&world, "listening").len(), before, "put there when they began to listen");
    // A new endpoint makes the agent look for sockets that listen already.
    agent.apply(base(&[ONE, TWO, ("v2", "127.0.0.1", 9003)]));
    assert_eq!(dump(&world, "listening").len(), before, "put there by the agent");
    // One of them becomes an endpoint, and then is none again.
    agent.apply(base(&[ONE, TWO, ("v2", "127.0.1.1", 9001)]));
    assert!(dump(&world, "listening").len() > before);
    let _seven = listen(107);
    agent.apply(base(&[ONE, TWO]));
    let left = dump(&world, "listening").len();
    let _eight = listen(108);
    assert_eq!(dump(&world, "listening").len(), left);
    assert_split(&tally(ENTRANCE, 200), 0.5);
}

#[test]
fn several_sockets_share_an_endpoint_and_may_be_closed_one_by_one() {
    let world = World::new();
    let _two = version("127.0.0.1:9002", "two");
    let mut sockets: Vec<Socket> = (0..4).map(|_| sharing("127.0.0.1:9001")).collect();
    sockets.iter().for_each(answer);
    let agent = steered(&world, [50, 50]);
    assert_split(&tally(ENTRANCE, 600), 0.5);
    // Two more come while the agent is there, and others go: of one that is shut down the kernel takes no connection.
    sockets.extend((0..2).map(|_| sharing("127.0.0.1:9001")));
    sockets[4..].iter().for_each(answer);
    for socket in sockets.drain(..5) {
        socket.shutdown(std::net::Shutdown::Both).ok();
        assert_split(&tally(ENTRANCE, 200), 0.5);
    }
    assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "lookup");
}

#[test]
fn a_dead_endpoint_of_a_version_takes_no_connection() {
    let world = World::new();
    let _one = version("127.0.0.1:9001", "one");
    let _two = tcp_echo(&world, "9002", "two", "127.0.0.1");
    let mut other = tcp_echo(&world, "9003", "three", "127.0.0.1");
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO, ("v2", "127.0.0.1", 9003)]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let before = tally(ENTRANCE, 600);
    assert!(before["two"] > 0 && before["three"] > 0, "{before:?}");
    assert_eq!(before.values().sum::<usize>(), before["one"] + before["two"] + before["three"], "{before:?}");
    other.kill();
    let after = tally(ENTRANCE, 600);
    assert_split(&after, 0.5);
    let _again = tcp_echo(&world, "9003", "three", "127.0.0.1");
    until_so("it is back", Duration::from_millis(1_500), || ask(ENTRANCE).is_ok_and(|who| who == "three"));
}

#[test]
fn a_version_that_is_gone_refuses_its_share_and_is_back_within_a_second() {
    let world = World::new();
    let _one = version("127.0.0.1:9001", "one");
    let mut two = tcp_echo(&world, "9002", "two", "127.0.0.1");
    let agent = steered(&world, [70, 30]);
    for round in 0..3 {
        two.kill();
        let tally = tally(ENTRANCE, 400);
        let refused = tally.get("ConnectionRefused").copied().unwrap_or_default();
        assert_eq!(tally["one"] + refused, 400, "round {round}: {tally:?}");
        tcpshift_tests::share::assert_share("refused", refused, 400, 0.3);
        assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "lookup");
        two = tcp_echo(&world, "9002", "two", "127.0.0.1");
        let began = Instant::now();
        until_so("it is back", Duration::from_millis(1_500), || ask(ENTRANCE).is_ok_and(|who| who == "two"));
        assert_split(&super::lookup::tally(ENTRANCE, 300), 0.3);
        assert!(began.elapsed() < seconds(20));
    }
}

#[test]
fn servers_may_begin_before_and_after_the_agent() {
    let world = World::new();
    let _one = version("127.0.0.1:9001", "one");
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
    let (before, reason) = datapath(&agent, GATEWAY_ROUTE);
    assert_eq!(before, "proxy");
    assert!(reason.contains("127.0.0.1:9002"), "{reason}");
    let _two = version("127.0.0.1:9002", "two");
    let began = Instant::now();
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    assert_split(&tally(ENTRANCE, 400), 0.5);
}

#[test]
fn servers_may_listen_at_one_address_or_at_all() {
    for (first, second) in
        [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "[::]"), ("[::]", "0.0.0.0")]
    {
        std::thread::spawn(move || {
            let world = World::new();
            let _one = version(&format!("{first}:9001"), "one");
            let agent = start(&world, &[]);
            agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
            let _two = version(&format!("{second}:9002"), "two");
            await_datapath(&agent, GATEWAY_ROUTE, "lookup");
            assert_split(&tally(ENTRANCE, 300), 0.5);
            // A socket of IPv4 takes no connection of IPv6: these are carried.
            assert_split(&tally(ENTRANCE6, 300), 0.5);
        })
        .join()
        .unwrap();
    }
}

#[test]
fn what_is_opened_and_what_is_open_is_counted() {
    let world = World::new();
    let _versions = versions();
    let agent = steered(&world, [50, 50]);
    let held: Vec<_> = (0..40).map(|_| connect(ENTRANCE).unwrap()).collect();
    await_counted(&agent, GATEWAY_ROUTE, 40, 40);
    drop(held);
    await_counted(&agent, GATEWAY_ROUTE, 40, 0);
}

#[test]
fn endpoints_that_listen_are_found_before_the_route_is_in_force() {
    let world = World::new();
    let _versions = versions();
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
    assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "lookup");
    assert_split(&tally(ENTRANCE, 100), 0.5);
    assert_eq!(agent.status().assignment.kernel, 0, "the agent carried some");
}
