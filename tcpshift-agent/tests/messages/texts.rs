//! Every text in the sources that a message or a cure can be made of is said in an example.
//!
//! One call can say several things: a function gives it a reason, or a table. So texts are looked for, not calls alone: string
//! literals of more than a word, whose parts between placeholders have to be in something that an example is told.

use std::fs;
use std::path::{Path, PathBuf};

use super::{form, said_of_objects};

/// Files and folders of `src/route` that say nothing of single objects: they read and write files, keep objects, or answer
/// commands.
const OTHERS: [&str; 7] = ["files", "state", "store.rs", "shift", "write.rs", "kind.rs", "tests.rs"];

/// Code before a literal that only programmers read.
const NO_MESSAGE: [&str; 4] = ["expect(", "unreachable!(", "reason = ", "assert!("];

#[test]
fn every_text_of_a_message_has_an_example() {
    let mut told = Vec::new();
    for chapter in form::chapters("validate") {
        for example in chapter.examples() {
            for said in said_of_objects(example, form::When::Before) {
                told.push(said.message);
                told.push(said.cure);
            }
        }
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/route"), &mut files);
    let (mut missing, mut count) = (Vec::new(), 0);
    for path in files {
        for (line, literal) in literals(&fs::read_to_string(&path).unwrap()) {
            let parts = parts(&literal);
            if !parts.iter().any(|part| part.trim().contains(' ')) {
                continue;
            }
            count += 1;
            if !told.iter().any(|text| text.contains(&literal) || has_parts(text, &parts)) {
                missing.push(format!("{}:{line}: {literal}", path.display()));
            }
        }
    }
    assert!(count > 250, "only {count} texts are found");
    assert!(missing.is_empty(), "{} of {count} are in no example:\n{}", missing.len(), missing.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if OTHERS.iter().any(|other| name == *other || name == format!("{other}.rs")) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The string literals of a source, but those of its tests, each with its line.
fn literals(source: &str) -> Vec<(usize, String)> {
    let source = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(next) = source[at..].find(['"', '/', '\'']) {
        let begin = at + next;
        let rest = &source[begin..];
        at = begin + 1;
        if rest.starts_with("//") {
            at = begin + rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            at = begin + 1 + rest[2..].find('\'').map_or(rest.len(), |end| end + 2);
        } else if rest.starts_with('"') {
            let length = end(rest);
            let before = source[..begin].trim_end();
            if !NO_MESSAGE.iter().any(|code| before.ends_with(code.trim_end())) {
                let line = source[..begin].matches('\n').count() + 1;
                found.push((line, unescaped(&rest[1..length])));
            }
            at = begin + length + 1;
        }
    }
    found
}

/// Where the quote is that ends a literal.
fn end(literal: &str) -> usize {
    let mut escaped = false;
    let at = literal.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        ends
    });
    at.expect("a literal ends").0
}

fn unescaped(literal: &str) -> String {
    let mut text = String::new();
    let mut letters = literal.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('\\', Some('\n')) => while letters.next_if(|letter| letter.is_whitespace()).is_some() {},
            ('\\', Some(_)) => text.extend(letters.next()),
            _ => text.push(letter),
        }
    }
    text
}

/// The parts of a literal between its placeholders.
fn parts(literal: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = literal.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '{' | '}' if letters.peek() == Some(&letter) => {
                letters.next();
                parts.last_mut().unwrap().push(letter);
            }
            '{' if letters
                .clone()
                .take_while(|letter| *letter != '}')
                .all(|letter| letter.is_alphanumeric() || ":?_".contains(letter)) =>
            {
                letters.find(|letter| *letter == '}');
                parts.push(String::new());
            }
            _ => parts.last_mut().unwrap().push(letter),
        }
    }
    parts
}

/// Whether a text has these parts one after the other.
fn has_parts(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| match rest.find(part.as_str()) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}
