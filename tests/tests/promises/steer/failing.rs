//! A call of bpf(2) fails, any one of an upgrade: the agent before or the one after it serves every connection, nothing is left
//! of what was begun, and the next change and the next upgrade work.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::answers;
use tcpshift_tests::failing::{Failing, descriptors, waiting};
use tcpshift_tests::maps::{links, pinned};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::rush::Rush;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::survival::{Clients, ways};
use super::upgrade::{CARRIED, routes, served};
use super::{GATEWAY_ROUTE, await_datapath, options};

/// Tables of a plan stay for the plans after it. Of each of the four kinds there are one to three, as plans follow fast or slowly.
const STANDING: usize = 4 * 2;

/// Who has all connections, by every datapath.
#[track_caller]
fn assert_whole(world: &World, agent: &Agent<'_>, who: &str) {
    assert_eq!(answers(CARRIED, 5), [who; 5]);
    for (location, address) in ways(world) {
        let tally = location.tally(address, 5);
        assert_eq!(tally.get(who), Some(&5), "{address}: {tally:?}\n{}", agent.log());
    }
}

/// Edits twice: programs have all of it, and leave nothing of the edit before.
#[track_caller]
fn assert_edits(world: &World, agent: &Agent<'_>, call: usize) {
    until_so("programs decide", seconds(20), || agent.status().assignment.by == "kernel");
    await_datapath(agent, GATEWAY_ROUTE, "lookup");
    for (who, weights) in [("two", [0, 1]), ("one", [1, 0])] {
        agent.post(routes(weights));
        assert_whole(world, agent, who);
    }
    assert_eq!(agent.status().assignment.by, "kernel", "call {call}");
}

/// Tries upgrades of which the calls with these numbers fail. Returns how many were refused, and how many were made.
fn upgrades(calls: impl Iterator<Item = usize>) -> (usize, usize) {
    let world = World::new();
    let (mut agent, _servers) = served(&world, command(built("tcpshift-agent")));
    let (clients, carried) = (Clients::start(&world, 1), Rush::start(CARRIED, 1));
    assert_edits(&world, &agent, 0);
    let (names, steering) = (pinned(&world), links(&world).len());
    let (mut most, mut refused, mut made) = (None, 0, 0);
    for call in calls {
        let mut successor = agent.successor(&format!("agent-{call}"), waiting(), &options(&world, &[]));
        let failing = Failing::from_start(&world, &mut successor, call);
        let mut ended = None;
        until_so("one of them serves alone", seconds(60), || {
            ended = successor.process().ended();
            ended.is_some() || agent.process().ended().is_some()
        });
        let has_failed = if let Some(status) = ended {
            let has_failed = failing.ended();
            assert!(has_failed, "call {call}: {}", successor.log());
            assert!(!matches!(status.code(), None | Some(0)), "call {call}: {status}\n{}", successor.log());
            drop(successor);
            refused += 1;
            has_failed
        } else {
            assert_eq!(agent.process().wait(seconds(30)).code(), Some(0), "call {call}: {}", agent.log());
            let successor = successor.answers();
            let has_failed = failing.stop(&successor);
            agent = successor;
            made += 1;
            has_failed
        };
        assert_edits(&world, &agent, call);
        let held = || descriptors(&agent);
        let most = *most.get_or_insert_with(held);
        until_so("nothing is left", seconds(10), || held() <= most + STANDING && pinned(&world) == names);
        assert_eq!(links(&world).len(), steering, "call {call}: {:?}", links(&world));
        carried.go_on(20);
        if !has_failed {
            break;
        }
    }
    clients.finish(None);
    carried.finish();
    agent.end_and_leave_nothing();
    (refused, made)
}

#[test]
fn calls_of_an_upgrade_may_fail() {
    upgrades((1..).step_by(61));
}

/// Run by `cargo xtask soak`.
#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn soak_upgrades() {
    let (refused, made) = upgrades(1..);
    eprintln!("{refused} upgrades were refused, {made} were made all the same");
}
