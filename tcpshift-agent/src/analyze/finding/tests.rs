//! Every call that makes a finding is reached by an example of `tests/messages/analyze`, so that the list of findings in
//! docs/analyze.md is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::REACHED;
use crate::analyze::{Input, analyze};
use crate::route::read::Document;
use crate::route::report::tests::form;

const BEFORE: form::When = form::When::Before;

#[test]
fn every_finding_has_an_example() {
    REACHED.take();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for chapter in form::chapters("analyze") {
        for example in chapter.examples() {
            let (agent, documents) = (example.agent(BEFORE), example.documents("analyze", BEFORE));
            let documents = documents.into_iter().map(|(name, text)| Document { name, text }).collect();
            drop(analyze(Input { documents, agent, ..Input::default() }));
        }
    }
    let reached = REACHED.take();
    let mut files = vec![root.join("src/analyze.rs")];
    collect(&root.join("src/analyze"), &mut files);
    let mut missing = BTreeSet::new();
    let mut calls = 0;
    for path in files {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        for (index, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let is_call = [" out.push(", " out.push_at(", " out.add("].iter().any(|call| line.contains(call));
            calls += usize::from(is_call);
            if is_call && !reached.iter().any(|(file, at)| file.ends_with(&name) && *at as usize == index + 1) {
                missing.insert(format!("{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert!(calls > 40, "{calls} calls are found");
    let missing: Vec<_> = missing.into_iter().collect();
    let (count, missing) = (missing.len(), missing.join("\n"));
    assert!(count == 0, "{count} of {calls} calls are reached by no example in tests/messages/analyze:\n{missing}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("finding/tests.rs") {
            files.push(path);
        }
    }
}
