//! Counts go on over a takeover, and what the old agent still carries is shown by the new one.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tcpshift_agent::admin::api::DestinationStatus;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, connect, converse, tally};
use tcpshift_tests::crowd::Location;
use tcpshift_tests::echo::{both_versions, tcp_echo};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::steer::{self, GATEWAY_ROUTE, MESH_ROUTE, ONE, SERVICE, TWO, await_datapath, inside, versions};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{NONE, program, succeed};

const ROUTE: &str = "default/tcp-echo";

fn destinations(agent: &Agent<'_>, route: &str) -> [DestinationStatus; 2] {
    ["v1", "v2"].map(|subset| agent.destination(route, subset))
}

/// Of a destination: opened, opened since the weights changed, and failed; then opened and failed of its endpoints.
type Counted = ([u64; 3], Vec<[u64; 2]>);

fn counted(agent: &Agent<'_>, route: &str) -> Vec<Counted> {
    let endpoints = |to: &DestinationStatus| to.by_endpoint.iter().map(|one| [one.opened, one.failed]).collect();
    let all = destinations(agent, route);
    all.iter().map(|to| ([to.opened, to.opened_since_change, to.failed], endpoints(to))).collect()
}

#[test]
fn totals_and_achieved_shares_outlive_takeovers() {
    let world = World::new();
    let _versions = both_versions(&world);
    let mut agent = Agent::start(&world, &NONE);
    agent.apply(base() + route(&[("v1", 1)]));
    tally(ENTRANCE, 50);
    agent.apply(base() + route(&[("v1", 80), ("v2", 20)]));
    for round in 1..=3 {
        tally(ENTRANCE, 100);
        let before = counted(&agent, ROUTE);
        assert_eq!(before.iter().map(|(to, _)| to[1]).sum::<u64>(), round * 100);
        assert_eq!(before.iter().map(|(to, _)| to[0]).sum::<u64>(), 50 + round * 100);
        agent = succeed(agent, &format!("agent-{round}"), program());
        assert_eq!(counted(&agent, ROUTE), before, "takeover {round}");
        let status = agent.status();
        assert!(status.before.is_none(), "nothing was carried any more");
        let rates = agent.destination(ROUTE, "v1").rates;
        assert_eq!(rates.opened.second.total_cmp(&0.0), std::cmp::Ordering::Equal, "it is no burst: {rates:?}");
    }
}

#[test]
fn a_failure_that_the_old_agent_had_is_the_last_one_of_the_new_agent() {
    let world = World::new();
    let _one = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let agent = Agent::start(&world, &NONE);
    agent.apply(base() + route(&[("v2", 1)]));
    tally(ENTRANCE, 5);
    let before = agent.destination(ROUTE, "v2");
    assert_eq!(before.failed, 5);
    let successor = succeed(agent, "successor", program());
    let after = successor.destination(ROUTE, "v2");
    let last = |to: &DestinationStatus| to.last_failure.as_ref().map(|last| (last.at.clone(), last.reason.clone()));
    assert_eq!((after.failed, last(&after)), (5, last(&before)));
    assert!(last(&after).is_some());
}

#[test]
fn the_new_agent_shows_what_the_old_one_still_carries_and_counts_what_becomes_of_it() {
    let world = World::new();
    let _versions = both_versions(&world);
    let mut agent = Agent::start(&world, &NONE);
    agent.apply(base() + route(&[("v1", 50), ("v2", 50)]));
    let held: Vec<TcpStream> = (0..40).map(|_| connect(ENTRANCE).unwrap()).collect();
    let names: Vec<String> = held.iter().map(|stream| converse(stream, "before").unwrap()).collect();
    let to_one = names.iter().filter(|name| *name == "one").count() as u64;
    let old = agent.pid();
    let successor = agent.successor("successor", program(), &NONE).answers();
    let before = || destinations(&successor, ROUTE).map(|to| to.before);
    assert_eq!(before(), [to_one, 40 - to_one]);
    let status = successor.status();
    let carried = status.before.as_ref().map(|before| (before.agent.clone(), before.active));
    assert_eq!(carried, Some((format!("pid {old}"), 40)));
    assert_eq!(destinations(&successor, ROUTE).map(|to| to.active), [0, 0], "it carries none of them itself");
    let shown = successor.cli(&["status"]).expect(0).stdout;
    let said = format!("40 connections still carried by the agent before this one (pid {old})");
    assert!(shown.contains(&said), "{shown}");

    let (first, second): (Vec<_>, Vec<_>) = held.into_iter().zip(&names).partition(|(_, name)| *name == "one");
    drop(first);
    until_so("those that have ended are told", seconds(10), || before() == [0, 40 - to_one]);
    assert!(agent.process().ended().is_none());
    drop(second);
    until_so("the old agent has ended", seconds(10), || successor.status().before.is_none());
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(0), "{}", agent.log());
    assert_eq!(destinations(&successor, ROUTE).map(|to| to.opened), [to_one, 40 - to_one]);
}

