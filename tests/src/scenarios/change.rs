//! Changes under way: edits, a kill and a takeover, and the connections that must not feel them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::admin::{documents, request};
use crate::crowd::Crowd;
use crate::maps::{attached, pinned};
use crate::process::{built, command};
use crate::share::assert_share;
use crate::steer::{assert_split, route};
use crate::until::{seconds, until_so};

use super::case::{Case, assert_only};
use super::{Verdict, Way};

/// Connections that stay open and go on saying something.
const LIVE: usize = 30;

/// Clients that come and go, one connection after the other.
const CLIENTS: usize = 2;

/// Milliseconds between two connections of a client. On an emulated machine a connection takes some 20 ms.
const PAUSE: u64 = 100;

/// Edits, each of which makes a plan.
const EDITS: u32 = 20;

/// Connections from which a share is measured.
const SHARE: usize = 100;

/// Connections that are looked at while no agent is there.
const ORPHANS: usize = 30;

/// Starts connections that stay.
fn live(case: &Case<'_>) -> Crowd {
    Crowd::talk(case.world, &case.name("live"), case.clients(), case.address(), LIVE)
}

/// Starts connections that come and go.
fn rush(case: &Case<'_>) -> Crowd {
    Crowd::drip(case.world, &case.name("rush"), case.clients(), case.address(), CLIENTS, PAUSE)
}

/// Ends connections; panics if one had another answer than it should have. Returns how many there were.
#[track_caller]
fn unharmed(what: &str, crowd: Crowd) -> usize {
    let tally = crowd.finish();
    let harmed: BTreeMap<_, _> = tally.iter().filter(|(who, _)| !["one", "two"].contains(&who.as_str())).collect();
    assert!(harmed.is_empty(), "{what}: {harmed:?} beside {tally:?}");
    tally.values().sum()
}

/// The weight of v2 at an edit.
fn weight(edit: u32) -> u32 {
    1 + edit * 7 % 99
}

pub(super) fn edits(case: &Case<'_>) -> Verdict {
    let (agent, _versions) = case.served([50, 50]);
    let (live, rush) = (live(case), rush(case));
    let (before, already) = (agent.generation(), live.made());
    for edit in 1..=EDITS {
        let v2 = weight(edit);
        if edit % 2 == 0 {
            agent.post(case.weights([100 - v2, v2]));
            continue;
        }
        let name = case.route().trim_start_matches("default/");
        let shares = json!([{ "subset": "v2", "slots": v2 * 100 }]);
        let shift = json!({ "object": { "kind": "vs", "name": name }, "shares": shares });
        let answer = agent.request("POST", "/v1/shift", Some(&shift));
        assert_eq!(answer.status, 200, "edit {edit}: {}", answer.body);
    }
    let status = agent.status();
    assert_eq!(status.generation, before + u64::from(EDITS), "each edit made a plan");
    assert_eq!(agent.destination(case.route(), "v2").slots, weight(EDITS) * 100, "slots of v2 after the last edit");
    rush.go_on(CLIENTS * 5);
    live.go_on(2 * LIVE);
    let exchanges = live.made() - already;
    let passing = unharmed("connections that came and went", rush);
    assert_eq!(unharmed("live connections", live), LIVE);
    case.assert_datapath(&agent);
    case.keep(agent);
    Verdict::right(format!(
        "{EDITS} edits under {LIVE} live connections ({exchanges} exchanges) and {passing} new ones"
    ))
}

