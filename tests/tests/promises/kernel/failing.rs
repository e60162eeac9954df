//! A call of bpf(2) fails, any one of an edit, of an event or of a start: what is in force stays whole, nothing is left of what
//! was begun, and the next change works. Those of an upgrade are in `steer/failing`.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;

use tcpshift_tests::admin::documents;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, answers};
use tcpshift_tests::dns::Dns;
use tcpshift_tests::example::{base, route, route_of, rule};
use tcpshift_tests::failing::{Failing, descriptors, has_failed, injection};
use tcpshift_tests::maps::{dump, links, pinned};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::steer::{self, GATEWAY_ROUTE};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{KERNEL, begin_no_thread, start_with_large_stacks};

/// Room for two routes: a table that is lost is missed.
const ROOM: [&str; 2] = ["--max-routes", "2"];
/// Calls that an edit makes are fewer.
const CALLS: usize = 100;

fn versions() -> [Server; 2] {
    [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")]
}

/// Who has all connections, as the programs' maps say it and as clients see it.
#[track_caller]
fn assert_whole(world: &World, who: &str) {
    assert_eq!(answers(ENTRANCE, 5), [who; 5]);
    let rows = dump(world, "destinations");
    let slots: Vec<u64> = rows.iter().map(|row| row["value"]["slots"].as_u64().unwrap()).collect();
    assert_eq!(slots.iter().sum::<u64>() % 10_000, 0, "{rows:?}");
}

#[test]
fn any_call_of_an_edit_may_fail() {
    let world = World::new();
    let _versions = versions();
    let agent = start_with_large_stacks(&world, &ROOM);
    let sides = [("one", [("v1", 1), ("v2", 0)]), ("two", [("v1", 0), ("v2", 1)])];
    // The first rule is for nobody who is here: it needs a table of its own.
    let edited = |side: usize, v1: u32| {
        let unused = rule(&[("v1", v1), ("v2", 99)]).when("sourceSubnet", "10.9.0.0/16");
        route_of([unused, rule(&sides[side].1)])
    };
    agent.apply(base() + edited(0, 200));
    agent.apply(edited(1, 201));
    agent.apply(edited(0, 202));
    begin_no_thread(&agent);
    let (mut in_force, before) = (0, (descriptors(&agent), pinned(&world), links(&world)));
    let mut failed = 0;
    for call in 1..CALLS {
        let failing = Failing::at(&world, &agent, call);
        let next = 1 - in_force;
        let answer = agent.request("POST", "/v1/apply", Some(&documents(edited(next, call as u32))));
        let has_failed = failing.stop(&agent);
        if answer.status == 200 {
            in_force = next;
        } else {
            assert!(has_failed, "call {call}: {}", answer.body);
            failed += 1;
        }
        assert_whole(&world, sides[in_force].0);
        // The next one works, and puts the programs in charge again if they were not.
        in_force = 1 - in_force;
        agent.post(edited(in_force, 300 + call as u32));
        assert_whole(&world, sides[in_force].0);
        assert_eq!(agent.status().assignment.by, "kernel", "call {call}");
        if !has_failed {
            break;
        }
        assert!(call + 1 < CALLS, "an edit has more calls");
    }
    assert!(failed > 1, "{failed} edits were refused");
    // With room for so few tables, one that is lost would be missed.
    for round in 0..30_u32 {
        agent.post(edited(round as usize % 2, 400 + round));
    }
    until_so("nothing is left", seconds(5), || descriptors(&agent) <= before.0);
    assert_eq!((pinned(&world), links(&world)), (before.1, before.2));
}

#[test]
fn any_call_of_an_event_may_fail() {
    let world = World::new();
    let dns = Dns::start(&world);
    let (_one, _two) = (Server::named("127.0.0.1:9001", "one"), Server::named("127.0.0.1:9002", "two"));
    dns.say("one.example.com", Ipv4Addr::LOCALHOST);
    let agent = start_with_large_stacks(&world, &ROOM);
    let by_name = steer::base(&[("v1", "one.example.com", 9001), steer::TWO]);
    agent.apply(by_name.set("ServiceEntry/echo", "spec.resolution", "DNS") + steer::route(GATEWAY_ROUTE, [1, 0]));
    let first = || agent.destination(GATEWAY_ROUTE, "v1");
    until_so("the name is known", seconds(10), || first().endpoints > 0);
    // What routes share that lead to one destination alone is there from now on.
    agent.post(steer::route(GATEWAY_ROUTE, [0, 1]));
    agent.post(steer::route(GATEWAY_ROUTE, [1, 0]));
    begin_no_thread(&agent);
    let before = (descriptors(&agent), pinned(&world));
    for call in 1..CALLS {
        let failing = Failing::at(&world, &agent, call);
        let address = Ipv4Addr::new(127, 0, 1, call as u8);
        dns.say("one.example.com", address);
        until_so("the endpoint is known", seconds(20), || first().addresses == [format!("{address}:9001")]);
        let has_failed = failing.stop(&agent);
        assert_eq!(agent.status().assignment.by, "kernel", "call {call}");
        if !has_failed {
            break;
        }
    }
    agent.post(steer::route(GATEWAY_ROUTE, [0, 1]));
    assert_whole(&world, "two");
    until_so("nothing is left", seconds(5), || descriptors(&agent) <= before.0);
    assert_eq!(pinned(&world), before.1);
}

#[test]
fn programs_decide_again_without_another_change() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start(&world, &["--assign", "auto"]);
    agent.apply(base() + route(&[("v1", 1)]));
    until_so("programs decide", seconds(10), || agent.status().assignment.by == "kernel");
    let failing = Failing::at(&world, &agent, 1);
    agent.apply(route(&[("v2", 1)]));
    assert_eq!(answers(ENTRANCE, 5), ["two"; 5]);
    assert!(agent.log().contains("the agent decides for new connections"), "{}", agent.log());
    assert!(failing.stop(&agent));
    until_so("programs decide again", seconds(20), || agent.status().assignment.by == "kernel");
    assert_whole(&world, "two");
}

