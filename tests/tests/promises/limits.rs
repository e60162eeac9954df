//! `maxConnections` limits a host's subset and port across all rules, ports and plans that lead there.

use std::net::{IpAddr, Ipv4Addr, TcpStream};

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{connect_from, converse};
use tcpshift_tests::objects::{
    Object, Objects, VirtualService, destination_rule, endpoint, gateway, rule, service_entry, virtual_service,
};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// Two ports, and a service that takes three connections.
fn base() -> Objects {
    gateway("doors").port(31_400).port(31_401)
        + service_entry("db").port("tcp", 5432).endpoint(endpoint("127.0.0.1").port("tcp", 9000))
        + destination_rule("db", "db.example.com").set("spec.trafficPolicy.connectionPool.tcp.maxConnections", 3)
}

/// Three ways to the service: the first is for some clients of one port.
fn route(port: u16, clients: &str) -> Object<VirtualService> {
    let to_db = || rule().to("db.example.com", 1);
    let route = virtual_service("db").at("doors").rule(to_db().when("port", port).when("sourceSubnet", clients));
    route.rule(to_db().when("port", 31_400)).rule(to_db().when("port", 31_401))
}

/// Clients, and the port that each asks.
const WAYS: [([u8; 4], &str); 3] =
    [([127, 0, 0, 2], "127.0.0.1:31400"), ([127, 0, 0, 3], "127.0.0.1:31400"), ([127, 0, 0, 1], "127.0.0.1:31401")];

/// A connection by one of the ways; none if it is not served.
fn served(way: usize) -> Option<TcpStream> {
    let (source, address) = WAYS[way];
    let stream = connect_from(IpAddr::V4(Ipv4Addr::from(source)), address).ok()?;
    (converse(&stream, "hello").ok()? == "db").then_some(stream)
}

/// Connects by each way, twice, and keeps the connections that are served.
fn more() -> Vec<TcpStream> {
    [0, 1, 2, 0, 1, 2].into_iter().filter_map(served).collect()
}

fn start(world: &World) -> (Server, Agent<'_>) {
    let server = Server::named("127.0.0.1:9000", "db");
    let agent = Agent::start::<&str>(world, &[]);
    agent.apply(base() + route(31_400, "127.0.0.2/32"));
    (server, agent)
}

/// The number of connections in use, as every route of the status shows it.
#[track_caller]
fn carried(agent: &Agent<'_>) -> u64 {
    let status = agent.status();
    let routes = status.listeners.iter().flat_map(|listener| &listener.routes);
    let limits: Vec<_> = routes.flat_map(|route| &route.destinations).map(|one| one.limit.unwrap()).collect();
    assert!(limits.iter().all(|limit| *limit == limits[0] && limit.most == 3), "{limits:?}");
    limits[0].carried
}

#[test]
fn all_rules_and_ports_share_the_limit_of_the_host() {
    let world = World::new();
    let (_server, agent) = start(&world);
    let mut held = more();
    assert_eq!((held.len(), carried(&agent)), (3, 3), "one by each way");
    assert!(agent.cli(&["status"]).expect(0).stdout.contains("3 of maxConnections 3 in use"));
    // A connection that ends makes room for one by any way.
    for way in [2, 0, 1] {
        held.pop();
        until_so("one has gone", seconds(5), || carried(&agent) == 2);
        held.insert(0, served(way).expect("there is room for one"));
        assert!(more().is_empty());
    }
}

#[test]
fn the_limit_holds_while_routes_come_and_go() {
    let world = World::new();
    let (_server, agent) = start(&world);
    let mut held = more();
    agent.apply(route(31_401, "127.0.0.9/32"));
    assert!(more().is_empty(), "a rule is another");
    agent.cli(&["delete", "vs", "db"]).expect(0);
    agent.cli(&["delete", "dr", "db"]).expect(0);
    held.pop();
    agent.apply(base() + route(31_400, "127.0.0.2/32"));
    until_so("one has gone", seconds(5), || carried(&agent) == 2);
    held.extend(more());
    assert_eq!(held.len(), 3, "of those before, two are open");
    drop(held);
    until_so("none is left", seconds(5), || carried(&agent) == 0);
    assert_eq!(more().len(), 3);
}
