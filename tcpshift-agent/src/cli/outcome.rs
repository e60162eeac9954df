//! The exit code of a command, and its errors and warnings on standard error.

use std::process::ExitCode;

use super::repeats::{self, Line};
use super::stop::{Done, Stop};
use super::{defaults, screen};
use crate::admin::api::{ApiFailure, FailureReason};
use crate::admin::client::{self, Silence};
use crate::route::problem::{Problem, Severity};

/// Prints the error of a command, and returns its exit code.
pub(super) fn exit_code(result: Result<Done, Stop>) -> ExitCode {
    ExitCode::from(match result {
        Ok(Done::Well) | Err(Stop::ClosedPipe) => 0,
        Ok(Done::Failed) => 1,
        Ok(Done::Invalid) => 65,
        Ok(Done::Found) => 79,
        // EX_TEMPFAIL of sysexits.h: try again.
        Ok(Done::Unfinished) => 75,
        Err(Stop::Usage(message)) => {
            screen::error(&message);
            screen::complain("\nFor more information, try '--help'.");
            2
        }
        Err(Stop::Invalid(problem)) => {
            problems(std::slice::from_ref(&problem));
            65
        }
        Err(Stop::Failed(message)) => {
            screen::error(&message);
            1
        }
        Err(Stop::Agent(client::ClientError::Failure(failure))) => refused(&failure),
        Err(Stop::Agent(error @ (client::ClientError::NoAgent(_) | client::ClientError::Denied(_)))) => {
            screen::error(&error.to_string());
            if let Some(hint) = defaults::hint() {
                screen::complain(&hint);
            }
            1
        }
        Err(Stop::Agent(client::ClientError::Silent(silence))) => {
            let (cure, consequence) = (cure(&silence), silence.consequence());
            screen::error(&client::ClientError::Silent(silence).to_string());
            consequence.into_iter().for_each(screen::note);
            screen::note(&format!("hint: {cure}"));
            1
        }
        Err(Stop::Agent(error)) => {
            screen::error(&error.to_string());
            1
        }
    })
}

/// What to do about an agent that does not answer.
fn cure(Silence { path, pid, is_in, .. }: &Silence) -> String {
    match pid {
        Some(pid) if is_stopped(*pid) => {
            format!("process {pid} is stopped, by SIGSTOP or a debugger: `kill -CONT {pid}` lets it go on")
        }
        Some(pid) => format!("see its log, and `top -p {pid}`; --timeout waits longer"),
        None if *is_in => "see its log; --timeout waits longer".to_owned(),
        None => format!("`ss -lxp src {}` shows its process; --timeout waits longer", path.display()),
    }
}

/// Whether a process is stopped by a signal or a debugger (proc(5), `/proc/PID/stat`).
fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state may contain any character, also a bracket.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('T' | 't'))
}

fn refused(failure: &ApiFailure) -> u8 {
    problems(&failure.problems);
    match failure.reason {
        // kubectl's words, which scripts look for.
        FailureReason::NotFound => screen::error_from_server("NotFound", &failure.message),
        _ => screen::error(&failure.message),
    }
    match failure.reason {
        // As a file that is too large.
        FailureReason::Invalid | FailureReason::TooLarge => 65,
        FailureReason::Guarded => 3,
        _ => 1,
    }
}

/// Prints problems, one a line; repetitions share a line.
pub(super) fn problems(problems: &[Problem]) {
    for line in repeats::fold(problems) {
        match line {
            Line::One(problem, others) => {
                let text = format!("{problem}{}", repeats::more(others));
                screen::problem(&text, problem.severity == Severity::Error);
            }
            Line::NoObjects(documents, files) => {
                let text = repeats::no_objects(documents, files, "validate");
                screen::problem(&format!("error: {text}"), true);
            }
        }
    }
}

/// Prints problems, one a line.
pub(super) fn all_problems(problems: &[Problem]) {
    for problem in problems {
        screen::problem(&problem.to_string(), problem.severity == Severity::Error);
    }
}
