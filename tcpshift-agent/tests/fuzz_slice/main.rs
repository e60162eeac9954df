//! A slice of the fuzzing in every test run: a fixed number of mutated texts from fixed seeds.
#![expect(clippy::unwrap_used, reason = "a test")]

mod bodies;
mod mutate;

use std::fs;
use std::path::Path;

use mutate::Mutator;

/// Texts for the first body; half a minute for all in a debug build.
const CASES: usize = 26_000;

/// The examples, and every document of the table in `validation/`.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in [root.join("../examples/tcp-echo"), root.join("tests/validation")] {
        files.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    // Folders are listed in any order.
    files.sort();
    let mut corpus = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        if file.extension().is_some_and(|extension| extension == "txt") {
            let cases = text.split("=== ").filter_map(|case| case.split_once("\n\n"));
            corpus.extend(cases.map(|(_, document)| document.to_owned()));
        } else {
            corpus.push(text);
        }
    }
    assert!(corpus.len() > 300, "only {} texts", corpus.len());
    corpus
}

/// Texts that make a plan: the whole example, so that most mutants still have a route.
fn plans() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/tcp-echo");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let ground = format!("{}\n---\n{}\n---\n", read("services.yaml"), read("workload-entries.yaml"));
    vec![
        format!("{ground}{}", read("all-v1.yaml")),
        format!("{ground}{}\n---\n{}", read("all-v1.yaml").rsplit_once("---").unwrap().0, read("20-v2.yaml")),
    ]
}

#[test]
fn whatever_is_read_is_read_again_alike() {
    let corpus = corpus();
    let mut mutator = Mutator::new(1);
    let accepted: usize = (0..CASES).map(|_| bodies::reader(&mutator.text(&corpus))).sum();
    assert!(accepted > CASES / 10, "only {accepted} objects were accepted: the mutator is too wild");
}

#[test]
fn whatever_is_validated_is_spoken_of() {
    let corpus = corpus();
    let mut mutator = Mutator::new(3);
    let said: usize = (0..CASES / 20).map(|_| bodies::validates(&mutator.text(&corpus))).sum();
    assert!(said > CASES / 20, "only {said} problems and findings: the mutator is too tame");
}

#[test]
fn whatever_is_accepted_compiles() {
    let (corpus, plans) = (corpus(), plans());
    let mut mutator = Mutator::new(2);
    let mut routes = 0;
    for case in 0..CASES / 4 {
        let base = plans[case % plans.len()].clone();
        let one = mutator.text(&[base]);
        let text = if case % 3 == 0 { format!("{one}\n---\n{}", mutator.text(&corpus)) } else { one };
        routes += bodies::compiles(&text);
    }
    assert!(routes > CASES / 16, "only {routes} routes were compiled: the mutator is too wild");
}
