//! What the machine can do: as `doctor` says it, and as an agent that is asked for nothing special takes it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::Agent;
use crate::client::ask;
use crate::process::{Output, built, command, grouped, run};
use crate::steer::{ENTRANCE, GATEWAY, ONE, TWO, assert_split, datapath, ground, route, versions};
use crate::until::{seconds, until};
use crate::world::World;

use super::{Found, bounded};

/// How long a person waits for `doctor`, and for an agent's first answer: the promise.
const PROMISED: Duration = Duration::from_secs(10);

/// Lines that `doctor` has, at most.
const LINES: usize = 60;

/// Runs `doctor` in the world's control group.
fn ask_doctor(world: &World, words: &[&str]) -> Output {
    let mut doctor = command(built("tcpshift-agent"));
    doctor.arg("doctor").args(words);
    run(grouped(world.cgroup(), &doctor), b"", seconds(30))
}

pub(super) fn doctor(world: &World) -> Found {
    let output = ask_doctor(world, &["-o", "json"]);
    let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "doctor -o json prints no JSON: {error}; exit code {}: {}{}",
            output.status, output.stdout, output.stderr
        )
    });
    let programs = report["programs"].as_array().map_or(&[][..], Vec::as_slice);
    let bad = programs.iter().filter(|program| program["works"] != true);
    let bad: Vec<String> = bad.map(|program| format!("{}: {}", program["name"], program["found"])).collect();
    let found = if output.status == 0 && bad.is_empty() && !programs.is_empty() {
        Found::right(format!("{} programs load and work", programs.len()))
    } else {
        let said = format!("exit code {}; {}", output.status, bad.join("; "));
        Found::wrong(bounded(&said, super::MESSAGE))
    };
    Found { doctor: Some(report), ..found }
}

pub(super) fn short(world: &World) -> Found {
    let began = Instant::now();
    let output = ask_doctor(world, &[]);
    let (took, text) = (began.elapsed(), output.stdout + &output.stderr);
    let lines = text.lines().count();
    assert!([0, 1].contains(&output.status), "exit code {}: {}", output.status, bounded(&text, super::MESSAGE));
    assert!(text.contains("PROGRAM") && text.contains("assign"), "it says nothing of programs: {text}");
    assert!(lines <= LINES, "{lines} lines in {:.1} s; {LINES} are promised", took.as_secs_f64());
    assert!(took <= PROMISED, "{lines} lines took {:.1} s; {PROMISED:?} are promised", took.as_secs_f64());
    Found::right(format!("{lines} lines in {:.1} s", took.as_secs_f64()))
}

pub(super) fn auto(world: &World) -> Found {
    let _versions = versions();
    let file = world.write("all.yaml", ground(&[ONE, TWO]) + &route(GATEWAY, [50, 50]));
    let options = ["--assign", "auto", "--datapath", "auto"].map(std::ffi::OsStr::new);
    let options: Vec<_> = options.into_iter().chain([file.as_os_str()]).collect();
    let program = command(built("tcpshift-agent"));
    let began = Instant::now();
    let mut agent = Agent::launch_as(world, "agent", "agent", program, Stdio::null(), &options);
    until("a connection is answered", PROMISED, || {
        if let Some(status) = agent.process().ended() {
            panic!("the agent ended at start with {status}: {}", agent.log());
        }
        ask(ENTRANCE).ok()
    });
    let took = began.elapsed().as_secs_f64();
    assert!(took <= PROMISED.as_secs_f64(), "the first answer took {took:.1} s; {PROMISED:?} are promised");
    let agent = agent.ready();
    let ((by, _), assignment) = (datapath(&agent, GATEWAY), agent.status().assignment);
    assert_split(&crate::client::tally(ENTRANCE, 200), 0.5);
    Found::right(format!("first answer after {took:.2} s; datapath {by}, assignment by {}", assignment.by))
}

/// Connections that the kernel decides for.
const ASSIGNED: usize = 200;

pub(super) fn assign(world: &World) -> Found {
    let _versions = versions();
    let agent = Agent::start(world, &["--assign", "kernel", "--datapath", "proxy"]);
    agent.apply(&(ground(&[ONE, TWO]) + &route(GATEWAY, [50, 50])));
    assert_split(&crate::client::tally(ENTRANCE, ASSIGNED), 0.5);
    let assignment = agent.status().assignment;
    let counted = (assignment.by.as_str(), assignment.kernel, assignment.agent);
    assert_eq!(counted, ("kernel", ASSIGNED as u64, 0), "who decided: {}", assignment.reason);
    Found::right(format!("{ASSIGNED} connections went as the kernel decided"))
}