/// Starts an agent whose main thread has its call with this number fail.
fn started<'a>(world: &'a World, trace: &Path, call: usize) -> Agent<'a> {
    let mut launcher = command("strace");
    launcher.args(["-f", "-e", "trace=bpf", "-e", &injection(call), "-o"]).arg(trace);
    launcher.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(built("tcpshift-agent"));
    Agent::launch_as(world, "agent", &format!("start-{call}"), launcher, Stdio::null(), &KERNEL)
}

/// Tries starts of which the calls with these numbers fail, after an agent that was killed.
fn starts(calls: impl Iterator<Item = usize>) {
    let world = World::new();
    let _versions = versions();
    let mut agent = Agent::start(&world, &KERNEL);
    agent.apply(base() + route(&[("v1", 1)]));
    agent.process().kill();
    let trace = world.path("trace");
    for call in calls {
        let mut next = started(&world, &trace, call);
        let mut ended = None;
        until_so("it serves or ends", seconds(30), || {
            ended = next.process().ended();
            ended.is_some() || tcpshift_tests::client::ask(ENTRANCE).is_ok_and(|who| who == "one")
        });
        let has_failed = has_failed(&trace);
        match ended {
            Some(status) => {
                assert!(has_failed, "call {call}: {}", next.log());
                assert_ne!(status.code(), Some(0), "call {call}");
                assert_ne!(status.code(), None, "call {call}: {}", next.log());
            }
            None => next.process().kill(),
        }
        drop(next);
        if !has_failed {
            break;
        }
    }
    let mut agent = Agent::start(&world, &KERNEL);
    assert_whole(&world, "one");
    agent.apply(route(&[("v2", 1)]));
    assert_whole(&world, "two");
    agent.end_and_leave_nothing();
}

#[test]
fn calls_of_a_start_may_fail() {
    starts((1..).step_by(23));
}

/// Run by `cargo xtask soak`.
#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn soak_starts() {
    starts(1..);
}
