//! Unusual packets at a gateway whose connections are handed over: stray packets, floods of SYNs, and handshakes by SYN
//! cookies, of which the kernel keeps no state.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tcpshift_common::layout::SHARERS;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ask, connect, converse, tally};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::maps::dump;
use tcpshift_tests::process::{Process, command, run};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, GATEWAY_ROUTE, ONE, TWO, assert_split, await_counted, await_datapath, base, datapath, ip, route, start,
    version, versions,
};

/// Sends packets to the gateway, each from another port: `-A` with ACK set, and so on.
#[track_caller]
fn send(flags: &str, count: u32) {
    let mut hping = command("hping3");
    hping.args(["-q", "-c", &count.to_string(), "-i", "u20", "-p", "31400"]).args(flags.split(' ')).arg("127.0.0.1");
    // hping3 exits with 1 if there was no answer, and a RST has none.
    run(hping, b"", seconds(60));
}

/// Of both versions: opened, open, and failed.
fn counted(agent: &Agent<'_>) -> [u64; 3] {
    let to = ["v1", "v2"].map(|subset| agent.destination(GATEWAY_ROUTE, subset));
    [to[0].opened + to[1].opened, to[0].active + to[1].active, to[0].failed + to[1].failed]
}

/// Sets `tcp_syncookies`: 2 answers every SYN by a cookie, 1 does so when too many wait.
fn answer_by_cookies(how: &str) {
    fs::write("/proc/sys/net/ipv4/tcp_syncookies", how).unwrap();
}

/// A count of the kernel's in this world.
fn cookies(name: &str) -> u64 {
    let netstat = fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap().split(' '), lines.next().unwrap().split(' '));
    let (_, value) = names.zip(values).find(|(found, _)| *found == name).unwrap();
    value.parse().unwrap()
}

#[test]
fn packets_that_ask_for_no_connection_leave_nothing_behind() {
    let world = World::new();
    let _one = version("127.0.0.1:9001", "one");
    let mut two = tcp_echo(&world, "9002", "two", "127.0.0.1");
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    two.kill();
    // ACK, FIN and ACK, RST, SYN and ACK, SYN and FIN, no flag.
    for flags in ["-A", "-F -A", "-R", "-S -A", "-S -F", "--tcp-mss 1400"] {
        send(flags, 300);
        assert_eq!(counted(&agent), [0, 0, 0], "{flags}");
    }
    for map in ["flows", "unheld"] {
        assert_eq!(dump(&world, map), Vec::<serde_json::Value>::new(), "{map}");
    }
    let seen = tally(ENTRANCE, 100);
    let refused = seen["ConnectionRefused"];
    assert_eq!(seen["one"] + refused, 100, "{seen:?}");
    await_counted(&agent, GATEWAY_ROUTE, 100, 0);
    assert_eq!(counted(&agent), [100, 0, refused as u64]);
    assert_eq!(dump(&world, "flows").len(), 0);
}

#[test]
fn packets_that_ask_for_no_connection_take_nobodys_turn() {
    let world = World::new();
    let _servers = [("9001", "one"), ("9002", "two")].map(|(port, name)| version(&format!("127.0.0.1:{port}"), name));
    let agent = start(&world, &[]);
    let endpoints = base(&[("v1", "127.0.0.1", 9001), ("v1", "127.0.0.1", 9002)]);
    let in_turn = endpoints.set("DestinationRule/echo", "spec.trafficPolicy.loadBalancer.simple", "ROUND_ROBIN");
    agent.apply(in_turn + route(GATEWAY_ROUTE, [100, 0]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    // An odd number of packets between two connections: if each took a turn, all connections would reach one endpoint. Each
    // processor may keep a turn for its next connection.
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..40 {
        send("-A", 7);
        *seen.entry(ask(ENTRANCE).unwrap()).or_default() += 1;
    }
    let kept = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    assert!(seen["one"].abs_diff(seen["two"]) <= 2 * kept, "{seen:?}");
}

#[test]
fn a_connection_by_syn_cookie_is_handed_to_one_endpoint_and_counted() {
    let world = World::new();
    let names = [("v1", 9001_u16, "one"), ("v1", 9003, "one"), ("v2", 9002, "two"), ("v2", 9004, "two")];
    let _servers = names.map(|(_, port, name)| version(&format!("127.0.0.1:{port}"), name));
    let agent = start(&world, &[]);
    let endpoints = names.map(|(version, port, _)| (version, "127.0.0.1", port));
    agent.apply(base(&endpoints) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    answer_by_cookies("2");
    let edits = AtomicBool::new(true);
    let seen = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| tally(ENTRANCE, 150))).collect();
        // Loads change all the time, and weights too.
        let (edits, agent) = (&edits, &agent);
        let mut v2 = 0;
        while edits.load(Relaxed) {
            v2 = (v2 + 10) % 100;
            agent.post(route(GATEWAY_ROUTE, [100 - v2, v2]));
            if clients.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                edits.store(false, Relaxed);
            }
        }
        let mut sum = BTreeMap::<String, usize>::new();
        for client in clients {
            client.join().unwrap().into_iter().for_each(|(who, count)| *sum.entry(who).or_default() += count);
        }
        sum
    });
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["one", "two"], "{seen:?}");
    assert_eq!(seen.values().sum::<usize>(), 600);
    await_counted(&agent, GATEWAY_ROUTE, 600, 0);
    assert!(cookies("SyncookiesRecv") >= 600);
    assert_eq!(dump(&world, "flows").len(), 0, "the kernel held no handshake");
    let held: Vec<_> = (0..20).map(|_| connect(ENTRANCE).unwrap()).collect();
    await_counted(&agent, GATEWAY_ROUTE, 620, 20);
    // Each end sends another number of bytes. Where both have sent as many, an acknowledgement that comes after the end answers
    // the cookie as well as the first one did (`check_tcp_syn_cookie` sees the difference of both numbers alone), and the kernel
    // gives the server one more connection.
    for stream in held {
        converse(&stream, "hello").unwrap();
    }
    await_counted(&agent, GATEWAY_ROUTE, 620, 0);
}

