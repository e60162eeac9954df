//! An agent of the release before is followed by this one, and follows it: over each datapath nobody notices. `cargo xtask
//! upgrade` builds that release and says where it is.

use std::process::Command;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::answers;
use tcpshift_tests::maps::{attached, links};
use tcpshift_tests::objects::{Objects, gateway};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::rush::Rush;
use tcpshift_tests::server::Server;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

use super::survival::{Clients, assert_ways};
use super::{GATEWAY_ROUTE, MESH_ROUTE, ONE, TWO, await_datapath, base, direct, options, route, versions};

/// Where the release before is.
const BEFORE: &str = "TCPSHIFT_BEFORE";
/// Where connections are carried.
pub(super) const CARRIED: &str = "127.0.0.1:31401";

/// The release before.
pub(crate) fn before() -> Command {
    command(std::env::var_os(BEFORE).unwrap_or_else(|| panic!("{BEFORE} is the agent of the release before")))
}

/// This release, and the one before: there and back.
fn both() -> [Command; 2] {
    [command(built("tcpshift-agent")), before()]
}

/// Three routes to two versions: one that is carried, and one for each datapath that steers.
pub(super) fn routes(weights: [u32; 2]) -> Objects {
    let carried = route(GATEWAY_ROUTE, weights).named("carried").set("spec.gateways", serde_json::json!(["carried"]));
    route(MESH_ROUTE, weights) + route(GATEWAY_ROUTE, weights) + carried.annotation("tcpshift.io/datapath", "proxy")
}

pub(super) fn served(world: &World, program: Command) -> (Agent<'_>, [Server; 4]) {
    let ([four, six], [one, two]) = (direct(), versions());
    let agent = Agent::launch(world, "agent", program, &options(world, &[])).ready();
    agent.apply(base(&[ONE, TWO]) + gateway("carried").port(31_401) + &routes([70, 30]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    await_datapath(&agent, "default/carried", "proxy");
    (agent, [four, six, one, two])
}

/// Looks whether an agent that follows another serves and changes, and has left nothing of the other's.
#[track_caller]
fn assert_follows(world: &World, agent: &Agent<'_>, links_before: usize) {
    await_datapath(agent, GATEWAY_ROUTE, "lookup");
    assert_ways(world, 0.3);
    agent.apply(routes([0, 100]));
    assert_ways(world, 1.0);
    assert_eq!(answers(CARRIED, 20), ["two"; 20]);
    agent.apply(routes([70, 30]));
    assert_ways(world, 0.3);
    assert_eq!(links(world).len(), links_before, "{:?}", links(world));
    assert_eq!(attached(world).iter().filter(|one| one["name"] == "connect4").count(), 1, "{:?}", attached(world));
}

/// The agents of both releases follow each other while they run, there and back.
fn taken_over(rounds: usize) {
    let world = World::new();
    let (mut agent, _servers) = served(&world, before());
    let before = links(&world).len();
    let (clients, carried) = (Clients::start(&world, 3), Rush::start(CARRIED, 2));
    for round in 0..rounds {
        for (number, program) in both().into_iter().enumerate() {
            clients.go_on();
            let successor =
                agent.successor(&format!("agent-{round}-{number}"), program, &options(&world, &[])).answers();
            assert_eq!(agent.process().wait(seconds(30)).code(), Some(0), "{}", agent.log());
            agent = successor;
            clients.go_on();
            carried.go_on(100);
            assert_follows(&world, &agent, before);
        }
    }
    clients.finish(None);
    carried.finish();
    agent.end_and_leave_nothing();
}

/// The agents of both releases start where the other was killed, there and back: what is steered goes on meanwhile.
fn killed(rounds: usize) {
    let world = World::new();
    let (mut agent, _servers) = served(&world, before());
    let before = links(&world).len();
    let clients = Clients::start(&world, 3);
    for _ in 0..rounds {
        for program in both() {
            clients.go_on();
            agent.process().kill();
            clients.go_on();
            agent = Agent::launch(&world, "agent", program, &options(&world, &[])).ready();
            clients.go_on();
            assert_follows(&world, &agent, before);
        }
    }
    clients.finish(None);
}

#[test]
#[ignore = "needs the release before: cargo xtask upgrade"]
fn upgrade_of_agents_that_run() {
    taken_over(5);
}

#[test]
#[ignore = "needs the release before: cargo xtask upgrade"]
fn upgrade_of_agents_that_were_killed() {
    killed(5);
}
