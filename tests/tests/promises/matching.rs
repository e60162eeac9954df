//! Which rule a connection falls to: by client, by destination address, by port, the most specific first.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask, ask_from, connect, converse};
use tcpshift_tests::example::{base, route, route_of, rule};
use tcpshift_tests::objects::Rule;
use tcpshift_tests::server::Server;
use tcpshift_tests::world::World;

/// The Gateway of the example.
const GATEWAY: &str = "Gateway/tcp-echo-gateway";

fn client(last: [u8; 3]) -> IpAddr {
    Ipv4Addr::new(127, last[0], last[1], last[2]).into()
}

/// An agent whose route has rules.
fn served(world: &World, rules: impl IntoIterator<Item = Rule>) -> (Agent<'_>, [Server; 2]) {
    let servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(world, &[]);
    agent.apply(base() + route_of(rules));
    (agent, servers)
}

/// A rule that leads to a version.
fn to(subset: &str) -> Rule {
    rule(&[(subset, 1)])
}

#[test]
fn the_longest_source_prefix_wins_whatever_the_order() {
    let world = World::new();
    let (_agent, _servers) = served(
        &world,
        [
            to("v1").when("sourceSubnet", "127.0.0.0/8"),
            to("v2").when("sourceSubnet", "127.5.0.0/16"),
            to("v1").when("sourceSubnet", "127.5.5.5"),
        ],
    );
    assert_eq!(ask_from(client([0, 0, 1]), ENTRANCE).unwrap(), "one");
    assert_eq!(ask_from(client([5, 1, 1]), ENTRANCE).unwrap(), "two");
    assert_eq!(ask_from(client([5, 5, 5]), ENTRANCE).unwrap(), "one");
}

#[test]
fn then_the_longest_destination_prefix_then_the_order() {
    let world = World::new();
    let (_agent, _servers) = served(
        &world,
        [
            to("v1").when("port", 31_400),
            to("v2").when("port", 31_400),
            to("v2").when("destinationSubnets", ["127.9.0.0/16", "127.8.0.0/16"]),
            to("v1").when("destinationSubnets", ["127.9.9.0/24"]),
        ],
    );
    assert_eq!(ask(ENTRANCE).unwrap(), "one", "of two equal rules the first counts");
    assert_eq!(ask("127.9.1.1:31400").unwrap(), "two");
    assert_eq!(ask("127.8.1.1:31400").unwrap(), "two");
    assert_eq!(ask("127.9.9.1:31400").unwrap(), "one");
}

#[test]
fn a_source_prefix_counts_before_a_destination_prefix() {
    let world = World::new();
    let by_destination = to("v1").when("destinationSubnets", ["127.9.9.9/32"]);
    let (_agent, _servers) = served(&world, [by_destination, to("v2").when("sourceSubnet", "127.7.0.0/16")]);
    assert_eq!(ask_from(client([7, 0, 1]), "127.9.9.9:31400").unwrap(), "two");
    assert_eq!(ask_from(client([6, 0, 1]), "127.9.9.9:31400").unwrap(), "one");
}

#[test]
fn ipv6_clients_are_matched_by_ipv6_prefixes() {
    let world = World::new();
    let (_agent, _servers) = served(&world, [to("v2").when("sourceSubnet", "::1/128"), to("v1").when("port", 31_400)]);
    assert_eq!(ask("[::1]:31400").unwrap(), "two");
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
}

#[test]
fn whom_no_rule_fits_is_reset_and_counted() {
    let world = World::new();
    let (agent, _servers) = served(&world, [to("v2").when("sourceSubnet", "127.5.0.0/16")]);
    assert_eq!(ask_from(client([5, 0, 1]), ENTRANCE).unwrap(), "two");
    for _ in 0..3 {
        let error = connect(ENTRANCE).and_then(|stream| converse(&stream, "hello")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    }
    assert_eq!(agent.status().listeners[0].unrouted, 3);
}

#[test]
fn a_gateway_of_other_labels_is_not_served() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one")];
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base().set(GATEWAY, "spec.selector.istio", "elsewhere") + route(&[("v1", 1)]));
    assert!(agent.status().listeners.is_empty());
    drop(agent);
    let agent = Agent::start(&world, &["--label", "istio=elsewhere"]);
    assert_eq!(ask(ENTRANCE).unwrap(), "one", "{:#?}", agent.status());
}

#[test]
fn bind_of_the_server_wins_over_the_listen_address() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one")];
    let agent = Agent::start(&world, &["--listen-address", "127.0.0.3", "--listen-address", "::1"]);
    agent.apply(base() + route(&[("v1", 1)]));
    assert_eq!(ask("127.0.0.3:31400").unwrap(), "one");
    assert_eq!(ask("[::1]:31400").unwrap(), "one");
    assert!(tcpshift_tests::client::refused(ENTRANCE));
    agent.apply(base().set(GATEWAY, "spec.servers[0].bind", "127.0.0.4"));
    assert_eq!(ask("127.0.0.4:31400").unwrap(), "one");
    assert!(tcpshift_tests::client::refused("127.0.0.3:31400"));
}

#[test]
fn the_oldest_route_owns_the_port() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    let aged = |name: &str, subset: &str, time: &str| route(&[(subset, 1)]).named(name).created(time);
    agent.apply(base() + aged("a", "v1", "2024-02-01T00:00:00Z") + aged("b", "v2", "2024-01-01T00:00:00Z"));
    assert_eq!(ask(ENTRANCE).unwrap(), "two");
    agent.cli(&["delete", "vs", "b"]).expect(0);
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
}
