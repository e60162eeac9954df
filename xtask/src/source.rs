//! Rust source as text: files of the workspace, and their code without comments and literals.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Path from the workspace's folder, with `/` between.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// With comments, strings and characters blanked out; lines stay where they are.
    pub(crate) code: String,
}

impl SourceFile {
    /// A file by its path and text.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// Every `.rs` file under a folder, sorted by path. Hidden folders and `target` are left out.
    pub(crate) fn all(workspace: &Path) -> Result<Vec<Self>> {
        let mut paths = Vec::new();
        collect(workspace, &mut paths)?;
        paths.sort();
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let inside = path.strip_prefix(workspace).unwrap_or(path);
            Ok(Self::new(&inside.to_string_lossy(), &text))
        };
        paths.iter().map(read).collect()
    }

    /// Whether the file is part of tests or benchmarks of Rust code and of nothing that is delivered.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|name| ["tests", "tests.rs", "benches", "fuzz"].contains(&name))
    }

    /// Whether the file has unit tests alone: `tests.rs` beside what it tests, or below it.
    pub(crate) fn is_unit_test(&self) -> bool {
        self.path
            .split_once("/src/")
            .is_some_and(|(_, inside)| inside.split('/').any(|name| name == "tests" || name == "tests.rs"))
    }

    /// The code up to the file's unit tests, which are its last module.
    pub(crate) fn code_without_tests(&self) -> &str {
        self.code.split_once("#[cfg(test)]\nmod tests {").map_or(&self.code, |(code, _)| code)
    }

    /// Words (names and keywords) of the code, each with its line.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().enumerate();
        lines.flat_map(|(number, line)| {
            let words = line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
            words.filter(|word| !word.is_empty()).map(move |word| (number + 1, word))
        })
    }

    /// The line of a byte of the code, by its index.
    pub(crate) fn line(&self, index: usize) -> usize {
        self.code.bytes().take(index).filter(|byte| *byte == b'\n').count() + 1
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, paths)?;
        } else if path.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The text with comments and the insides of literals replaced by blanks, byte for byte.
fn blank(text: &str) -> String {
    let mut code = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let mut before = b' ';
    while let Some(&first) = rest.first() {
        let joined = before.is_ascii_alphanumeric() || before == b'_';
        let hidden = match rest {
            [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => block(rest),
            [b'"', ..] => quoted(rest, 1),
            [b'b', b'"', ..] if !joined => quoted(rest, 2),
            [b'r', b'"' | b'#', ..] if !joined => raw(rest, 1),
            [b'b', b'r', b'"' | b'#', ..] if !joined => raw(rest, 2),
            [b'\'', ..] => character(rest),
            _ => 0,
        };
        if hidden == 0 {
            code.push(first);
            before = first;
            rest = &rest[1..];
        } else {
            code.extend(rest[..hidden].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            before = b' ';
            rest = &rest[hidden..];
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Length of a block comment, which may hold others.
fn block(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of a string whose inside begins at `from`.
fn quoted(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Length of a raw string whose `#`s begin at `from`; 0 if it is none (a raw name).
fn raw(text: &[u8], from: usize) -> usize {
    let hashes = text[from..].iter().take_while(|byte| **byte == b'#').count();
    if text.get(from + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let inside = from + hashes + 1;
    text[inside..].windows(end.len()).position(|window| window == end).map_or(text.len(), |at| inside + at + end.len())
}

/// Length of a character; 0 if it is a lifetime.
fn character(text: &[u8]) -> usize {
    match text {
        [_, b'\\', ..] => text[3.min(text.len())..].iter().position(|byte| *byte == b'\'').map_or(0, |at| at + 4),
        // One character of up to four bytes.
        _ => (2..=5).find(|at| text.get(*at) == Some(&b'\'') && single(&text[1..*at])).map_or(0, |at| at + 1),
    }
}

fn single(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_code_stays() {
        let text = "a /* b /* c */ d */ e \"f\\\" // g\" h 'i' '\\'' &'k l r#\"m\" n\"# o // p\nb\"q\" r#in s";
        assert_eq!(
            SourceFile::new("x.rs", text).words().collect::<Vec<_>>(),
            [(1, "a"), (1, "e"), (1, "h"), (1, "k"), (1, "l"), (1, "o"), (2, "r"), (2, "in"), (2, "s")]
        );
    }
}
