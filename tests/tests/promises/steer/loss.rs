//! What happens to new connections after the agent is lost, if the operator chose otherwise than that they go on.

use std::time::{Duration, Instant};

use tcpshift_tests::crowd::{Crowd, Location};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, ONE, SERVICE, TWO, assert_split, await_datapath, base, direct, inside,
    options, route, start, versions,
};

/// Has both routes go half and half, kills the agent, and waits until clients of both see something else; what they see then
/// is the same for each of them, and while the agent is there again all is as before.
#[track_caller]
fn lose(option: &str, expected: &str) {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let arguments = ["--on-agent-loss", option, "--agent-loss-after", "3s"];
    let mut agent = start(&world, &arguments);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [50, 50]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let ways = [(inside(&world), SERVICE), (Location::Here, ENTRANCE)];
    let held = Crowd::hold(&world, "held", inside(&world), SERVICE, 20, &[]);
    held.reach(20);
    std::thread::sleep(seconds(4));
    for (location, address) in ways {
        assert_split(&location.tally(address, 200), 0.5);
    }
    agent.process().kill();
    let killed = Instant::now();
    for (location, address) in ways {
        let tally = location.tally(address, 30);
        // It may have been silent for a second before it was killed.
        if killed.elapsed() < Duration::from_millis(1_500) {
            assert_split(&tally, 0.5);
        }
    }
    for (location, address) in ways {
        until_so("the agent counts as lost", seconds(6), || {
            let tally = location.tally(address, 30);
            tally.len() == 1 && tally.contains_key(expected)
        });
        let tally = location.tally(address, 100);
        assert_eq!(tally.get(expected), Some(&100), "{tally:?}");
    }
    let agent = agent.kill_and_restart();
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    for (location, address) in ways {
        assert_split(&location.tally(address, 200), 0.5);
    }
    assert_split(&held.finish(), 0.5);
}

#[test]
fn all_go_to_the_first_destination() {
    lose("first", "one");
}

#[test]
fn all_are_refused() {
    lose("refuse", "ConnectionRefused");
}

#[test]
fn by_default_they_go_on() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let mut agent = tcpshift_tests::agent::Agent::start(&world, &options(&world, &["--agent-loss-after", "3s"]));
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [50, 50]));
    agent.process().kill();
    std::thread::sleep(Duration::from_millis(4_500));
    assert_split(&inside(&world).tally(SERVICE, 200), 0.5);
}
