//! A version that takes no connections: the endpoints of it that do get them, its share is exact again when it is back, and no
//! client can make it look so.

use std::net::{SocketAddr, TcpListener};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::crowd::Location;
use tcpshift_tests::process::run;
use tcpshift_tests::server::Server;
use tcpshift_tests::share::assert_share;
use tcpshift_tests::steer::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, ONE, SERVICE, TWO, await_datapath, base, inside, own_addresses, route, start,
    version,
};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// The second endpoint of the second version.
const OTHER: (&str, &str, u16) = ("v2", "127.0.0.2", 9002);

fn server((subset, address, port): (&str, &str, u16)) -> Server {
    version(&format!("{address}:{port}"), subset)
}

/// Where clients are, what they connect to, and by which route and datapath.
fn ways(world: &World) -> [(Location<'_>, &'static str, &'static str, &'static str); 2] {
    [(inside(world), SERVICE, MESH_ROUTE, "connect"), (Location::Here, ENTRANCE, GATEWAY_ROUTE, "proxy")]
}

/// An agent with half of all connections for each version, by `connect` and by `proxy`.
fn halves<'a>(world: &'a World, endpoints: &[(&str, &str, u16)], on_empty: &str) -> Agent<'a> {
    own_addresses();
    let agent = start(world, &[]);
    let entrance = route(GATEWAY_ROUTE, [50, 50]).annotation("tcpshift.io/datapath", "proxy");
    let routes = [entrance, route(MESH_ROUTE, [50, 50])];
    let [entrance, mesh] = routes.map(|route| route.annotation("tcpshift.io/on-empty", on_empty));
    agent.apply(base(endpoints) + entrance + mesh);
    agent
}

fn ready(agent: &Agent<'_>, route: &str) -> Option<u32> {
    agent.destination(route, "v2").ready
}

/// Connects until an endpoint is ejected. Returns how many connections failed.
#[track_caller]
fn fails_until(agent: &Agent<'_>, route: &str, left: u32, ask: &dyn Fn() -> usize) -> usize {
    let mut failed = 0;
    until_so("it is ejected", seconds(20), || {
        failed += ask();
        ready(agent, route) == Some(left)
    });
    failed
}

fn unanswered(location: Location<'_>, address: &str, count: usize) -> usize {
    location
        .tally(address, count)
        .iter()
        .filter(|(name, _)| !["v1", "v2"].contains(&name.as_str()))
        .map(|(_, n)| n)
        .sum()
}

#[test]
fn an_endpoint_that_takes_no_connections_is_ejected_and_comes_back() {
    for number in 0..2 {
        let world = World::new();
        let _servers = [server(ONE), server(TWO)];
        let agent = halves(&world, &[ONE, TWO, OTHER], "refuse");
        let (location, address, route, datapath) = ways(&world)[number];
        await_datapath(&agent, route, datapath);
        assert_eq!(ready(&agent, route), Some(2), "nobody has failed yet");
        let failed = fails_until(&agent, route, 1, &|| unanswered(location, address, 10));
        if datapath == "proxy" {
            assert_eq!(failed, 0, "another endpoint is tried");
        }
        assert_eq!(unanswered(location, address, 200), 0, "{datapath}: nobody is sent there");
        let gone = agent.destination(route, "v2").by_endpoint.into_iter().find(|one| one.address == "127.0.0.2:9002");
        assert_eq!(gone.unwrap().unready.as_deref(), Some("ejected (connection refused)"), "{datapath}");
        let log = agent.log();
        assert!(
            log.contains("endpoint 127.0.0.2:9002 of echo.example.com:9000/v2 (1 of 2 endpoints are used) is ejected"),
            "{log}"
        );

        let back = server(OTHER);
        until_so("it is used again", seconds(3), || ready(&agent, route) == Some(2));
        let tally = location.tally(address, 400);
        assert_share("version two", tally["v2"], 400, 0.5);
        assert!(back.accepted() > 1, "{datapath}: it has connections, beside the agent's own");
        assert!(agent.log().contains("takes connections again, after"), "{}", agent.log());
    }
}

/// A server that lets nobody in: its queue is full, and the kernel answers no SYN.
fn silent(address: &str) -> (TcpListener, Vec<Socket>) {
    let new = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let (listener, address) = (new(), address.parse::<SocketAddr>().unwrap().into());
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let waiting = [(); 3].map(|()| {
        let client = new();
        client.set_nonblocking(true).unwrap();
        // Whether it is in the queue or not.
        drop(client.connect(&address));
        client
    });
    (listener.into(), waiting.into())
}

#[test]
fn a_silent_endpoint_costs_no_client_its_connection() {
    let world = World::new();
    let (_servers, _silent) = ([server(ONE), server(TWO)], silent("127.0.0.2:9002"));
    own_addresses();
    let agent = start(&world, &[]);
    let pool = json!({"connectionPool": {"tcp": {"connectTimeout": "1s"}}});
    let objects = base(&[ONE, TWO, OTHER]).set("DestinationRule/echo", "spec.trafficPolicy", pool);
    agent.apply(objects + route(GATEWAY_ROUTE, [50, 50]).annotation("tcpshift.io/datapath", "proxy"));
    let failed = fails_until(&agent, GATEWAY_ROUTE, 1, &|| unanswered(Location::Here, ENTRANCE, 5));
    assert_eq!(failed, 0, "another endpoint is tried within the time that is left");
    let began = std::time::Instant::now();
    assert_eq!(unanswered(Location::Here, ENTRANCE, 100), 0);
    assert!(began.elapsed() < seconds(5), "nobody waits for it: {:?}", began.elapsed());
}