#[test]
fn steered_connections_are_counted_on() {
    let world = World::new();
    steer::own_addresses();
    let _versions = versions();
    let mut agent = steer::start(&world, &[]);
    agent.apply(steer::base(&[ONE, TWO]) + steer::route(MESH_ROUTE, [60, 40]) + steer::route(GATEWAY_ROUTE, [70, 30]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    inside(&world).tally(SERVICE, 100);
    Location::Here.tally(steer::ENTRANCE, 100);
    for route in [MESH_ROUTE, GATEWAY_ROUTE] {
        steer::await_counted(&agent, route, 100, 0);
    }
    let before = [MESH_ROUTE, GATEWAY_ROUTE].map(|route| counted(&agent, route));
    let arguments = steer::options(&world, &[]);
    let successor = agent.successor("successor", program(), &arguments).answers();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    assert_eq!([MESH_ROUTE, GATEWAY_ROUTE].map(|route| counted(&successor, route)), before);
    assert_eq!(successor.status().assignment.steered, 200);
    inside(&world).tally(SERVICE, 50);
    steer::await_counted(&successor, MESH_ROUTE, 150, 0);
    let closed = destinations(&successor, MESH_ROUTE).map(|to| to.steered.map_or(0, |steered| steered.closed));
    assert_eq!(closed.iter().sum::<u64>(), 150, "{closed:?}");
}

/// How many streams have come to their end.
fn ended(held: &[TcpStream]) -> usize {
    let mut byte = [0];
    let mut is_ended = |mut stream: &TcpStream| matches!(stream.read(&mut byte), Ok(0));
    held.iter().filter(|stream| is_ended(stream)).count()
}

#[test]
fn an_old_agent_ends_its_connections_at_the_rate_that_it_is_asked_for() {
    const RATE: usize = 20;
    let world = World::new();
    let _one = tcp_echo(&world, "9000", "one", "127.0.0.1");
    let mut agent = Agent::start(&world, &["--drain-timeout", "5m"]);
    agent.apply(base() + route(&[("v1", 1)]));
    let held: Vec<TcpStream> = (0..60).map(|_| connect(ENTRANCE).unwrap()).collect();
    for stream in &held {
        assert_eq!(converse(stream, "before").unwrap(), "one");
        stream.set_nonblocking(true).unwrap();
    }
    let _successor = agent.successor("successor", program(), &["--drain-rate", &RATE.to_string()]).answers();
    // The old agent begins when the new one serves, which is before that answers.
    let began = Instant::now();
    let mut seen = Vec::new();
    until_so("all are ended in good order", seconds(20), || {
        let count = ended(&held);
        seen.push((began.elapsed(), count));
        count == held.len()
    });
    let half = seen.iter().find(|(_, count)| *count >= held.len() / 2).unwrap().0;
    let whole = seen.last().unwrap().0;
    let least = Duration::from_secs_f64((held.len() / 2 - 2) as f64 / RATE as f64);
    assert!(whole >= half + least.mul_f64(0.7), "half were ended after {half:?}, and all after {whole:?}");
    let steps = seen.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap();
    assert!(steps <= RATE, "{steps} were ended at once");
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
}
