//! What the machine can do: by `doctor`, and by an agent without options.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::{Agent, cli};
use crate::client::ask;
use crate::maps::{attached, pinned};
use crate::process::{Output, built, command, grouped, run};
use crate::steer::{assert_split, datapath};
use crate::until::{patient, seconds, until};
use crate::world::World;

use super::case::Case;
use super::{Verdict, bounded};

/// How long a person waits for `doctor`, and for an agent's first answer: the promise.
const PROMISED: Duration = Duration::from_secs(10);

/// The exit code of a `doctor` that has no time left.
const UNFINISHED: i32 = 75;

/// Lines that `doctor` has, at most.
const LINES: usize = 60;

/// Runs `doctor` in the world's control group.
fn ask_doctor(world: &World, words: &[&str]) -> Output {
    let mut doctor = command(built("tcpshift-agent"));
    doctor.arg("doctor").args(words);
    run(grouped(world.cgroup(), &doctor), b"", seconds(30))
}

pub(super) fn doctor(case: &Case<'_>) -> Verdict {
    let read = |words: &[&str]| {
        let output = ask_doctor(case.world, words);
        let report = serde_json::from_str::<Value>(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "doctor -o json prints no JSON: {error}; exit code {}: {}{}",
                output.status, output.stdout, output.stderr
            )
        });
        (output.status, report)
    };
    // The verifier is slow on an emulated machine.
    let (mut status, mut report) = read(&["-o", "json", "--within", "600"]);
    let is_bad = |program: &&Value| program["works"] != true;
    if report["programs"].as_array().is_none_or(|programs| programs.iter().any(|program| is_bad(&program))) {
        // It stops at the first program that is refused; with its logs it tries each.
        let logs = case.world.folder("logs");
        (status, report) = read(&["-o", "json", "--log", &logs.display().to_string()]);
    }
    let programs = report["programs"].as_array().map_or(&[][..], Vec::as_slice);
    let bad: Vec<&Value> = programs.iter().filter(is_bad).collect();
    let found = if status == 0 && bad.is_empty() && !programs.is_empty() {
        Verdict::right(format!("{} programs load and work", programs.len()))
    } else {
        let (not_tried, bad): (Vec<_>, Vec<_>) = bad.into_iter().partition(|program| program["state"] == "notTried");
        let said: Vec<String> = bad.into_iter().map(said).collect();
        let said = format!("exit code {status}; {}; {} not tried", said.join("; "), not_tried.len());
        Verdict::wrong(bounded(&said, super::MESSAGE))
    };
    Verdict { doctor: Some(report), ..found }
}

/// Why a program does not work, in a line.
fn said(program: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = program["said"].as_array().map_or(&[][..], Vec::as_slice).iter().map(text);
    let parts = ["found", "errno", "reason"].map(|name| text(&program[name]));
    let parts: Vec<String> = parts.into_iter().chain(lines).filter(|part| !part.is_empty()).collect();
    format!("{}: {}", text(&program["name"]), parts.join(": "))
}

pub(super) fn short(case: &Case<'_>) -> Verdict {
    let began = Instant::now();
    let output = ask_doctor(case.world, &[]);
    let (took, text) = (began.elapsed(), output.stdout + &output.stderr);
    let lines = text.lines().count();
    assert!(
        [0, 1, UNFINISHED].contains(&output.status),
        "exit code {}: {}",
        output.status,
        bounded(&text, super::MESSAGE)
    );
    assert!(text.contains("PROGRAM") && text.contains("assign"), "it says nothing of programs: {text}");
    assert!(lines <= LINES, "{lines} lines in {:.1} s; {LINES} are promised", took.as_secs_f64());
    assert!(took <= PROMISED, "{lines} lines took {:.1} s; {PROMISED:?} are promised", took.as_secs_f64());
    let code = output.status;
    Verdict::right(format!("{lines} lines in {:.1} s, exit code {code}", took.as_secs_f64()))
}

pub(super) fn auto(case: &Case<'_>) -> Verdict {
    let _versions = case.versions();
    let file = case.world.write("all.yaml", case.objects([50, 50]).to_string());
    let options = case.options().into_iter().map(OsString::from).chain([file.into_os_string()]).collect::<Vec<_>>();
    let program = command(built("tcpshift-agent"));
    let began = Instant::now();
    let mut agent = Agent::launch(case.world, "agent", program, &options);
    until("a connection is answered", PROMISED, || {
        if let Some(status) = agent.process().ended() {
            panic!("the agent ended at start with {status}: {}", agent.log());
        }
        ask(case.address()).ok()
    });
    let took = began.elapsed().as_secs_f64();
    let agent = agent.ready();
    let ((by, _), assignment) = (datapath(&agent, case.route()), agent.status().assignment);
    // What the verifier has to do takes the longer on a machine that is emulated. Nobody waits for what it refuses.
    let promised = if assignment.by == "kernel" { patient(PROMISED) } else { PROMISED };
    assert!(took <= promised.as_secs_f64(), "the first answer took {took:.1} s; {promised:?} are promised");
    assert_split(&case.tally(ASSIGNED), 0.5);
    Verdict::right(format!("first answer after {took:.2} s; datapath {by}, assignment by {}", assignment.by))
}

/// Connections that the kernel decides for.
const ASSIGNED: usize = 100;

pub(super) fn assign(case: &Case<'_>) -> Verdict {
    let (agent, _versions) = case.served([50, 50]);
    assert_split(&case.tally(ASSIGNED), 0.5);
    let assignment = agent.status().assignment;
    let counted = (assignment.by.as_str(), assignment.kernel, assignment.agent);
    assert_eq!(counted, ("kernel", ASSIGNED as u64, 0), "who decided: {}", assignment.reason);
    case.keep(agent);
    Verdict::right(format!("{ASSIGNED} connections went as the kernel decided"))
}

pub(super) fn unload(case: &Case<'_>) -> Verdict {
    let (mut agent, _versions) = case.served([50, 50]);
    agent.process().kill();
    let links = attached(case.world).len();
    assert!(links > 0, "what is pinned outlives the agent");
    let said = cli(&[], &["unload"], b"").expect(0).stdout;
    assert_eq!((pinned(case.world), attached(case.world)), (Vec::new(), Vec::new()), "what is pinned, and attached");
    Verdict::right(said.trim())
}