#[test]
fn the_share_of_a_version_that_is_gone_goes_to_the_other_and_comes_back_as_it_was() {
    for number in 0..2 {
        let world = World::new();
        let _one = server(ONE);
        let agent = halves(&world, &[ONE, TWO], "redistribute");
        let (location, address, route, datapath) = ways(&world)[number];
        await_datapath(&agent, route, datapath);
        let failed = fails_until(&agent, route, 0, &|| unanswered(location, address, 10));
        assert!(failed >= 3, "{datapath}: {failed} failed, and three raise suspicion");
        let all = location.tally(address, 100);
        assert_eq!(all.get("v1"), Some(&100), "{datapath}: {all:?}");
        await_datapath(&agent, route, datapath);

        let _two = server(TWO);
        until_so("it is used again", seconds(3), || ready(&agent, route) == Some(1));
        let tally = location.tally(address, 400);
        assert_share("version two", tally["v2"], 400, 0.5);
    }
}

#[test]
fn a_version_at_which_nobody_listens_is_left_at_once_where_connections_are_handed_over() {
    let world = World::new();
    let (_one, two) = (server(ONE), server(TWO));
    let agent = start(&world, &[]);
    let entrance = route(GATEWAY_ROUTE, [50, 50]).annotation("tcpshift.io/on-empty", "redistribute");
    agent.apply(base(&[ONE, TWO]) + entrance);
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let slots = || agent.destination(GATEWAY_ROUTE, "v2").slots;
    assert_eq!(slots(), 5_000);
    drop(two);
    until_so("the other version has its share", seconds(3), || slots() == 0);
    let tally = Location::Here.tally(ENTRANCE, 100);
    assert_eq!(tally.get("v1"), Some(&100), "{tally:?}");
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let log = agent.log();
    assert!(log.contains("is ejected: nobody listens there, and the agent's own failed (connection refused)"), "{log}");

    let _two = server(TWO);
    until_so("it has its share again", seconds(3), || slots() == 5_000);
    assert_share("version two", Location::Here.tally(ENTRANCE, 400)["v2"], 400, 0.5);
}

#[test]
fn another_rule_holds_as_soon_as_it_is_applied() {
    let world = World::new();
    let _servers = [server(ONE), server(TWO)];
    let agent = halves(&world, &[ONE, TWO, OTHER], "refuse");
    let (location, address, route, _) = ways(&world)[1];
    let with = |failures: u32| {
        let rule = json!({"outlierDetection": {"consecutive5xxErrors": failures}});
        base(&[ONE, TWO, OTHER]).set("DestinationRule/echo", "spec.trafficPolicy", rule)
    };
    std::thread::sleep(seconds(1));
    agent.apply(with(0));
    assert_eq!(unanswered(location, address, 100), 0);
    std::thread::sleep(seconds(2));
    assert_eq!(ready(&agent, route), Some(2), "nobody is ejected");
    agent.apply(with(1));
    fails_until(&agent, route, 1, &|| unanswered(location, address, 10));
}

#[test]
fn the_last_version_with_endpoints_is_not_ejected() {
    let world = World::new();
    let agent = halves(&world, &[ONE, TWO], "redistribute");
    for (_, _, route, datapath) in ways(&world) {
        await_datapath(&agent, route, datapath);
    }
    let is_left =
        || ["v1", "v2"].iter().filter(|subset| agent.destination(MESH_ROUTE, subset).ready == Some(0)).count();
    until_so("one of both is ejected", seconds(20), || {
        for (location, address, ..) in ways(&world) {
            unanswered(location, address, 20);
        }
        is_left() == 1
    });
    for (location, address, ..) in ways(&world) {
        unanswered(location, address, 60);
    }
    assert_eq!(is_left(), 1, "{:#?}", agent.status());
}

#[test]
fn no_client_can_have_an_endpoint_ejected() {
    let world = World::new();
    let _servers = [server(ONE), server(TWO)];
    let agent = halves(&world, &[ONE, TWO], "refuse");
    await_datapath(&agent, MESH_ROUTE, "connect");
    let (host, port) = SERVICE.split_once(':').unwrap();
    let mut python = inside(&world).command("python3");
    python.args(["-c", ABORT, host, port]);
    run(python, b"", seconds(60)).expect(0);
    std::thread::sleep(seconds(2));
    for subset in ["v1", "v2"] {
        assert_eq!(agent.destination(MESH_ROUTE, subset).ready, Some(1), "{:#?}", agent.status());
    }
    assert!(!agent.log().contains("ejected"), "{}", agent.log());
    assert_eq!(unanswered(inside(&world), SERVICE, 50), 0);
}

/// Bad binds, of which connect(2) fails once programs have decided: as no packet leaves from an address, or the same connection is
/// open already. And connections that are reset at once.
const ABORT: &str = "
import socket, struct, sys
IP_FREEBIND = 15
service = (sys.argv[1], int(sys.argv[2]))
def client(address):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
    client.bind(address)
    return client
first = client(('127.0.0.1', 0))
first.connect(service)
for number in range(200):
    for address in ('192.0.2.9', 0), first.getsockname(), ('127.0.0.1', 0):
        other = client(address)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        try:
            other.connect(service)
        except OSError:
            pass
        other.close()
";