#[test]
fn a_flood_of_syns_disturbs_no_connection_and_no_count() {
    let world = World::new();
    let _versions = versions();
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    answer_by_cookies("1");
    // Answers to the flood go to an address without a host.
    ip("link add nowhere type veth peer name nobody");
    ip("addr add 10.97.0.1/16 dev nowhere");
    ip("link set nowhere up");
    ip("link set nobody up");
    ip("neigh add 10.97.7.7 lladdr 02:00:00:00:00:01 dev nowhere");
    let mut flood = command("hping3");
    flood.args(["-q", "-S", "-i", "u10", "-p", "31400", "-a", "10.97.7.7", "10.97.0.1"]);
    let mut flood = Process::start(&world, "flood", flood);
    until_so("SYNs are answered by cookies", seconds(20), || cookies("SyncookiesSent") > 0);
    let seen = tally(ENTRANCE, 400);
    assert_split(&seen, 0.5);
    flood.kill();
    await_counted(&agent, GATEWAY_ROUTE, 400, 0);
    assert_eq!(counted(&agent)[2], 0);
}

#[test]
fn an_endpoint_is_there_as_long_as_any_of_its_many_sockets_is() {
    let world = World::new();
    let _two = version("127.0.0.1:9002", "two");
    let first: Vec<_> = (0..20).map(|_| super::lookup::sharing("127.0.0.1:9001")).collect();
    first.iter().for_each(super::lookup::answer);
    let mut agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    // One cell for each socket of v1, one for v2's, and one for the socket by which the agent refuses.
    assert_eq!(dump(&world, "listening").len(), 22);
    let second: Vec<_> = (0..20).map(|_| super::lookup::sharing("127.0.0.1:9001")).collect();
    second.iter().for_each(super::lookup::answer);
    // The agent looks for listening sockets when a new one listens. A socket that both it and `record` have added loses one
    // cell.
    until_so("the agent has looked", seconds(5), || datapath(&agent, GATEWAY_ROUTE).0 == "lookup");
    until_so("each socket has one cell", seconds(5), || dump(&world, "listening").len() == 42);
    agent.process().kill();
    // Closed in another order than they were opened, without an agent, until one is left.
    let mut sockets: Vec<_> = first.into_iter().zip(second).flat_map(|(one, other)| [one, other]).collect();
    for left in [30, 10, 4, 3, 2, 1] {
        for socket in sockets.drain(left..) {
            socket.shutdown(std::net::Shutdown::Both).ok();
        }
        assert_split(&tally(ENTRANCE, 60), 0.5);
    }
    const { assert!(SHARERS > 40) };
}

#[test]
fn the_one_endpoint_of_many_that_listens_is_found() {
    let world = World::new();
    let _two = version("127.0.0.1:9002", "two");
    let ports = 9100..9140_u16;
    let mut servers: Vec<_> =
        ports.clone().map(|port| tcp_echo(&world, &port.to_string(), "one", "127.0.0.1")).collect();
    let agent = start(&world, &[]);
    let mut endpoints: Vec<_> = ports.map(|port| ("v1", "127.0.0.1", port)).collect();
    endpoints.push(TWO);
    agent.apply(base(&endpoints) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    servers.drain(1..).for_each(|mut server| server.kill());
    assert_split(&tally(ENTRANCE, 200), 0.5);
    assert_eq!(counted(&agent)[2], 0);
}
