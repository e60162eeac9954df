//! `validate`: checks files without an agent.

use std::path::PathBuf;

use clap::Args;

use super::outcome::{self, Done, Stop};
use super::{Format, Namespace, documents, screen};
use crate::route::problem::{Problem, Severity};
use crate::route::read;

const AFTER: &str = "\
Examples:
  tcpshift-agent validate routes.yaml
  tcpshift-agent validate routes/ more.yaml

Every problem is printed with its file and line, never only the first. Exit code 0 if nothing is wrong (warnings \
are fine), 65 if something is, 1 if a file cannot be read. No agent is asked.";

/// Check files, without an agent
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct Arguments {
    /// Files, folders, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    namespace: Namespace,

    /// Print the summary and every problem as JSON
    #[arg(short, long, value_enum, value_name = "json", hide_possible_values = true)]
    output: Option<Format>,
}

pub(super) fn execute(arguments: &Arguments) -> Result<Done, Stop> {
    let names = documents::names(&arguments.files)?;
    let mut unreadable = false;
    let (mut documents, mut unusable) = (Vec::new(), Vec::new());
    for name in &names {
        match documents::document(name) {
            Ok(document) => documents.push(document),
            Err(Stop::Invalid(problem)) => unusable.push(*problem),
            Err(Stop::Failed(message)) => {
                unreadable = true;
                screen::error(&message);
            }
            Err(stop) => return Err(stop),
        }
    }
    let files = documents.len() + unusable.len();
    let (_, mut problems) = read::read_all(&documents, arguments.namespace.namespace.as_deref());
    problems.splice(..0, unusable);
    outcome::problems(&problems);
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    screen::print(&match arguments.output {
        Some(Format::Json) => json(files, errors, warnings, &problems)?,
        None => format!("{}\n", summary(files, errors, warnings)),
    })?;
    Ok(match (unreadable, errors) {
        (true, _) => Done::Failed,
        (false, 0) => Done::Well,
        (false, _) => Done::Invalid,
    })
}

fn json(files: usize, errors: usize, warnings: usize, problems: &[Problem]) -> Result<String, Stop> {
    screen::json(&serde_json::json!({ "files": files, "errors": errors, "warnings": warnings, "problems": problems }))
}

fn summary(files: usize, errors: usize, warnings: usize) -> String {
    let count = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let files = count(files, "file");
    match (errors, warnings) {
        (0, 0) => format!("{files}: no problem found"),
        (0, _) => format!("{files}: valid, {}", count(warnings, "warning")),
        _ => format!("{files}: {}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(1, 0, 0), "1 file: no problem found");
        assert_eq!(summary(2, 0, 1), "2 files: valid, 1 warning");
        assert_eq!(summary(2, 1, 0), "2 files: 1 error, 0 warnings");
    }
}
