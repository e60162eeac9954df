//! Which rule a connection falls to: by client, by destination address, by port, the most specific first.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{GATEWAY, ask, ask_from, connect, converse};
use tcpshift_tests::routes::{ground, rule, rules, together};
use tcpshift_tests::server::Server;
use tcpshift_tests::world::World;

fn client(last: [u8; 3]) -> IpAddr {
    Ipv4Addr::new(127, last[0], last[1], last[2]).into()
}

fn served<'a>(world: &'a World, matches: &[(&str, &str)]) -> (Agent<'a>, [Server; 2]) {
    let servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(world, &[]);
    let rules_of: Vec<String> = matches.iter().map(|(matches, subset)| rule(matches, &[(subset, 1)])).collect();
    agent.apply(&together(&[&ground(), &rules(&[], &rules_of.iter().map(String::as_str).collect::<Vec<_>>())]));
    (agent, servers)
}

#[test]
fn the_longest_source_prefix_wins_whatever_the_order() {
    let world = World::new();
    let (_agent, _servers) = served(
        &world,
        &[("sourceSubnet: 127.0.0.0/8", "v1"), ("sourceSubnet: 127.5.0.0/16", "v2"), ("sourceSubnet: 127.5.5.5", "v1")],
    );
    assert_eq!(ask_from(client([0, 0, 1]), GATEWAY).unwrap(), "one");
    assert_eq!(ask_from(client([5, 1, 1]), GATEWAY).unwrap(), "two");
    assert_eq!(ask_from(client([5, 5, 5]), GATEWAY).unwrap(), "one");
}

#[test]
fn then_the_longest_destination_prefix_then_the_order() {
    let world = World::new();
    let (_agent, _servers) = served(
        &world,
        &[
            ("port: 31400", "v1"),
            ("port: 31400", "v2"),
            ("destinationSubnets: [127.9.0.0/16, 127.8.0.0/16]", "v2"),
            ("destinationSubnets: [127.9.9.0/24]", "v1"),
        ],
    );
    assert_eq!(ask(GATEWAY).unwrap(), "one", "of two equal rules the first counts");
    assert_eq!(ask("127.9.1.1:31400").unwrap(), "two");
    assert_eq!(ask("127.8.1.1:31400").unwrap(), "two");
    assert_eq!(ask("127.9.9.1:31400").unwrap(), "one");
}

#[test]
fn a_source_prefix_counts_before_a_destination_prefix() {
    let world = World::new();
    let (_agent, _servers) =
        served(&world, &[("destinationSubnets: [127.9.9.9/32]", "v1"), ("sourceSubnet: 127.7.0.0/16", "v2")]);
    assert_eq!(ask_from(client([7, 0, 1]), "127.9.9.9:31400").unwrap(), "two");
    assert_eq!(ask_from(client([6, 0, 1]), "127.9.9.9:31400").unwrap(), "one");
}

#[test]
fn ipv6_clients_are_matched_by_ipv6_prefixes() {
    let world = World::new();
    let (_agent, _servers) = served(&world, &[("sourceSubnet: \"::1/128\"", "v2"), ("port: 31400", "v1")]);
    assert_eq!(ask("[::1]:31400").unwrap(), "two");
    assert_eq!(ask(GATEWAY).unwrap(), "one");
}

#[test]
fn whom_no_rule_fits_is_reset_and_counted() {
    let world = World::new();
    let (agent, _servers) = served(&world, &[("sourceSubnet: 127.5.0.0/16", "v2")]);
    assert_eq!(ask_from(client([5, 0, 1]), GATEWAY).unwrap(), "two");
    for _ in 0..3 {
        let error = connect(GATEWAY).and_then(|stream| converse(&stream, "hello")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    }
    assert_eq!(agent.status().listeners[0].unrouted, 3);
}

#[test]
fn a_gateway_of_other_labels_is_not_served() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one")];
    let all = together(&[&ground(), &rules(&[], &[&rule("port: 31400", &[("v1", 1)])])]);
    let other = all.replace("istio: ingressgateway", "istio: elsewhere");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(&other);
    assert!(agent.status().listeners.is_empty());
    drop(agent);
    let agent = Agent::start(&world, &["--label", "istio=elsewhere"]);
    assert_eq!(ask(GATEWAY).unwrap(), "one", "{:#?}", agent.status());
}

#[test]
fn bind_of_the_server_wins_over_the_listen_address() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one")];
    let all = together(&[&ground(), &rules(&[], &[&rule("port: 31400", &[("v1", 1)])])]);
    let agent = Agent::start(&world, &["--listen-address", "127.0.0.3", "--listen-address", "::1"]);
    agent.apply(&all);
    assert_eq!(ask("127.0.0.3:31400").unwrap(), "one");
    assert_eq!(ask("[::1]:31400").unwrap(), "one");
    assert!(tcpshift_tests::client::refused(GATEWAY));
    agent.apply(&all.replace("- hosts: [\"*\"]", "- bind: 127.0.0.4\n    hosts: [\"*\"]"));
    assert_eq!(ask("127.0.0.4:31400").unwrap(), "one");
    assert!(tcpshift_tests::client::refused("127.0.0.3:31400"));
}

#[test]
fn the_oldest_route_owns_the_port() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    let aged = |name: &str, subset: &str, stamp: &str| {
        rules(&[], &[&rule("port: 31400", &[(subset, 1)])])
            .replace("  name: tcp-echo\n", &format!("  name: {name}\n  creationTimestamp: \"{stamp}\"\n"))
    };
    agent.apply(&together(&[
        &ground(),
        &aged("a", "v1", "2024-02-01T00:00:00Z"),
        &aged("b", "v2", "2024-01-01T00:00:00Z"),
    ]));
    assert_eq!(ask(GATEWAY).unwrap(), "two");
    agent.cli(&["delete", "vs", "b"]).expect(0);
    assert_eq!(ask(GATEWAY).unwrap(), "one");
}
