//! Writes the lists of docs/analyze.md from the examples, and finds out whether they stand there.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::form::{self, Example, Line, Part, When};

/// Folders of examples, each with the head of its tables.
const LISTS: [(&str, &str); 2] =
    [("validate", "| | field | message | cure | example |"), ("analyze", "| | field | message | cure | example |")];

#[test]
fn every_message_is_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/analyze.md");
    let old = fs::read_to_string(&path).unwrap();
    let mut new = old.clone();
    for (folder, head) in LISTS {
        let mark = |end| format!("<!-- {end} of the messages of {folder} -->\n");
        let (before, rest) = new.split_once(&mark("begin")).expect("the mark is there");
        let (_, after) = rest.split_once(&mark("end")).expect("the mark is there");
        new = format!("{before}{}\n{}{}{after}", mark("begin"), list(folder, head), mark("end"));
    }
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(path, new).unwrap();
        return;
    }
    let differs = old.lines().zip(new.lines()).find(|(old, new)| old != new);
    assert!(old == new, "docs/analyze.md is not up to date (see tests/messages/main.rs): {differs:#?}");
}

fn list(folder: &str, head: &str) -> String {
    let chapters = form::chapters(folder);
    let links: Vec<_> =
        chapters.iter().map(|chapter| format!("[{0}](#{1})", chapter.title, anchor(&chapter.title))).collect();
    let mut text = format!("{}\n\n", links.join(" ·\n"));
    for chapter in chapters {
        let mut in_table = false;
        write!(text, "### {}\n\n", chapter.title).unwrap();
        if !chapter.text.is_empty() {
            write!(text, "{}\n\n", chapter.text).unwrap();
        }
        for part in &chapter.parts {
            match part {
                Part::Heading(title, below) => {
                    let gap = if in_table { "\n" } else { "" };
                    write!(text, "{gap}#### {title}\n\n").unwrap();
                    if !below.is_empty() {
                        write!(text, "{below}\n\n").unwrap();
                    }
                    in_table = false;
                }
                Part::Example(example) => {
                    if !in_table {
                        let columns = head.matches('|').count() - 1;
                        write!(text, "{head}\n|{}\n", "---|".repeat(columns)).unwrap();
                    }
                    in_table = true;
                    writeln!(text, "{}", row(example)).unwrap();
                }
            }
        }
        text.push('\n');
    }
    text
}

/// What GitHub makes of a heading.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-'].contains(letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn row(example: &Example) -> String {
    let field = if example.field.is_empty() { String::new() } else { code(&without_numbers(&example.field)) };
    let [message, cure] = [&example.message, &example.cure].map(|text| escaped(text));
    format!("| {} | {field} | {message} | {cure} | {} |", example.level, change(example))
}

/// A field of any item: `spec.tcp[].route` for `spec.tcp[0].route`.
fn without_numbers(field: &str) -> String {
    let mut parts = field.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    let others = parts.map(|part| format!("[{}", part.trim_start_matches(|letter: char| letter.is_ascii_digit())));
    first + &others.collect::<String>()
}

/// The lines that the cure changes, without the indentation that they share and the beginning of a document.
fn change(example: &Example) -> String {
    let begins = |line: &Line| line.text.starts_with("apiVersion:") || line.text == "---";
    let begins_alone = example.lines.iter().all(|line| line.when == When::Always || begins(line));
    let is_shown = |line: &&Line| begins_alone || !begins(line);
    let of = |when| {
        let lines: Vec<&Line> = example.lines.iter().filter(|line| line.when == when).collect();
        let shown: Vec<&Line> = lines.iter().copied().filter(is_shown).collect();
        if shown.is_empty() { lines } else { shown }
    };
    let blank = |text: &str| text.len() - text.trim_start().len();
    let indent = [When::Before, When::After].into_iter().flat_map(of).map(|line| blank(&line.text)).min().unwrap_or(0);
    let joined = |when| {
        let cell = |line: &Line| {
            let times = line.times.map(|times| format!(" ({times} times)")).unwrap_or_default();
            format!("{}{times}", code(&line.text[indent..]))
        };
        of(when).into_iter().map(cell).collect::<Vec<_>>().join("<br>")
    };
    match (joined(When::Before), joined(When::After)) {
        (before, after) if after.is_empty() => format!("{before} → remove"),
        (before, after) if before.is_empty() => {
            let named = example.lines.iter().filter(|line| line.named).map(|line| code(line.text.trim_start()));
            format!("{} → add {after}", named.collect::<Vec<_>>().join("<br>"))
        }
        (before, after) => format!("{before} → {after}"),
    }
}

/// Text as it is, in a cell of a table.
fn code(text: &str) -> String {
    let ticks = if text.contains('`') { "``" } else { "`" };
    let space = if text.contains('`') || text.is_empty() { " " } else { "" };
    format!("{ticks}{space}{}{space}{ticks}", text.replace('|', "\\|"))
}

/// Prose with code between backticks and variable parts between «», as Markdown.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let mut is_code = false;
    for letter in text.chars() {
        is_code ^= letter == '`';
        match letter {
            '«' | '»' if is_code => {}
            '«' | '»' => escaped.push('*'),
            '*' | '_' | '<' | '~' | '[' | '\\' if !is_code => escaped.extend(['\\', letter]),
            '|' => escaped.push_str("\\|"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