pub(super) fn kill(case: &Case<'_>) -> Verdict {
    let (mut agent, _versions) = case.served([70, 30]);
    let steered = case.way != Way::Proxy;
    let held = steered.then(|| (live(case), rush(case)));
    // `case` cannot be used in another thread: its world belongs to this one.
    let (socket, name, acknowledged) = (agent.socket(), case.route(), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for edit in 1.. {
                let v2 = weight(edit);
                let text = documents(route(name, [100 - v2, v2]));
                // It fails when the agent is dead.
                match request(&socket, "POST", "/v1/apply", Some(&text)) {
                    Ok(answer) if answer.status == 200 => acknowledged.store(edit, Ordering::Relaxed),
                    _ => return,
                }
            }
        });
        until_so("ten edits are acknowledged", seconds(20), || acknowledged.load(Ordering::Relaxed) >= 10);
        agent.process().kill();
    });
    let last = acknowledged.into_inner();
    let orphans = case.tally(ORPHANS);
    if let Some((live, rush)) = &held {
        assert_eq!(served(&orphans), ORPHANS, "answered while no agent is there: {orphans:?}");
        live.go_on(2 * LIVE);
        rush.go_on(CLIENTS * 5);
    } else {
        assert_only("no agent is there", &orphans, "ConnectionRefused");
    }

    let agent = agent.kill_and_restart();
    let objects = ["se", "dr", "gw", "vs"].map(|kind| agent.objects(kind).len());
    assert_eq!(objects, [1; 4], "services, destination rules, gateways and routes after the restart");
    case.await_datapath(&agent);
    let v2 = agent.destination(case.route(), "v2").slots;
    // The agent may have been killed after the next edit was in force and before it was acknowledged.
    let may_be = [weight(last) * 100, weight(last + 1) * 100];
    assert!(may_be.contains(&v2), "v2 has {v2} slots after the restart, and may have {may_be:?}");
    let tally = case.tally(SHARE);
    let two = tally.get("two").copied().unwrap_or_default();
    assert_eq!(served(&tally), SHARE, "{tally:?}");
    assert_share("version two", two, SHARE, f64::from(v2) / 10_000.0);
    let mut said = format!("killed after edit {last}; {two} of {SHARE} to v2 at weight {} after it", v2 / 100);
    if let Some((live, rush)) = held {
        live.go_on(2 * LIVE);
        let passing = unharmed("connections that came and went", rush);
        assert_eq!(unharmed("live connections", live), LIVE);
        said = format!("{said}; {LIVE} live connections and {passing} new ones had all their answers");
    }
    case.keep(agent);
    Verdict::right(said)
}

/// How many were answered by one of the versions.
fn served(tally: &BTreeMap<String, usize>) -> usize {
    ["one", "two"].iter().filter_map(|who| tally.get(*who)).sum()
}

pub(super) fn takeover(case: &Case<'_>) -> Verdict {
    let (mut agent, _versions) = case.served([50, 50]);
    let (live, rush) = (live(case), rush(case));
    let program = command(built("tcpshift-agent"));
    let successor = agent.successor(&case.name("successor"), program, &case.options()).answers();
    live.go_on(2 * LIVE);
    rush.go_on(CLIENTS * 5);
    case.await_datapath(&successor);
    if case.way == Way::Proxy {
        let ended = agent.process().ended();
        assert!(ended.is_none(), "the old agent ended with {ended:?} while it had connections: {}", agent.log());
    }
    let passing = unharmed("connections that came and went", rush);
    assert_eq!(unharmed("live connections", live), LIVE);
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "exit code of the old agent: {}", agent.log());
    assert_split(&case.tally(SHARE), 0.5);
    successor.post(case.weights([0, 100]));
    assert_only("all to v2", &case.tally(ORPHANS), "two");
    case.keep(successor);
    Verdict::right(format!("{LIVE} live connections and {passing} new ones, none refused or reset"))
}

pub(super) fn sigterm(case: &Case<'_>) -> Verdict {
    let (mut agent, _versions) = case.served([50, 50]);
    assert_split(&case.tally(ORPHANS), 0.5);
    agent.terminate();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "exit code: {}", agent.log());
    assert_eq!((pinned(case.world), attached(case.world)), (Vec::new(), Vec::new()), "what is pinned, and attached");
    assert_only("no agent is there", &case.tally(ORPHANS), "ConnectionRefused");
    Verdict::right("exit code 0, nothing pinned or attached")
}
