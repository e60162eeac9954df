//! Shares: exact where they must be, within chance where they are drawn, and undisturbed by endpoints.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, answers, ask_from, tally};
use tcpshift_tests::example::{base, entry, route, route_of, rule};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::objects::{Objects, destination_rule};
use tcpshift_tests::server::Server;
use tcpshift_tests::share::assert_share;
use tcpshift_tests::world::World;

fn versions() -> [Server; 2] {
    [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")]
}

#[test]
fn scaling_v2_from_1_to_10_keeps_its_share() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 80), ("v2", 20)]));
    let before = tally(ENTRANCE, 1_500);
    assert_share("v2 with 1 endpoint", before["two"], 1_500, 0.2);

    let (mut more, mut entries) = (Vec::new(), Objects::default());
    for port in 9101..9110 {
        more.push(Server::named(&format!("127.0.0.1:{port}"), "two"));
        entries = entries + entry(&format!("v2-{port}"), "v2", "127.0.0.1", port);
    }
    agent.apply(entries);
    assert_eq!(agent.destination("default/tcp-echo", "v2").endpoints, 10);
    let after = tally(ENTRANCE, 1_500);
    assert_share("v2 with 10 endpoints", after["two"], 1_500, 0.2);
    assert_eq!(after["one"] + after["two"], 1_500);
    for server in &more {
        assert!(server.accepted() > 0, "{} got nothing of {} connections", server.address, after["two"]);
    }
}

#[test]
fn every_share_is_met() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base());
    for (v1, v2) in [(99, 1), (70, 30), (50, 50), (1, 3), (5, 95)] {
        agent.apply(route(&[("v1", v1), ("v2", v2)]));
        let tally = tally(ENTRANCE, 800);
        let two = tally.get("two").copied().unwrap_or_default();
        assert_eq!(tally["one"] + two, 800, "{tally:?}");
        assert_share(&format!("{v1} to {v2}"), two, 800, f64::from(v2) / f64::from(v1 + v2));
        let status = agent.destination("default/tcp-echo", "v2");
        assert_eq!((status.weight, status.opened_since_change), (u64::from(v2), two as u64));
        let achieved = status.achieved.expect("there were connections");
        assert!(achieved.low <= achieved.share && achieved.share <= achieved.high, "{achieved:?}");
    }
}

#[test]
fn weights_0_and_100_are_exact() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 0), ("v2", 100)]));
    assert_eq!(tally(ENTRANCE, 1_000), BTreeMap::from([("two".to_owned(), 1_000)]));
    agent.apply(route(&[("v1", 100), ("v2", 0)]));
    assert_eq!(tally(ENTRANCE, 1_000), BTreeMap::from([("one".to_owned(), 1_000)]));
}

#[test]
fn a_single_destination_gets_all_even_with_weight_0() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v2", 0)]));
    assert_eq!(answers(ENTRANCE, 20), ["two"; 20]);
}

/// Clients of many addresses, the same ones each time.
fn clients(count: usize) -> Vec<IpAddr> {
    let mut noise = Noise::new(7);
    (0..count)
        .map(|_| Ipv4Addr::new(127, noise.below(256) as u8, noise.below(256) as u8, 1 + noise.below(200) as u8).into())
        .collect()
}

fn who(clients: &[IpAddr]) -> Vec<String> {
    clients.iter().map(|client| ask_from(*client, ENTRANCE).unwrap()).collect()
}

#[test]
fn by_source_clients_stay_and_growth_moves_nobody_back() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    let sticky = |v2| route(&[("v1", 100 - v2), ("v2", v2)]).annotation("tcpshift.io/steer-by", "source");
    agent.apply(base() + sticky(20));
    let clients = clients(300);
    let mut before = who(&clients);
    assert_eq!(before, who(&clients), "a client changed its version though nothing changed");
    for v2 in [30, 50, 51, 90] {
        agent.apply(sticky(v2));
        let after = who(&clients);
        let back = before.iter().zip(&after).filter(|(before, after)| *before == "two" && *after == "one").count();
        assert_eq!(back, 0, "growing v2 to {v2} moved clients back");
        let two = after.iter().filter(|who| *who == "two").count();
        assert_share(&format!("v2 at {v2} by source"), two, clients.len(), f64::from(v2) / 100.0);
        before = after;
    }
    let agent = agent.kill_and_restart();
    assert_eq!(before, who(&clients), "a restart moved sticky clients");
    drop(agent);
    let other = Agent::start(&world, &["--seed", "12345"]);
    assert_ne!(before, who(&clients), "another seed steers the same");
    drop(other);
}

#[test]
fn by_prefix_neighbours_share_a_version() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 50), ("v2", 50)]).annotation("tcpshift.io/steer-by", "source/24,64"));
    let mut seen = BTreeMap::new();
    for net in 1..=40 {
        let who: Vec<String> = [1, 77, 200]
            .iter()
            .map(|host| ask_from(Ipv4Addr::new(127, 9, net, *host).into(), ENTRANCE).unwrap())
            .collect();
        assert!(who.iter().all(|one| *one == who[0]), "127.9.{net}.0/24: {who:?}");
        *seen.entry(who[0].clone()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "all prefixes have one version: {seen:?}");
}

#[test]
fn endpoint_weights_and_policies_act_inside_a_destination() {
    let world = World::new();
    let servers: Vec<Server> = (1..=3).map(|n| Server::named(&format!("127.0.0.{n}:9100"), &format!("e{n}"))).collect();
    let agent = Agent::start::<&str>(&world, &[]);
    let entries: Objects = (1..=3).map(|n| entry(&format!("e{n}"), "v3", &format!("127.0.0.{n}"), 9100)).collect();
    let balanced = |policy| destination_rule("tcp-echo-destination", "tcp-echo").subset("v3").balanced(policy);
    agent.apply(base());
    let weighted = entries.clone().set("WorkloadEntry/e3", "spec.weight", 2);
    agent.apply(weighted + balanced("RANDOM") + route(&[("v3", 1)]));
    let tally_random = tally(ENTRANCE, 800);
    assert_share("RANDOM, weight 2 of 4", tally_random["e3"], 800, 0.5);

    agent.apply(balanced("ROUND_ROBIN"));
    let tally_turns = tally(ENTRANCE, 400);
    assert_eq!((tally_turns["e1"], tally_turns["e2"], tally_turns["e3"]), (100, 100, 200), "{tally_turns:?}");

    // One endpoint holds many connections, so new ones go elsewhere nearly always.
    agent.apply(balanced("LEAST_REQUEST") + entries);
    assert!(servers.iter().all(|server| server.accepted() > 0));
    let tally_least = tally(ENTRANCE, 300);
    assert_eq!(tally_least.len(), 3, "{tally_least:?}");
}

#[test]
fn several_rules_split_each_for_itself() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    let sticky = rule(&[("v2", 1)]).when("port", 31_400).when("sourceSubnet", "127.1.0.0/16");
    let rest = rule(&[("v1", 60), ("v2", 40)]);
    agent.apply(base() + route_of([sticky, rest]));
    let tally = tally(ENTRANCE, 500);
    assert_share("the second rule", tally["two"], 500, 0.4);
    assert_eq!(ask_from(Ipv4Addr::new(127, 1, 2, 3).into(), ENTRANCE).unwrap(), "two");
    assert_eq!(agent.destination("default/tcp-echo#1", "v2").weight, 40);
}
