//! What is counted is what happened: `status` agrees with clients and servers, says how fast and when something failed last,
//! and fits a person's screen.

use std::collections::BTreeMap;
use std::process::Command;

use tcpshift_agent::admin::api::{RateStatus, RatesStatus};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client;
use tcpshift_tests::crowd::Location;
use tcpshift_tests::echo::both_versions;
use tcpshift_tests::example;
use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::steer::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, SERVICE, await_datapath, base, inside, own_addresses, route, start, version,
};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// The first version has two endpoints, and the second one.
const ENDPOINTS: [(&str, &str, u16); 3] =
    [("v1", "127.0.0.1", 9001), ("v1", "127.0.0.2", 9001), ("v2", "127.0.0.1", 9002)];

/// Each is named after its version.
fn servers() -> [Server; 3] {
    ENDPOINTS.map(|(subset, address, port)| version(&format!("{address}:{port}"), subset))
}

/// Connections to an address, from several processes at once, by the version that answered.
fn crowd(location: Location<'_>, address: &str, count: usize) -> BTreeMap<String, u64> {
    const CLIENTS: usize = 4;
    let tallies = std::thread::scope(|scope| {
        let clients = [(); CLIENTS].map(|()| scope.spawn(move || location.tally(address, count / CLIENTS)));
        clients.map(|client| client.join().unwrap())
    });
    let mut all = BTreeMap::new();
    for (name, count) in tallies.into_iter().flatten() {
        *all.entry(name).or_default() += count as u64;
    }
    all
}

/// Every destination of a route has opened what clients have seen of its version, and none has failed; every endpoint has opened
/// what its server has accepted.
#[track_caller]
fn assert_exact(agent: &Agent<'_>, name: &str, seen: &BTreeMap<String, u64>, servers: &[Server]) {
    let of = |subset: &str| agent.destination(name, subset);
    let open = || ["v1", "v2"].iter().map(|subset| of(subset).active).sum::<u64>();
    until_so("all are closed", seconds(20), || open() == 0);
    for subset in ["v1", "v2"] {
        let destination = of(subset);
        assert_eq!((destination.opened, destination.failed), (seen[subset], 0), "{name}: {destination:#?}");
        assert!(destination.failures.is_empty() && destination.last_failure.is_none(), "{destination:#?}");
        for endpoint in &destination.by_endpoint {
            let server = servers.iter().find(|server| server.address.to_string() == endpoint.address).unwrap();
            let counts = (endpoint.opened, endpoint.failed, endpoint.active);
            assert_eq!(counts, (server.accepted() as u64, 0, 0), "{name}: {endpoint:?}");
        }
    }
    assert_eq!(seen.len(), 2, "{name}: {seen:?}");
}

#[test]
fn of_a_hundred_thousand_connections_each_is_counted_once_on_every_datapath() {
    assert_each_is_counted_once([36_000, 36_000, 28_000]);
}

#[test]
#[ignore = "two minutes"]
fn soak_of_a_hundred_thousand_connections_on_each_datapath_each_is_counted_once() {
    assert_each_is_counted_once([100_000; 3]);
}

/// As many connections by `connect`, by `lookup`, and carried.
#[track_caller]
fn assert_each_is_counted_once([by_connect, by_lookup, by_proxy]: [usize; 3]) {
    let world = World::new();
    own_addresses();
    let servers = servers();
    let agent = start(&world, &[]);
    let entrance = route(GATEWAY_ROUTE, [60, 40]);
    agent.apply(base(&ENDPOINTS) + route(MESH_ROUTE, [70, 30]) + entrance.clone());

    await_datapath(&agent, MESH_ROUTE, "connect");
    let connect = crowd(inside(&world), SERVICE, by_connect);
    assert_exact(&agent, MESH_ROUTE, &connect, &servers);

    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let lookup = crowd(Location::Here, ENTRANCE, by_lookup);
    assert_exact(&agent, GATEWAY_ROUTE, &lookup, &servers);

    agent.apply(entrance.annotation("tcpshift.io/datapath", "proxy"));
    await_datapath(&agent, GATEWAY_ROUTE, "proxy");
    let carried = crowd(Location::Here, ENTRANCE, by_proxy);
    let entered = lookup.iter().map(|(name, count)| (name.clone(), count + carried[name])).collect();
    assert_exact(&agent, GATEWAY_ROUTE, &entered, &servers);
    let sum = |seen: &BTreeMap<String, u64>| seen.values().sum::<u64>();
    assert_eq!(sum(&connect) + sum(&entered), (by_connect + by_lookup + by_proxy) as u64);
    let assignment = agent.status().assignment;
    assert_eq!(assignment.steered, (by_connect + by_lookup) as u64, "{assignment:?}");
}

#[test]
fn rates_are_those_of_clients_and_go_down_when_they_are_gone() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(example::base() + example::route(&[("v1", 1)]));
    let rates = || agent.destination("default/tcp-echo", "v1").rates;
    assert_eq!(rates(), RatesStatus::default());
    client::tally(client::ENTRANCE, 300);
    until_so("they are in a rate", seconds(5), || rates().opened.ten > 0.0);
    let endpoint = || agent.destination("default/tcp-echo", "v1").by_endpoint[0].rates;
    until_so("all are in a rate of the last second, then in none", seconds(10), || rates().opened.second == 0.0);
    // All of them were in the last minute, of which so many seconds have passed.
    let passed = agent.status().uptime_seconds as f64 + 2.0;
    let opened = rates().opened;
    assert!(opened.minute >= 300.0 / passed.min(60.0) && opened.minute <= 300.0, "{opened:?} after {passed} s");
    assert_eq!(endpoint().opened.minute.total_cmp(&opened.minute), std::cmp::Ordering::Equal);
    assert_eq!(rates().failed, RateStatus::default());
}

