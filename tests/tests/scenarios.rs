//! The scenarios of the kernel matrix, on the kernel that runs: the same program and the same bodies that are tried in
//! machines of other kernels.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tcpshift_tests::process::{Output, run};
use tcpshift_tests::scenarios::all;
use tcpshift_tests::until::{seconds, until};
use tcpshift_tests::world::cgroup2;

/// Runs `scenarios WORDS`, with a patience.
fn scenarios(words: &[&str], patience: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scenarios"));
    command.args(words).env("TCPSHIFT_PATIENCE", patience);
    run(command, b"", seconds(300))
}

/// What it printed: a value a line.
fn lines(output: &Output) -> Vec<Value> {
    let parsed = output.stdout.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Panics unless every row of a name is right.
#[track_caller]
fn assert_right(name: &str) {
    let output = scenarios(&["run", name], "3");
    let wrong: Vec<_> = output.stdout.lines().filter(|line| !line.contains("\"verdict\":\"right\"")).collect();
    let wrong: Vec<_> = wrong.into_iter().filter(|line| !line.starts_with("{\"doctor\":")).collect();
    assert!(wrong.is_empty() && output.status == 0, "{wrong:#?}\n{}", output.stderr);
}

/// A test for each kind of scenario, and the names of all.
macro_rules! kinds {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            assert_right($name);
        })*

        const NAMES: &[&str] = &[$($name),*];
    };
}

kinds! {
    doctor_short: "doctor short",
    auto: "auto",
    assign: "assign",
    map: "map",
    unload: "unload",
    walk_proxy: "walk proxy",
    walk_lookup: "walk lookup",
    walk_connect: "walk connect",
    bytes_proxy: "bytes proxy",
    bytes_lookup: "bytes lookup",
    bytes_connect: "bytes connect",
    edits: "edits",
    kill: "kill",
    takeover: "takeover",
    sigterm: "sigterm",
    neighbour: "neighbour",
    everywhere: "everywhere",
    refused: "refused",
}

#[test]
fn every_scenario_is_tried_here() {
    for row in all() {
        let tried = |name: &&&str| row.name == **name || row.name.starts_with(&format!("{name} "));
        assert!(row.name == "doctor" || NAMES.iter().any(|name| tried(&name)), "{} has no test", row.name);
    }
}

#[test]
fn doctor_hands_on_the_whole_report() {
    let output = scenarios(&["run", "doctor"], "3").expect(0);
    let [verdict, report] = <[Value; 2]>::try_from(lines(&output)).unwrap();
    assert_eq!((&verdict["scenario"], &verdict["verdict"]), (&"doctor".into(), &"right".into()), "{verdict}");
    assert!(verdict["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{verdict}");
    let programs = report["doctor"]["programs"].as_array().unwrap();
    assert!(programs.len() >= 9 && programs.iter().all(|program| program["verified"].as_u64() > Some(10)), "{report}");
}

#[test]
fn one_that_is_not_done_in_time_is_late_and_ends() {
    let output = scenarios(&["run", "--within", "1", "bytes lookup v4"], "0.1").expect(1);
    let line = &lines(&output)[0];
    assert_eq!(line["verdict"], "late", "{line}");
    assert!(line["said"].as_str().unwrap().starts_with("not done within "), "{line}");
    assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds < 5.0), "{line}");
}

#[test]
fn one_that_is_late_leaves_no_control_group() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_scenarios"));
    // Its connections alone take longer.
    command.args(["run", "--within", "1", "kill connect"]).env("TMPDIR", folder.path());
    let late = std::thread::spawn(move || run(command, b"", seconds(60)));
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let cgroup = until("its world is made", seconds(20), || {
        let world = entries(folder.path()).flat_map(|session| entries(&session)).find(|path| path.is_dir())?;
        Some(cgroup2().join(world.file_name()?)).filter(|cgroup| cgroup.exists())
    });
    let output = late.join().unwrap().expect(1);
    assert_eq!(lines(&output)[0]["verdict"], "late", "{output:?}");
    assert!(!cgroup.exists(), "{} stays", cgroup.display());
}

#[test]
fn a_wrong_one_says_what_the_agent_said() {
    // Without CAP_BPF a world can be made, and no client can be steered: the agent says so, and ends.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-bpf", "--inh-caps", "-bpf"]);
    command.arg(env!("CARGO_BIN_EXE_scenarios")).args(["run", "walk lookup v4"]);
    let output = run(command, b"", seconds(60)).expect(1);
    let line = &lines(&output)[0];
    let said = line["said"].as_str().unwrap();
    assert_eq!(line["verdict"], "wrong", "{line}");
    assert!(said.contains("no client can be steered: this process lacks CAP_BPF"), "{said}");
    assert!(said.len() < 2_200, "{} bytes", said.len());
}

#[test]
fn names_are_the_lists_own_or_their_first_words() {
    let list = scenarios(&["list"], "1").expect(0).stdout;
    assert_eq!(list.lines().count(), all().len());
    assert!(list.lines().all(|line| line.len() > 24), "{list}");
    let output = scenarios(&["run", "wal"], "1").expect(2);
    assert!(output.stdout.contains("no scenario is named \"wal\""), "{output:?}");
    scenarios(&["run", "--within", "0"], "1").expect(2);
    scenarios(&[], "1").expect(2);
    let needs: Value = serde_json::from_str(&scenarios(&["needs"], "1").expect(0).stdout).unwrap();
    for program in needs["programs"].as_array().unwrap() {
        let beside = Path::new(env!("CARGO_BIN_EXE_scenarios")).with_file_name(program.as_str().unwrap());
        assert!(beside.exists(), "{} is not there", beside.display());
    }
}
