//! Tries the scenarios of [`tcpshift_tests::scenarios`] on the kernel that runs, one after the other, and says what each came
//! to: a line of JSON for each.
//!
//! Each has a process of its own, whose group is killed at the deadline: a scenario that hangs or dies takes no other with it.
#![allow(clippy::print_stdout, reason = "what it says on standard output is what it is for")]

use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tcpshift_tests::process::attempt;
use tcpshift_tests::scenarios::{MODULES, PROGRAMS, Scenario, TOOLS, all, logs};
use tcpshift_tests::until::patient;

const USAGE: &str = "\
usage: scenarios list
       scenarios needs
       scenarios run [--within SECONDS] [NAME...]
list prints a line for each scenario, its name and what is tried; needs prints
what has to be there, as JSON. run tries those of the names, or all: a name is
one of the list's, or its first words, as `walk lookup`. For each it prints
    {\"scenario\":NAME,\"verdict\":\"right\"|\"wrong\"|\"late\",\"seconds\":S,\"said\":TEXT}
and behind that of `doctor` {\"doctor\":REPORT}, as doctor -o json prints it.
A scenario has SECONDS, 60 if they are not given, times TCPSHIFT_PATIENCE.
Exit codes: 0 all are right, 1 some are not, 2 usage.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            for row in all() {
                println!("{:<20} {}", row.name, row.what);
            }
            ExitCode::SUCCESS
        }
        ["needs"] => {
            println!("{}", json!({ "programs": PROGRAMS, "tools": TOOLS, "modules": MODULES }));
            ExitCode::SUCCESS
        }
        ["one", name] => one(name),
        ["run", "--within", seconds, ref names @ ..] => match seconds.parse() {
            Ok(seconds) if seconds > 0 => run(Duration::from_secs(seconds), names),
            _ => usage("SECONDS is a whole number above 0"),
        },
        ["run", ref names @ ..] => run(Duration::from_mins(1), names),
        _ => usage("one of list, needs and run"),
    }
}

fn usage(why: &str) -> ExitCode {
    println!("{why}\n{USAGE}");
    ExitCode::from(2)
}

/// The rows of names, in the table's order; a name of none is an error.
fn chosen(names: &[&str]) -> Result<Vec<Scenario>, String> {
    let is = |row: &Scenario, name: &str| row.name == name || row.name.starts_with(&format!("{name} "));
    if let Some(unknown) = names.iter().find(|name| !all().iter().any(|row| is(row, name))) {
        return Err(format!("no scenario is named {unknown:?}; scenarios list names them"));
    }
    // A name that is a row's own means no other: `doctor` is not `doctor short`.
    let exact = |name: &str| all().iter().any(|row| row.name == name);
    let wanted = |row: &Scenario| {
        names.is_empty() || names.iter().any(|name| row.name == *name || !exact(name) && is(row, name))
    };
    Ok(all().into_iter().filter(wanted).collect())
}

fn run(within: Duration, names: &[&str]) -> ExitCode {
    let rows = match chosen(names) {
        Ok(rows) => rows,
        Err(why) => return usage(&why),
    };
    let mut right = true;
    for row in rows {
        let (verdict, doctor) = tried(&row, within);
        right &= verdict["verdict"] == "right";
        say(&verdict);
        if let Some(report) = doctor {
            say(&json!({ "doctor": report }));
        }
    }
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tries a row in a process of its own. Returns its line, and the report of `doctor` if it has one.
fn tried(row: &Scenario, within: Duration) -> (Value, Option<Value>) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut child = Command::new(std::env::current_exe().expect("a running program has a path"));
    // The folder of its world is in it, which outlasts one that is killed.
    child.args(["one", &row.name]).env("TMPDIR", folder.path());
    let began = Instant::now();
    let output = attempt(child, b"", within);
    let seconds = (began.elapsed().as_secs_f64() * 100.0).round() / 100.0;
    let (verdict, said, doctor) = match output {
        Err(_) => {
            let log = logs(folder.path());
            ("late", format!("not done within {:.0} s{log}", patient(within).as_secs_f64()), None)
        }
        Ok(output) => match serde_json::from_str::<Value>(&output.stdout) {
            Ok(mut found) => {
                let verdict = if found["right"] == true { "right" } else { "wrong" };
                let doctor = Some(found["doctor"].take()).filter(|report| !report.is_null());
                (verdict, found["said"].as_str().unwrap_or_default().to_owned(), doctor)
            }
            Err(_) => ("wrong", format!("it died: exit code {}; {}", output.status, last(&output.stderr)), None),
        },
    };
    (json!({ "scenario": row.name, "verdict": verdict, "seconds": seconds, "said": said }), doctor)
}

/// The last 1,500 characters.
fn last(text: &str) -> String {
    let all = text.trim().chars().count();
    text.trim().chars().skip(all.saturating_sub(1_500)).collect()
}

/// The process of one row: prints what it comes to.
fn one(name: &str) -> ExitCode {
    let Some(row) = all().into_iter().find(|row| row.name == name) else {
        return usage(&format!("no scenario is named {name:?}"));
    };
    let found = row.attempt();
    println!("{}", json!({ "right": found.right, "said": found.said, "doctor": found.doctor }));
    ExitCode::SUCCESS
}

/// Prints a line at once.
fn say(line: &Value) {
    println!("{line}");
    std::io::stdout().flush().expect("standard output can be written to");
}
