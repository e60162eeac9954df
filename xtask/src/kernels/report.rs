//! What came of kernels: lines while they run, a table at the end, and docs/kernels.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::budgets::verified;
use super::exceptions::EXCEPTIONS;
use super::verdict::{Judged, ScenarioVerdict};
use super::version::Version;
use super::{REPORT, Tried};

/// One verdict, as it comes.
pub(super) fn line(kernel: Version, verdict: &ScenarioVerdict, judged: Judged) -> String {
    let ScenarioVerdict { scenario, seconds, said, .. } = verdict;
    let said = one_line(said);
    let state = match judged {
        Judged::Right => "right".to_owned(),
        Judged::Expected(_) => "fails, as expected".to_owned(),
        Judged::Wrong => format!("WRONG: {said}"),
        Judged::RightAgain(why) => format!("RIGHT, and listed as one that fails: {why}"),
        Judged::Otherwise(why) => format!("WRONG otherwise than listed: {said}\nlisted is: {why}"),
    };
    format!("{:<9} {scenario:<20} {seconds:>6.1} s   {state}", kernel.to_string())
}

/// All kernels beside each other, as many in a row as 80 columns hold.
pub(super) fn table(tried: &[Tried]) -> String {
    let mut text = String::new();
    for tried in tried.chunks(5) {
        let row = |text: &mut String, name: &str, cells: Vec<String>| {
            _ = write!(text, "{name:<20}");
            for cell in cells {
                _ = write!(text, " {cell:>11}");
            }
            text.push('\n');
        };
        let of = |each: &dyn Fn(&Tried) -> String| tried.iter().map(each).collect::<Vec<_>>();
        row(&mut text, "LINUX", of(&|one| one.version.to_string()));
        row(&mut text, "asked for", of(&|one| one.asked.to_string()));
        row(&mut text, "boots", of(&|one| one.ended.boots.to_string()));
        row(&mut text, "to first process", of(&|one| format!("{:.1} s", one.ended.booted)));
        row(&mut text, "in all", of(&|one| format!("{:.0} s", one.ended.seconds)));
        for scenario in scenarios(tried) {
            row(&mut text, scenario, of(&|one| cell(one, scenario)));
        }
        for (program, counts) in counts(tried) {
            row(&mut text, &format!("{program}: verified"), counts);
        }
        text.push('\n');
    }
    text
}

/// The names of all scenarios, in the order in which they were tried.
fn scenarios(tried: &[Tried]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (verdict, _) in tried.iter().flat_map(|one| &one.verdicts) {
        if !names.contains(&verdict.scenario.as_str()) {
            names.push(&verdict.scenario);
        }
    }
    names
}

fn find<'a>(tried: &'a Tried, scenario: &str) -> Option<&'a (ScenarioVerdict, Judged)> {
    tried.verdicts.iter().find(|(verdict, _)| verdict.scenario == scenario)
}

fn cell(tried: &Tried, scenario: &str) -> String {
    match find(tried, scenario) {
        None => "-".to_owned(),
        Some((verdict, Judged::Right)) => format!("{:.1} s", verdict.seconds),
        Some((_, Judged::Expected(_))) => "expected".to_owned(),
        Some((_, Judged::RightAgain(_))) => "RIGHT".to_owned(),
        Some((_, Judged::Wrong | Judged::Otherwise(_))) => "WRONG".to_owned(),
    }
}

