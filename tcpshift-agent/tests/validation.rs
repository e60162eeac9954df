//! The table of documents and verdicts: every file in `validation/` holds cases, one after another.
//!
//! A case begins with the line `=== NAME`. Then come `why: REASON`, `verdict: accept`, `warn` or `reject`, for the
//! last two `says: TEXT`, which has to be part of a problem's field and message, perhaps `cure: TEXT`, which has to be part
//! of its cure, an empty line, and the document.
//! `accept` means that there is nothing to say at all.
//!
//! Each document is written anew too, with every field on a line of its own: a problem has the line of its field.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use tcpshift_agent::route::problem::{Problem, Severity};
use tcpshift_agent::route::{read, yaml};

struct Case<'a> {
    name: &'a str,
    why: &'a str,
    verdict: &'a str,
    says: Option<&'a str>,
    cure: Option<&'a str>,
    document: &'a str,
}

#[test]
fn every_document_of_the_table_gets_its_verdict() {
    let mut names = HashSet::new();
    let mut mismatches = Vec::new();
    for (file, text) in files() {
        for case in cases(&text) {
            assert!(names.insert(case.name.to_owned()), "two cases are named {:?}", case.name);
            assert!(!case.why.is_empty(), "{}: no reason is given", case.name);
            if let Err(problem) = judge(&case) {
                mismatches.push(format!("{file}: {}: {problem}", case.name));
            }
        }
    }
    assert!(names.len() >= 300, "only {} cases are left", names.len());
    assert!(mismatches.is_empty(), "{} of {}:\n{}", mismatches.len(), names.len(), mismatches.join("\n"));
}

#[test]
fn documents_that_lack_a_line_or_have_odd_values_are_judged_too() {
    for (_, text) in files() {
        for Case { document, .. } in cases(&text).filter(|case| case.document.len() < 2000) {
            let lines: Vec<&str> = document.lines().collect();
            for missing in 0..lines.len() {
                let kept = lines.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, line)| *line);
                read::read("case.yaml", &kept.collect::<Vec<_>>().join("\n"), None);
            }
            for (old, new) in
                [("tcp", "\"\""), ("[", "[null, "), (": {", ": [{}] #"), ("1", "-9223372036854775808"), ("0", "é")]
            {
                read::read("case.yaml", &document.replace(old, new), None);
            }
        }
    }
}

#[test]
fn every_problem_has_the_line_of_its_field() {
    let (mut checked, mut mismatches) = (0, Vec::new());
    for (file, text) in files() {
        for case in cases(&text) {
            let [document] = yaml::read(case.document).nodes.try_into().expect("a case has one document");
            let lines = lines(&document.to_json(), "");
            let text = lines.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>().join("\n");
            let inside = if document.text("kind") == Some("List") { "items[0]." } else { "" };
            for problem in read::read("case.yaml", &text, None).problems {
                let expected = line_of(&format!("{inside}{}", problem.field), &lines);
                checked += 1;
                if problem.line != expected {
                    mismatches.push(format!("{file}: {}: line {expected} is expected: {problem}\n{text}", case.name));
                }
            }
        }
    }
    assert!(checked >= 500, "only {checked} problems are left");
    assert!(mismatches.is_empty(), "{} of {checked}:\n{}", mismatches.len(), mismatches.join("\n"));
}

/// A value as lines of YAML, each with the paths of what begins on it.
fn lines(value: &Json, path: &str) -> Vec<(String, Vec<String>)> {
    let indented = |lines: Vec<(String, Vec<String>)>| {
        lines.into_iter().map(|(line, paths)| (format!("  {line}"), paths)).collect::<Vec<_>>()
    };
    match value {
        Json::Object(fields) if !fields.is_empty() => {
            let field = |(name, value): (&String, &Json)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let mut inner = lines(value, &path);
                let name = Json::from(name.as_str());
                let is_block = matches!(value, Json::Object(inner) if !inner.is_empty())
                    || matches!(value, Json::Array(items) if !items.is_empty());
                if is_block {
                    inner = indented(inner);
                    inner.insert(0, (format!("{name}:"), vec![path]));
                } else {
                    inner[0] = (format!("{name}: {}", inner[0].0), vec![path]);
                }
                inner
            };
            fields.iter().flat_map(field).collect()
        }
        Json::Array(items) if !items.is_empty() => {
            let item = |(index, item): (usize, &Json)| {
                let path = format!("{path}[{index}]");
                let mut inner = indented(lines(item, &path));
                inner[0].0.replace_range(..1, "-");
                inner[0].1.push(path);
                inner
            };
            items.iter().enumerate().flat_map(item).collect()
        }
        scalar => vec![(scalar.to_string(), Vec::new())],
    }
}

/// The line of a field, or of what is nearest around it.
fn line_of(field: &str, lines: &[(String, Vec<String>)]) -> usize {
    let spelled = |name: &str| name.replace('_', "").to_lowercase();
    let field = spelled(field);
    let length = |path: &String| {
        let path = spelled(path);
        let rest = field.strip_prefix(&path)?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some(path.len())
    };
    let found = lines.iter().enumerate().flat_map(|(index, (_, paths))| paths.iter().map(move |path| (index, path)));
    let nearest = found.filter_map(|(index, path)| Some((length(path)?, index))).max_by_key(|(length, _)| *length);
    nearest.map_or(1, |(_, index)| index + 1)
}

/// Name and text of every file of the table.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validation");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("the table is there").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let read = |file: &Path| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, fs::read_to_string(file).expect("a file of the table is text"))
    };
    files.iter().map(|file| read(file)).collect()
}

fn cases(text: &str) -> impl Iterator<Item = Case<'_>> {
    text.split("\n=== ").enumerate().filter_map(|(index, case)| {
        let case = if index == 0 { case.strip_prefix("=== ")? } else { case };
        let (head, document) = case.split_once("\n\n").unwrap_or_else(|| panic!("no document: {case}"));
        let (name, rest) = head.split_once('\n').unwrap_or_else(|| panic!("no verdict: {case}"));
        let field = |name: &str| rest.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let why = field("why").unwrap_or_default();
        let verdict = field("verdict").unwrap_or_else(|| panic!("no verdict: {case}"));
        Some(Case { name, why, verdict, says: field("says"), cure: field("cure"), document })
    })
}

fn judge(case: &Case<'_>) -> Result<(), String> {
    let problems = read::read("case.yaml", case.document, None).problems;
    let of = |severity| problems.iter().filter(move |problem: &&Problem| problem.severity == severity);
    let said = |severity| {
        let wanted = case.says.unwrap_or_else(|| panic!("{}: nothing is expected to be said", case.name));
        of(severity).any(|problem| {
            format!("{}: {}", problem.field, problem.message).contains(wanted)
                && problem.cure.contains(case.cure.unwrap_or_default())
        })
    };
    let (errors, warnings) = (of(Severity::Error).count(), of(Severity::Warning).count());
    let right = match case.verdict {
        "accept" => errors == 0 && warnings == 0,
        "warn" => errors == 0 && said(Severity::Warning),
        "reject" => said(Severity::Error),
        other => panic!("{}: {other:?} is no verdict", case.name),
    };
    if let Some(problem) = problems.iter().find(|problem| problem.line == 0 || problem.object.is_empty()) {
        return Err(format!("a problem without line or object: {problem}"));
    }
    if right {
        return Ok(());
    }
    let all: Vec<_> = problems.iter().map(|problem| format!("\n    {problem}")).collect();
    Err(format!("{} is expected, {errors} errors and {warnings} warnings found{}", case.verdict, all.concat()))
}
