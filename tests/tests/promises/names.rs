//! Endpoints with host names: the agent follows DNS.

use std::net::Ipv4Addr;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, connect, converse, tally};
use tcpshift_tests::dns::Dns;
use tcpshift_tests::example::{base, entry, route};
use tcpshift_tests::objects::{Object, ServiceEntry, WorkloadEntry, service_entry};
use tcpshift_tests::server::Server;
use tcpshift_tests::share::assert_share;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// The example's service in the place of its Service, which has no endpoints with names.
fn by_dns() -> Object<ServiceEntry> {
    let service = service_entry("tcp-echo").port("tcp", 9000).resolution("DNS");
    let service = service.set("spec.hosts[0]", "tcp-echo.default.svc.cluster.local");
    service.set("spec.workloadSelector.labels.app", "tcp-echo")
}

/// The example's version, at a name.
fn named(version: &str, port: u16) -> Object<WorkloadEntry> {
    entry(&format!("tcp-echo-{version}"), version, &format!("{version}.example.com"), port)
}

#[test]
fn endpoints_follow_dns_and_live_connections_do_not() {
    let world = World::new();
    let dns = Dns::start(&world);
    dns.say("v1.example.com", Ipv4Addr::LOCALHOST);
    dns.say("v2.example.com", Ipv4Addr::new(127, 0, 0, 2));
    let _servers = [("127.0.0.1:9000", "one"), ("127.0.0.2:9100", "two"), ("127.0.0.3:9100", "three")]
        .map(|(address, name)| Server::named(address, name));
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base());
    agent.cli(&["delete", "service", "tcp-echo"]).expect(0);
    agent.apply(by_dns() + named("v1", 9000) + named("v2", 9100) + route(&[("v1", 70), ("v2", 30)]));
    agent.await_endpoints("default/tcp-echo");
    let before = tally(ENTRANCE, 600);
    assert_eq!(before["one"] + before["two"], 600, "{before:?}");
    assert_share("v2", before["two"], 600, 0.3);
    let held: Vec<_> = (0..20).map(|_| connect(ENTRANCE).unwrap()).collect();
    let first: Vec<String> = held.iter().map(|stream| converse(stream, "who").unwrap()).collect();
    dns.say("v2.example.com", Ipv4Addr::new(127, 0, 0, 3));
    until_so("v2 has moved", seconds(5), || tally(ENTRANCE, 50).contains_key("three"));
    let after = tally(ENTRANCE, 600);
    assert_eq!(after["one"] + after["three"], 600, "{after:?}");
    assert_share("v2", after["three"], 600, 0.3);
    let second: Vec<String> = held.iter().map(|stream| converse(stream, "who").unwrap()).collect();
    assert_eq!(first, second);
    assert!(first.iter().any(|who| who == "two"), "{first:?}");
}
