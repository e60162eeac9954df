//! Every call that reports a problem is reached by an example of `tests/messages/validate`, so that the list of messages in
//! docs/analyze.md is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::REACHED;
use crate::route::read::{self, Document};

#[expect(dead_code, reason = "the tests of messages use the rest")]
#[path = "../../../tests/messages/form.rs"]
pub(crate) mod form;

/// What reports a problem.
const CALLS: [&str; 5] = [".error(", ".warning(", ".fault(", ".unreadable(", ".unread("];

#[test]
fn every_call_that_reports_a_problem_has_an_example() {
    drop(REACHED.take());
    for chapter in form::chapters("validate") {
        for example in chapter.examples() {
            let documents = example.documents("validate", form::When::Before).into_iter();
            let documents: Vec<_> = documents.map(|(name, text)| Document { name, text }).collect();
            drop(read::read_all(&documents, example.option("namespace")));
        }
    }
    let reached = REACHED.take();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src/route"), &mut files);
    let (mut missing, mut calls) = (BTreeSet::new(), 0);
    for path in files {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        for (line, text) in (1..).zip(fs::read_to_string(&path).unwrap().lines()) {
            if text.trim_start().starts_with("//") || !CALLS.iter().any(|call| text.contains(call)) {
                continue;
            }
            calls += 1;
            if !reached.iter().any(|(file, at)| file.ends_with(&name) && *at == line) {
                missing.insert(format!("\n{name}:{line}: {}", text.trim()));
            }
        }
    }
    assert!(calls > 200, "{calls} calls are found");
    let count = missing.len();
    let missing: String = missing.into_iter().collect();
    assert!(count == 0, "{count} of {calls} calls are reached by no example in tests/messages/validate:{missing}");
}

/// The sources of a folder but those of this room of reports.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs")
            && !path.ends_with("report.rs")
            && !path.ends_with("report/tests.rs")
        {
            files.push(path);
        }
    }
}
