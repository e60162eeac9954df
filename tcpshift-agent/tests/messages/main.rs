//! Every message of `validate` and `analyze` with its cure: the cure is applied, and the problem is gone.
//!
//! `validate/*.txt` has the messages about single objects and files, `analyze/*.txt` the findings about objects together.
//! A file is a chapter of the list in docs/analyze.md, which is written anew from these files by
//! `WRITE_DOCS=1 cargo test -p tcpshift-agent --test messages`. Its paragraphs are separated by empty lines:
//!
//! * `# TITLE` or, for a section, `## TITLE`; behind it a text for the list.
//! * Lines that begin with `|`: the first lines of the documents of all examples that follow, but of those with an `apiVersion`
//!   of their own.
//! * An example:
//!
//! ```text
//! error: weight «-1» < 0
//! field: spec.tcp[0].route[0].weight
//! cure: write 0 or more
//!  |spec:
//!  |  tcp:
//!  |  - route:
//!  |    - destination: {host: echo}
//! ->      weight: -1
//! +|      weight: 0
//! ```
//!
//! The head gives the level (`error` or `warning`; `Error [IST0101]` for a finding), the message with its variable parts in
//! «», the field, and the cure, which may have such parts too, all as they are printed. `namespace: NAME` is the namespace of the command, `command: apply` another one than `validate`; `beside: FILE…`
//! adds those files of the folder to the documents. The body begins with the first line that has a sign: ` ` for a line that
//! stands before and after, `-` for one that the cure removes, `+` for one that it adds. `|` ends the sign; `>` instead of it
//! marks a line that the message names. `-9|` is a line nine times, with `#` for its number, and `{U+0009}` a character that
//! could not be seen. `@FILE` begins another file; `@agent` one with the options by which the agent gets its labels.
//!
//! Before the cure the message has to be there for every marked line, with exactly this text. After it no problem of this
//! message may be left, and none may be new; of objects together nothing at all is found, but for `also: CODE`.

#![expect(clippy::unwrap_used, reason = "a test")]

mod docs;
mod form;
mod texts;

use std::collections::HashSet;

use form::{Example, When};
use tcpshift_agent::analyze::{self, Input, code};
use tcpshift_agent::route::problem::{Problem, Severity};
use tcpshift_agent::route::read::{self, Document};

/// A problem or a finding.
#[derive(Debug)]
struct Said {
    level: String,
    object: String,
    position: (String, usize),
    field: String,
    message: String,
    cure: String,
}

#[test]
fn each_cure_of_validate_removes_its_problem_and_makes_no_new_one() {
    all_are_right("validate", said_of_objects);
}

/// What `validate` says.
fn said_of_objects(example: &Example, when: When) -> Vec<Said> {
    let documents = documents("validate", example, when);
    let read = if example.option("command") == Some("apply") { read::read_in_order } else { read::read_all };
    let (_, problems) = read(&documents, example.option("namespace"));
    let said = |problem: Problem| Said {
        level: if problem.severity == Severity::Error { "error" } else { "warning" }.to_owned(),
        object: problem.object,
        position: (problem.file, problem.line),
        field: problem.field,
        message: problem.message,
        cure: problem.cure,
    };
    problems.into_iter().map(said).collect()
}

#[test]
fn an_example_that_is_not_true_is_refused() {
    let example = "error: weight «-1» < 0\nfield: spec.tcp[0].route[0].weight\ncure: write 0 or more\n \
        |apiVersion: networking.istio.io/v1\n |kind: VirtualService\n |metadata: {name: echo}\n |spec:\n |  hosts: [echo]\n \
        |  tcp:\n |  - route:\n->    - {destination: {host: echo}, weight: -1}\n+|    - {destination: {host: echo}, weight: 0}\n";
    let judged = |old: &str, new: &str| {
        assert!(example.contains(old), "{old}");
        let chapter = form::chapter("example.txt", &format!("# Title\n\n{}", example.replace(old, new)));
        judge("validate", chapter.examples().next().unwrap(), &said_of_objects)
    };
    assert_eq!(judged("weight", "weight"), Ok(()));
    for (old, new, why) in [
        ("or more", "or less", "is not there"),
        ("«-1» <", "«-2» <", "is not there"),
        ("error:", "warning:", "is not there"),
        ("[0].weight", "[1].weight", "is not there"),
        ("->", "-|", "is not there"),
        (" |  - route", " >  - route", "is not there"),
        ("cure: write 0 or more\n", "", "no cure is given"),
        ("+|    - {destination: {host: echo}, weight: 0}\n", "", "the cure leaves"),
        ("weight: 0", "weight: -2", "the cure leaves"),
        ("weight: 0", "wait: 0", "the cure leaves"),
    ] {
        let refused = judged(old, new).expect_err(new);
        assert!(refused.contains(why), "{new}: {refused}");
    }
}

