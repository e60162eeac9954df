//! `validate`: checks files without an agent.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;

use super::defaults::{self, AdminAddress};
use super::documents::Each;
use super::outcome;
use super::stop::{Done, Stop};
use super::{JsonOnly, Namespace, documents, quantity, screen};
use crate::analyze::{self, Input};
use crate::route::kind::Kind;
use crate::route::problem::{Problem, Severity};
use crate::route::read::{self, Document, ReadDocument};

const AFTER: &str = "\
Examples:
  tcpshift-agent validate examples/tcp-echo/20-v2.yaml
  tcpshift-agent validate examples/tcp-echo/services.yaml examples/tcp-echo/all-v1.yaml
  cat examples/tcp-echo/all-v1.yaml | tcpshift-agent validate -

Every problem is printed with its file and line, never only the first. Exit code 0 if nothing is wrong (warnings \
are fine), 65 if something is, 1 if a file cannot be read. Files given together belong together: an object that \
stands twice is an error.";

/// Check files; no agent is asked
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct ValidateArguments {
    /// Files, folders, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    namespace: Namespace,

    /// Print the summary and every problem as JSON, and nothing else
    #[arg(short, long, value_enum, value_name = "json", hide_possible_values = true)]
    output: Option<JsonOnly>,

    /// Print also what repeats: every document that is no object, and every message
    #[arg(long)]
    all: bool,

    // Accepted as by every command, so that a script may give it to all; there is nothing to ask an agent here.
    #[arg(long, hide = true, value_parser = defaults::admin_address)]
    admin: Option<AdminAddress>,
}

pub(super) fn execute(arguments: &ValidateArguments) -> Result<Done, Stop> {
    let ValidateArguments { files: given, namespace, output, all, admin: _ } = arguments;
    let paths = documents::files(given)?;
    let Each { documents, unusable, has_failed: unreadable } = documents::each(&paths)?;
    let files = documents.len() + unusable.len();
    let (entries, mut problems) = read::read_all(&documents, namespace.namespace.as_deref());
    problems.extend(unusable);
    problems.extend(told_everywhere(documents, namespace.namespace.clone()));
    let order: HashMap<String, usize> =
        paths.iter().enumerate().map(|(at, path)| (documents::name(path), at)).collect();
    problems.sort_by_key(|problem| (order.get(&problem.file).copied(), problem.line));
    let passed_over = entries.iter().filter(|entry| matches!(entry, ReadDocument::PassedOver { .. })).count();
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    screen::print(&match output {
        Some(JsonOnly::Json) => json(files, passed_over, errors, warnings, &problems)?,
        None => {
            if *all {
                outcome::all_problems(&problems);
            } else {
                outcome::problems(&problems);
            }
            format!("{}\n", summary(files, passed_over, errors, warnings))
        }
    })?;
    if output.is_none() && has_references(&entries) {
        let files: Vec<_> = given.iter().map(|path| path.display().to_string()).collect();
        let files = if files.len() > 3 { "FILE…".to_owned() } else { files.join(" ") };
        screen::note("Not checked here: whether the hosts, ports, subsets and gateways exist that objects");
        screen::note(&format!("refer to, and which rules are reached. See `tcpshift-agent analyze {files}`."));
    }
    Ok(match (unreadable, errors) {
        (true, _) => Done::Failed,
        (false, 0) => Done::Well,
        (false, _) => Done::Invalid,
    })
}

/// Whether there is something that only a look at all objects together can see.
fn has_references(entries: &[ReadDocument]) -> bool {
    let refers = |entry: &ReadDocument| {
        entry.key().is_some_and(|key| matches!(key.kind, Kind::VirtualService | Kind::DestinationRule | Kind::TcpRoute))
    };
    entries.iter().any(refers) || entries.iter().filter_map(ReadDocument::key).nth(1).is_some()
}

/// What goes wrong in silence although every object is valid by itself.
fn told_everywhere(documents: Vec<Document>, namespace: Option<String>) -> impl Iterator<Item = Problem> {
    let findings = analyze::analyze(Input { documents, namespace, ..Input::default() }).findings;
    findings.into_iter().filter(|finding| finding.code.is_told_everywhere()).map(|finding| Problem {
        severity: Severity::Warning,
        object: finding.origin(),
        file: finding.file,
        line: finding.line,
        field: finding.field,
        message: finding.message,
        cure: finding.cure,
    })
}

fn json(files: usize, passed: usize, errors: usize, warnings: usize, problems: &[Problem]) -> Result<String, Stop> {
    screen::json(&serde_json::json!({
        "files": files, "passedOver": passed, "errors": errors, "warnings": warnings, "problems": problems
    }))
}

fn summary(files: usize, passed_over: usize, errors: usize, warnings: usize) -> String {
    let count = |count: usize, noun| quantity::count(count as u64, noun);
    let files = count(files, "file");
    let verdict = match (errors, warnings) {
        (0, 0) => format!("{files}: no problem found"),
        (0, _) => format!("{files}: valid, {}", count(warnings, "warning")),
        _ => format!("{files}: {}, {}", count(errors, "error"), count(warnings, "warning")),
    };
    match passed_over {
        0 => verdict,
        1 => format!("{verdict}; 1 object of another kind passed over"),
        _ => format!("{verdict}; {passed_over} objects of other kinds passed over"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(1, 0, 0, 0), "1 file: no problem found");
        assert_eq!(summary(2, 0, 0, 1), "2 files: valid, 1 warning");
        assert_eq!(summary(2, 0, 1, 0), "2 files: 1 error, 0 warnings");
        assert_eq!(summary(1, 1, 0, 0), "1 file: no problem found; 1 object of another kind passed over");
        assert_eq!(summary(3, 2, 0, 1), "3 files: valid, 1 warning; 2 objects of other kinds passed over");
    }
}
