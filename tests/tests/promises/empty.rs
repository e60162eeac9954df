//! What cannot be served: its share is refused and counted, or taken by the others where the file says so.

use std::collections::BTreeMap;

use serde_json::Value;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, End, answers, connect, drain, tally};
use tcpshift_tests::example::{base, entry, route};
use tcpshift_tests::server::Server;
use tcpshift_tests::share::assert_share;
use tcpshift_tests::world::World;

const ROUTE: &str = "default/tcp-echo";

fn served(world: &World) -> (Agent<'_>, Server) {
    let agent = Agent::start::<&str>(world, &[]);
    (agent, Server::named("127.0.0.1:9000", "one"))
}

/// The share of `subset` is reset by the agent, or refused by the kernel where nobody carries it; and what `status` counts
/// is what clients saw.
fn assert_refused(agent: &Agent<'_>, ends_with: &str, reason: &str) {
    let before = agent.destination(ROUTE, ends_with).failed;
    let tally = tally(ENTRANCE, 400);
    let lost = tally.iter().filter(|(who, _)| *who != "one").map(|(_, count)| count).sum::<usize>();
    assert_share(&format!("refused for {reason}"), lost, 400, 0.3);
    let is_carried = agent.status().listeners[0].routes[0].datapath == "proxy";
    let kinds: &[&str] = if is_carried { &["ConnectionReset", "BrokenPipe"] } else { &["ConnectionRefused"] };
    assert!(tally.keys().all(|who| who == "one" || kinds.contains(&who.as_str())), "{tally:?}");
    let status = agent.destination(ROUTE, ends_with);
    assert_eq!(status.failed - before, lost as u64, "{status:?}");
    assert!(status.unusable.as_deref().is_some_and(|why| why.contains(reason)), "{status:?}");
    // The kernel's programs report every cause as "no endpoint".
    let told = if is_carried { reason } else { "no endpoint" };
    assert!(status.failures.iter().any(|why| why.reason.contains(told) && why.count >= lost as u64), "{status:?}");
}

#[test]
fn an_unknown_subset_loses_its_share_and_no_more() {
    let world = World::new();
    let (agent, _one) = served(&world);
    agent.apply(base() + route(&[("v1", 70), ("v9", 30)]));
    assert_refused(&agent, "v9", "unknown subset");
}

#[test]
fn a_subset_without_endpoints_loses_its_share_and_no_more() {
    let world = World::new();
    let (agent, _one) = served(&world);
    agent.apply(base() + route(&[("v1", 70), ("v2", 30)]));
    agent.cli(&["delete", "--force", "workloadentry", "tcp-echo-v2"]).expect(0);
    assert_refused(&agent, "v2", "no endpoint");
}

#[test]
fn an_unknown_port_or_host_loses_its_share_and_no_more() {
    let world = World::new();
    let (agent, _one) = served(&world);
    let second = "spec.tcp[0].route[1].destination";
    let to = |field: &str, value: Value| route(&[("v1", 70), ("v2", 30)]).set(&format!("{second}.{field}"), value);
    agent.apply(base() + to("port.number", 4711.into()));
    assert_refused(&agent, "v2", "unknown port");
    agent.apply(to("host", "nobody".into()));
    assert_refused(&agent, "v2", "unknown host");
}

#[test]
fn refusal_is_a_reset_at_once() {
    let world = World::new();
    let (agent, _one) = served(&world);
    agent.apply(base() + route(&[("v9", 1)]));
    for _ in 0..20 {
        let end = connect(ENTRANCE).map_or(End::Reset, |stream| drain(&stream).1);
        assert_eq!(end, End::Reset);
    }
}

#[test]
fn redistribute_lets_the_others_take_the_share() {
    let world = World::new();
    let (agent, _one) = served(&world);
    agent.apply(base() + route(&[("v1", 70), ("v9", 30)]).annotation("tcpshift.io/on-empty", "redistribute"));
    assert_eq!(answers(ENTRANCE, 300), vec!["one"; 300]);
    // The share goes back when there are endpoints again.
    let _two = Server::named("127.0.0.1:9100", "two");
    agent.apply(route(&[("v1", 70), ("v2", 30)]).annotation("tcpshift.io/on-empty", "redistribute"));
    assert_share("v2 is back", tally(ENTRANCE, 400)["two"], 400, 0.3);
    agent.cli(&["delete", "we", "tcp-echo-v2"]).expect(0);
    assert_eq!(tally(ENTRANCE, 200), BTreeMap::from([("one".to_owned(), 200)]));
}

#[test]
fn a_refused_dial_tries_another_endpoint_and_never_another_destination() {
    let world = World::new();
    let (agent, _one) = served(&world);
    let _two = Server::named("127.0.0.1:9100", "two");
    // Beside the one endpoint of v2 that lives, one where nobody listens.
    agent.apply(base() + entry("dead", "v2", "127.0.0.1", 9199) + route(&[("v1", 50), ("v2", 50)]));
    let alive = tally(ENTRANCE, 400);
    assert_eq!(alive["one"] + alive["two"], 400, "{alive:?}");
    assert_share("v2 with a dead endpoint", alive["two"], 400, 0.5);

    // Without a live endpoint, v2's share is refused, and v1 gets none of it.
    agent.cli(&["delete", "--force", "we", "tcp-echo-v2"]).expect(0);
    let dead = tally(ENTRANCE, 400);
    assert_share("v1 beside a dead v2", dead["one"], 400, 0.5);
    assert!(!dead.contains_key("two"), "{dead:?}");
    let status = agent.destination(ROUTE, "v2");
    assert_eq!(status.failed, 400 - dead["one"] as u64, "{status:?}");
    assert!(!status.failures.is_empty(), "{status:?}");
}