/// A route to a first version that serves and a second one where nobody listens.
fn half_dead<'a>(world: &'a World, datapath: &str) -> Agent<'a> {
    let agent = start(world, &[]);
    let entrance = route(GATEWAY_ROUTE, [50, 50]).annotation("tcpshift.io/datapath", datapath);
    agent.apply(base(&ENDPOINTS) + route(MESH_ROUTE, [50, 50]) + entrance);
    agent
}

#[test]
fn the_last_failure_is_told_with_its_reason_by_whomever_it_was_served() {
    let world = World::new();
    own_addresses();
    let _one = ["127.0.0.1:9001", "127.0.0.2:9001"].map(|address| version(address, "v1"));
    let agent = half_dead(&world, "proxy");
    let last = |route: &str, subset: &str| agent.destination(route, subset).last_failure.map(|last| last.reason);
    assert_eq!(last(GATEWAY_ROUTE, "v2"), None);
    client::tally(ENTRANCE, 30);
    assert_eq!(last(GATEWAY_ROUTE, "v2").as_deref(), Some("connection refused"), "of a carried one at once");
    assert_eq!(last(GATEWAY_ROUTE, "v1"), None);
    let destination = agent.destination(GATEWAY_ROUTE, "v2");
    let of_endpoint = destination.by_endpoint[0].last_failure.as_ref().unwrap();
    assert_eq!(of_endpoint.reason, "connection refused");
    assert!(of_endpoint.seconds_ago < 60 && of_endpoint.at.ends_with('Z'), "{of_endpoint:?}");
    assert!(destination.failed > 0);

    assert!(inside(&world).tally(SERVICE, 30)["ConnectionRefused"] > 0);
    let steered = || last(MESH_ROUTE, "v2").as_deref() == Some("steered, and never established");
    until_so("that of a steered one is found", seconds(5), steered);
    assert_eq!(last(MESH_ROUTE, "v1"), None);
    assert!(agent.destination(MESH_ROUTE, "v2").rates.failed.minute > 0.0);
}

#[test]
fn where_nobody_listens_is_known_and_a_check_tells_it_by_its_exit_code() {
    let world = World::new();
    let two = version("127.0.0.1:9002", "v2");
    let _one = ["127.0.0.1:9001", "127.0.0.2:9001"].map(|address| version(address, "v1"));
    let agent = half_dead(&world, "lookup");
    let check = |words: &[&str]| agent.cli(&[&["status", "--check"], words].concat());
    until_so("all listen", seconds(10), || agent.destination(GATEWAY_ROUTE, "v2").ready == Some(1));
    assert_eq!(check(&[]).expect(0).stdout, "no share is refused: 2 routes\n");

    drop(two);
    until_so("nobody listens", seconds(10), || agent.destination(GATEWAY_ROUTE, "v2").ready == Some(0));
    let said = check(&["entrance"]).expect(1).stdout;
    assert!(said.starts_with("refused: default/entrance to echo.example.com:9000/v2 (50 %): "), "{said}");
    assert!(said.ends_with(": nobody listens at 127.0.0.1:9002\n") && said.lines().count() == 1, "{said}");
    let shown = agent.cli(&["status"]).expect(0).stdout;
    assert!(shown.contains("0/1") && shown.contains("nobody listens at 127.0.0.1:9002"), "{shown}");

    agent.apply(route(GATEWAY_ROUTE, [100, 0]) + route(MESH_ROUTE, [100, 0]));
    check(&[]).expect(0);
    check(&["nothing"]).expect(1).complains("no route \"nothing\" is in force");
}

/// A line for each that is too wide.
fn wide_lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| line.chars().count() > 80).map(str::to_owned).collect()
}

#[test]
fn no_line_of_status_is_wider_than_a_screen() {
    let world = World::new();
    let agent = start(&world, &[]);
    let long = "a-name-of-63-characters-which-is-the-most-that-a-label-may-have";
    assert_eq!(long.len(), 63);
    let renamed = route(GATEWAY_ROUTE, [80, 20]).set("metadata.name", long);
    agent.apply(base(&ENDPOINTS) + renamed + route(MESH_ROUTE, [0, 100]));
    client::tally(ENTRANCE, 20);
    let all = agent.cli(&["status"]).expect(0).stdout;
    let one = agent.cli(&["status", long]).expect(0).stdout;
    for text in [&all, &one] {
        assert_eq!(wide_lines(text), [""; 0], "{text}");
        assert!(text.contains(long), "{text}");
    }
    assert!(all.contains("HEALTH") && all.contains("DESTINATION"), "{all}");
    assert!(
        one.contains("127.0.0.2:9001") && one.contains("CONNECTIONS A SECOND") && !one.contains(MESH_ROUTE),
        "{one}"
    );
    let json = agent.cli(&["status", "-o", "json", long]).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["listeners"].as_array().unwrap().len(), 1, "{json}");
}

#[test]
fn a_status_that_is_watched_is_shown_again_and_again() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(example::base() + example::route(&[("v1", 1)]));
    let mut watch = watched(&world, &agent, command(built("tcpshift-agent")));
    until_so("it is shown three times", seconds(10), || watch.stdout().matches("agent ").count() >= 3);
    agent.apply(example::route(&[("v2", 1)]));
    until_so("an edit is shown", seconds(10), || watch.stdout().contains("/v2"));
    assert!(watch.ended().is_none());
}

fn watched(world: &World, agent: &Agent<'_>, mut program: Command) -> Process {
    program.args(["status", "-w"]).env("TCPSHIFT_ADMIN", format!("unix:{}", agent.socket().display()));
    Process::start(world, "watch", program)
}