#[test]
fn each_cure_of_analyze_removes_its_finding_and_makes_no_new_one() {
    all_are_right("analyze", |example, when| {
        let (documents, agent) = (documents("analyze", example, when), example.agent(when));
        let namespace = example.option("namespace").map(str::to_owned);
        let analysis = analyze::analyze(Input { documents, namespace, agent, ..Input::default() });
        assert!(analysis.unreadable.is_empty(), "{}: {:?}", example.position, analysis.unreadable);
        let said = |finding: analyze::Finding| Said {
            level: format!("{} [{}]", finding.level.name(), finding.code.id),
            object: finding.origin(),
            position: (finding.file, finding.line),
            field: finding.field,
            message: finding.message,
            cure: finding.cure,
        };
        analysis.findings.into_iter().map(said).collect()
    });
}

#[test]
fn every_code_has_its_examples() {
    let chapters = form::chapters("analyze");
    let titles: Vec<_> = chapters.iter().map(|chapter| chapter.title.clone()).collect();
    let codes: Vec<_> = code::ALL.iter().map(|code| format!("{} {}", code.id, code.name)).collect();
    assert_eq!(titles, codes);
    for (chapter, code) in chapters.iter().zip(code::ALL) {
        let of = |example: &Example| example.level.ends_with(&format!(" [{}]", code.id));
        assert!(
            chapter.examples().count() > 0 && chapter.examples().all(of),
            "{} has examples of other codes",
            code.id
        );
    }
}

fn documents(folder: &str, example: &Example, when: When) -> Vec<Document> {
    example.documents(folder, when).into_iter().map(|(name, text)| Document { name, text }).collect()
}

/// Judges every example of a folder by what `read` says of its documents.
fn all_are_right(folder: &str, read: impl Fn(&Example, When) -> Vec<Said>) {
    let chapters = form::chapters(folder);
    let examples: Vec<&Example> = chapters.iter().flat_map(form::Chapter::examples).collect();
    let wrong: Vec<String> = examples
        .iter()
        .filter_map(|example| judge(folder, example, &read).err().map(|why| format!("{}: {why}", example.position)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), examples.len(), wrong.join("\n"));
}

fn judge(folder: &str, example: &Example, read: &impl Fn(&Example, When) -> Vec<Said>) -> Result<(), String> {
    if example.cure.is_empty() || !example.lines.iter().any(|line| line.when != When::Always) {
        return Err("no cure is given, or none applied".to_owned());
    }
    let files = example.files(When::Before);
    let before = read(example, When::Before);
    let printed = |said: &[Said]| {
        let line = |said: &Said| {
            let Said { level, position, field, message, cure, .. } = said;
            format!(
                "\n    {}:{}: {level}: {message}\n        field: {field}\n        cure: {cure}",
                position.0, position.1
            )
        };
        said.iter().map(line).collect::<String>()
    };
    let is_it = |said: &&Said| {
        said.level == example.level
            && said.field == example.field
            && said.message == form::plain(&example.message)
            && said.cure == form::plain(&example.cure)
    };
    let found: HashSet<_> = before.iter().filter(is_it).map(|said| said.position.clone()).collect();
    let named = files.iter().flat_map(|file| file.named.iter().map(|line| (file.name.clone(), *line)));
    if found.is_empty() || found.iter().any(|position| position.1 > 0) && found != named.collect() {
        return Err(format!("the message is not there, or for other lines; said is{}", printed(&before)));
    }
    let after = read(example, When::After);
    let key = |said: &Said| (said.level.clone(), said.object.clone(), said.field.clone(), said.message.clone());
    let known: HashSet<_> = before.iter().map(key).collect();
    // Findings of objects together are shown by examples without any other flaw.
    let bad = |said: &Said| {
        let same = said.level == example.level && example.is_message(&said.message);
        let clean = folder == "analyze" && example.option("also").is_none_or(|code| !said.level.contains(code));
        same || clean || !known.contains(&key(said))
    };
    let after: Vec<Said> = after.into_iter().filter(bad).collect();
    if after.is_empty() { Ok(()) } else { Err(format!("the cure leaves{}", printed(&after))) }
}
