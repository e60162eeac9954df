//! The walk-through: versions of a service, and how connections are moved from one to the other.

use crate::steer::{assert_split, await_counted};

use super::case::{Case, assert_only};
use super::{Verdict, Way};

/// Connections from which a share is measured: a fifth of them is met within 14 points, 5 sigma.
const SHARE: usize = 200;

/// Connections that all go to one version.
const SOME: usize = 30;

/// Connections that are refused.
const REFUSED: usize = 10;

pub(super) fn walk(case: &Case<'_>) -> Verdict {
    let (_versions, agent) = (case.versions(), case.start());
    let before = agent.status().assignment;
    assert_only("nothing is applied", &case.tally(REFUSED), "ConnectionRefused");
    agent.apply(case.objects([100, 0]));
    case.assert_datapath(&agent);
    let seen = case.clients().ask(case.address(), SOME);
    assert_only("all to v1", &seen.tally(), "one");
    assert_eq!(seen.peers.iter().collect::<Vec<_>>(), [case.address()], "with whom clients take themselves to be");
    agent.post(case.weights([80, 20]));
    let fifth = case.tally(SHARE);
    assert_split(&fifth, 0.2);
    agent.post(case.weights([0, 100]));
    assert_only("all to v2", &case.tally(SOME), "two");
    case.assert_datapath(&agent);

    let opened = (SHARE + 2 * SOME) as u64;
    await_counted(&agent, case.route(), opened, 0);
    let assignment = agent.status().assignment;
    let carried = assignment.kernel + assignment.agent - before.kernel - before.agent;
    let steered = assignment.steered;
    match case.way {
        Way::Proxy => assert_eq!(steered, 0, "steered: {assignment:?}"),
        Way::Lookup | Way::Connect => assert_eq!((carried, steered), (0, opened), "{assignment:?}"),
    }

    agent.cli_with(&["delete", "-f", "-"], case.objects([0, 100])).expect(0);
    assert_only("all is deleted", &case.tally(REFUSED), "ConnectionRefused");
    case.keep(agent);
    let two = fifth.get("two").copied().unwrap_or_default();
    Verdict::right(format!(
        "{opened} connections, {two} of {SHARE} to v2 at weight 20; assignment by {}",
        assignment.by
    ))
}
