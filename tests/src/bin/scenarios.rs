//! Tries the scenarios of [`tcpshift_tests::scenarios`] on the kernel that runs, one after the other, and says what each came
//! to: a line of JSON for each.
//!
//! Scenarios of one session run in a child process. Its process group is killed when one of them is late, so a scenario that
//! hangs or dies does not affect other sessions.
#![allow(clippy::print_stdout, reason = "what it says on standard output is what it is for")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tcpshift_tests::scenarios::{MODULES, PROGRAMS, Scenario, TOOLS, all, attempt, logs};
use tcpshift_tests::until::{PAUSE, patient};
use tcpshift_tests::world::remove_cgroups;

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
        ["session", ref names @ ..] => session(names),
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
    // A full name selects that row alone: `doctor` does not select `doctor short`.
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
    for session in rows.chunk_by(|one, other| one.session == other.session) {
        let mut left = session;
        while !left.is_empty() {
            let (tried, all_right) = told(left, patient(within));
            right &= all_right;
            left = &left[tried..];
        }
    }
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tries rows of a session in a process of their own, and prints what each came to, until all are tried, one is late, or the
/// process dies. The last one is late, too, if the process does not end in as much time again. Returns how many were tried,
/// and whether all of these are right.
fn told(rows: &[Scenario], within: Duration) -> (usize, bool) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut child = Command::new(std::env::current_exe().expect("a running program has a path"));
    child.arg("session").args(rows.iter().map(|row| &row.name));
    let complaints = folder.path().join("complaints");
    let stderr = File::create(&complaints).expect("a file can be made in a folder of one's own");
    // The folders of its worlds are in this one, so that they are removed though it may be killed. A process group of its own
    // is killed as a whole.
    child.env("TMPDIR", folder.path()).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let mut child = child.spawn().expect("a running program can be started");
    let stdout = child.stdout.take();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let lines = stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).map_while(Result::ok);
        // The receiver is gone once a scenario was late.
        let _unread = lines.into_iter().try_for_each(|line| sender.send(line)).is_err();
    });
    let mut right = true;
    for (at, row) in rows.iter().enumerate() {
        let began = Instant::now();
        let line = lines.recv_timeout(within);
        let found = line.as_ref().ok().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let (mut verdict, mut said) = match (&line, &found) {
            (_, Some(found)) => {
                let verdict = if found["right"] == true { "right" } else { "wrong" };
                (verdict, found["said"].as_str().unwrap_or_default().to_owned())
            }
            (Err(RecvTimeoutError::Timeout), _) => {
                end(&mut child, folder.path());
                ("late", format!("not done within {:.0} s{}", within.as_secs_f64(), logs(folder.path())))
            }
            _ => {
                end(&mut child, folder.path());
                let said = std::fs::read(&complaints).unwrap_or_default();
                ("wrong", format!("its process died: {}", last(&String::from_utf8_lossy(&said))))
            }
        };
        if found.is_some() && at + 1 == rows.len() && !ends(&mut child, within) {
            end(&mut child, folder.path());
            (verdict, said) = ("late", format!("it was {verdict}, but its process did not end: {said}"));
        }
        let seconds = (began.elapsed().as_secs_f64() * 100.0).round() / 100.0;
        say(&json!({ "scenario": row.name, "verdict": verdict, "seconds": seconds, "said": said }));
        right &= verdict == "right";
        let Some(found) = found else { return (at + 1, false) };
        if !found["doctor"].is_null() {
            say(&json!({ "doctor": found["doctor"] }));
        }
    }
    (rows.len(), right)
}

/// Whether a process ends within a time.
fn ends(child: &mut Child, within: Duration) -> bool {
    let began = Instant::now();
    loop {
        if child.try_wait().expect("a child can be waited for").is_some() {
            return true;
        }
        if began.elapsed() >= within {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Kills a process and its group, and removes the control groups of the worlds that it made in a folder.
fn end(child: &mut Child, folder: &Path) {
    let group = Pid::from_child(child);
    let _already_dead = kill_process_group(group, Signal::KILL).is_err();
    let _status = child.wait().expect("a child can be waited for");
    remove_cgroups(folder);
}

/// The last 1,500 characters.
fn last(text: &str) -> String {
    let all = text.trim().chars().count();
    text.trim().chars().skip(all.saturating_sub(1_500)).collect()
}

/// The process of a session: prints what each of its rows comes to.
fn session(names: &[&str]) -> ExitCode {
    let rows: Vec<_> = all().into_iter().filter(|row| names.contains(&row.name.as_str())).collect();
    attempt(&rows, |_, found| {
        say(&json!({ "right": found.right, "said": found.said, "doctor": found.doctor }));
    });
    ExitCode::SUCCESS
}

/// Prints a line at once.
fn say(line: &Value) {
    println!("{line}");
    std::io::stdout().flush().expect("standard output can be written to");
}