/// Verified instructions by program, one cell for each kernel.
fn counts(tried: &[Tried]) -> Vec<(String, Vec<String>)> {
    let each: Vec<BTreeMap<String, Option<u64>>> =
        tried.iter().map(|one| verified(&one.doctor).into_iter().collect()).collect();
    let mut names: Vec<String> = Vec::new();
    for (name, _) in tried.iter().flat_map(|one| verified(&one.doctor)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let cell = |counts: &BTreeMap<String, Option<u64>>, name: &str| match counts.get(name) {
        Some(Some(count)) => count.to_string(),
        _ => "-".to_owned(),
    };
    names.into_iter().map(|name| (name.clone(), each.iter().map(|counts| cell(counts, &name)).collect())).collect()
}

/// docs/kernels.md.
pub(super) fn document(tried: &[Tried]) -> String {
    let mut text = format!(
        "# Kernels\n\n\
         What tcpshift does on which kernel of Debian: `cargo xtask kernels --write` tries it and writes {REPORT}; \
         without `--write` it prints the same as a table. Each kernel runs in a machine that is emulated in software. Times say nothing of what a kernel does on hardware. A scenario that cannot be right on a kernel \
         is in a list with its reason (xtask/src/kernels/exceptions.rs); the command fails where the list is wrong, either \
         way.\n\n\
         `sudo tcpshift-agent doctor` says for the kernel that runs what this page says for others.\n\n\
         ## Scenarios\n\n\
         A time is the time that a right one took; `expected` is a failure that is explained below.\n\n"
    );
    let heading: Vec<String> = tried.iter().map(|one| one.version.to_string()).collect();
    let table = |text: &mut String, first: &str, rows: Vec<(String, Vec<String>)>| {
        _ = writeln!(text, "| {first} | {} |", heading.join(" | "));
        _ = writeln!(text, "|---|{}", "---:|".repeat(heading.len()));
        for (name, cells) in rows {
            _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
    };
    let mut rows = vec![
        ("asked for".to_owned(), tried.iter().map(|one| one.asked.to_string()).collect()),
        ("its own name".to_owned(), tried.iter().map(|one| one.ended.release.replace("-cloud-amd64", "")).collect()),
        ("boots until the first process ran".to_owned(), tried.iter().map(|one| one.ended.boots.to_string()).collect()),
        ("in all".to_owned(), tried.iter().map(|one| format!("{:.0} s", one.ended.seconds)).collect()),
    ];
    for scenario in scenarios(tried) {
        rows.push((scenario.to_owned(), tried.iter().map(|one| cell(one, scenario)).collect()));
    }
    table(&mut text, "Linux", rows);
    text.push_str(
        "\n## Verified instructions\n\nHow many instructions the kernel's verifier followed in each program; a kernel \
         refuses a program at a million. `-`: the kernel refused it, or did not say a number.\n\n",
    );
    table(&mut text, "program", counts(tried));
    lacks(&mut text, tried);
    text.push_str("\n## What fails, and why\n\n");
    if tried.iter().all(|one| one.verdicts.iter().all(|(verdict, _)| verdict.is_right)) {
        text.push_str("Nothing.\n");
    }
    for one in tried {
        failures(&mut text, one);
    }
    text.push_str("\n## Exceptions\n\nScenarios that are expected to fail, by name; `*` stands for what follows.\n\n");
    text.push_str("| up to Linux | scenarios | what they say has | why |\n|---|---|---|---|\n");
    for exception in &EXCEPTIONS {
        let Version { major, minor, .. } = exception.until;
        let names: Vec<String> = exception.scenarios.iter().map(|name| format!("`{name}`")).collect();
        _ = writeln!(
            text,
            "| {major}.{minor} | {} | `{}` | {} |",
            names.join(", "),
            exception.said.replace('|', "\\|"),
            exception.why
        );
    }
    text
}

/// What kernels lack of what programs can do without, as doctor says it, and which of them.
fn lacks(text: &mut String, tried: &[Tried]) {
    let mut lacking: Vec<(String, Vec<String>)> = Vec::new();
    for one in tried {
        let findings = one.doctor["machine"].as_array().map(Vec::as_slice).unwrap_or_default();
        let features = findings.iter().filter(|finding| finding["what"] == "features" && finding["state"] == "note");
        for said in features.filter_map(|finding| finding["found"].as_str()).map(one_line) {
            let version = one.version.to_string();
            match lacking.iter_mut().find(|(other, _)| *other == said) {
                Some((_, versions)) => versions.push(version),
                None => lacking.push((said, vec![version])),
            }
        }
    }
    text.push_str("\n## What kernels lack\n\nAll else is as on other kernels. `doctor` says it, and the agent when it starts.\n\n");
    if lacking.is_empty() {
        text.push_str("Nothing.\n");
    }
    for (said, versions) in lacking {
        _ = writeln!(text, "* Linux {}: {said}", versions.join(", "));
    }
}

/// What fails on a kernel: its programs as doctor says it, then scenarios that say the same together.
fn failures(text: &mut String, tried: &Tried) {
    let programs = tried.doctor["programs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let refused: Vec<_> = programs.iter().filter(|program| program["works"] == false).collect();
    let failed: Vec<&ScenarioVerdict> =
        tried.verdicts.iter().map(|(verdict, _)| verdict).filter(|one| !one.is_right).collect();
    if refused.is_empty() && failed.is_empty() && tried.faults.is_empty() {
        return;
    }
    _ = writeln!(text, "### Linux {}\n", tried.version);
    for fault in &tried.faults {
        _ = writeln!(text, "* {}", one_line(fault));
    }
    if !refused.is_empty() {
        text.push_str(
            "| program | errno | instructions followed | reason | the verifier's last line |\n|---|---|---:|---|---|\n",
        );
    }
    for program in refused {
        let field = |name: &str| match &program[name] {
            serde_json::Value::Null => "-".to_owned(),
            serde_json::Value::String(said) => one_line(said),
            serde_json::Value::Array(lines) => {
                lines.last().and_then(|last| last.as_str()).map_or("-".to_owned(), one_line)
            }
            other => other.to_string(),
        };
        let [name, errno, processed, reason, said] = ["name", "errno", "verified", "reason", "said"].map(field);
        _ = writeln!(text, "| {name} | {errno} | {processed} | {reason} | {said} |");
    }
    let mut by_reason: Vec<(String, Vec<&str>)> = Vec::new();
    for verdict in failed {
        let said = one_line(&verdict.said);
        match by_reason.iter_mut().find(|(other, _)| *other == said) {
            Some((_, names)) => names.push(&verdict.scenario),
            None => by_reason.push((said, vec![&verdict.scenario])),
        }
    }
    text.push('\n');
    for (said, names) in by_reason {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        _ = writeln!(text, "* {}: {said}", names.join(", "));
    }
    text.push('\n');
}

/// A text that fits into a cell or an item.
fn one_line(text: &str) -> String {
    const MOST: usize = 400;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;");
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
