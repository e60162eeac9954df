//! `cargo xtask tidy`: the arrows between rooms, the form of files and the names of types, checked on the source as text,
//! and the links of documents.
//!
//! What it demands is written in ARCHITECTURE.md; this file makes it true. [`arrows`] has the rooms that each room may
//! know.

mod arrows;
mod blocking;
mod circles;
mod documents;
mod homonyms;
mod modules;

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::cargo::workspace;
use crate::source::SourceFile;

/// A file longer than this has more than one subject.
const LINES: usize = 400;

/// Words that stand for unfinished or unchecked work, spelled so that this file does not have them.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Files and folders that may have unsafe code: kernel programs, the agent's calls of bpf(2), and its fork(2).
const UNSAFE: [&str; 4] = [
    "tcpshift-ebpf/src/",
    "tcpshift-agent/src/kernel/sys.rs",
    "tcpshift-agent/src/kernel/sys/",
    "tcpshift-agent/src/rights/sys.rs",
];

/// Checks every Rust file and every document of the workspace, and prints every problem.
pub(crate) fn tidy() -> Result<()> {
    let sources = SourceFile::all(workspace())?;
    let mut problems: Vec<String> =
        sources.iter().flat_map(|source| [form(source), arrows::arrows(source)].concat()).collect();
    problems.extend(blocking::blocking(&sources));
    problems.extend(documents::documents(workspace(), &sources)?);
    problems.extend(long(&sources).into_values());
    problems.extend(unchecked(&sources).into_values());
    let orphans = modules::orphans(&sources).into_iter();
    problems.extend(orphans.map(|source| format!("{}: no `mod` names it: nothing reads it", source.path)));
    problems.extend(homonyms::homonyms(&sources).into_values());
    problems.extend(circles::circles(&sources).into_values());
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        let number = problems.len();
        let count = if number == 1 { "1 problem".to_owned() } else { format!("{number} problems") };
        bail!("{count} in {} files; ARCHITECTURE.md says who may know whom", sources.len());
    }
    println!("{} files are tidy", sources.len());
    Ok(())
}

/// What every file must be like.
fn form(source: &SourceFile) -> Vec<String> {
    let SourceFile { path, text, code } = source;
    let mut problems = Vec::new();
    if !text.starts_with("//! ") {
        problems.push(format!("{path}:1: does not open with `//!`: say what the file does"));
    }
    if path.ends_with("/mod.rs") {
        problems.push(format!("{path}: is a mod.rs; the door of a room is a file beside it"));
    }
    for (line, word) in source.words() {
        if word == "unsafe" && !UNSAFE.iter().any(|allowed| path.starts_with(allowed)) {
            problems.push(format!("{path}:{line}: unsafe code belongs to {}", UNSAFE.join(", ")));
        }
        if UNFINISHED.contains(&word)
            && code.lines().nth(line - 1).is_some_and(|code| code.contains(&format!("{word}!")))
        {
            problems.push(format!("{path}:{line}: `{word}!` is left behind"));
        }
    }
    problems
}

/// Files that are too long, each with a message.
fn long(sources: &[SourceFile]) -> BTreeMap<String, String> {
    let lines = sources.iter().map(|source| (&source.path, source.text.lines().count()));
    let long = lines.filter(|(_, lines)| *lines > LINES);
    long.map(|(path, lines)| (path.clone(), format!("{path}:{lines}: has more than {LINES} lines"))).collect()
}

/// Files that say in words what [`arrows`] has to say, each with a message.
fn unchecked(sources: &[SourceFile]) -> BTreeMap<String, String> {
    let said = |source: &&SourceFile| {
        let lines = source.text.lines().map_while(|line| line.strip_prefix("//!"));
        lines.collect::<String>().contains("must not know")
    };
    let message = |path: &str| format!("{path}: says what it must not know: the table of tidy/arrows.rs says that");
    sources.iter().filter(said).map(|source| (source.path.clone(), message(&source.path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_file_is_checked() {
        assert_eq!(
            form(&SourceFile::new("a/src/b.rs", "//! Says it.\nfn b() {} // unsafe, todo!()\n")),
            Vec::<String>::new()
        );
        let bad = form(&SourceFile::new("a/src/mod.rs", "fn b() { unsafe { todo!() } }\n"));
        assert_eq!(bad.len(), 4, "{bad:?}");
        let kernel = |path| form(&SourceFile::new(path, "//! Says it.\nunsafe fn b() {}\n")).len();
        assert_eq!(kernel("tcpshift-ebpf/src/b.rs"), 0);
        assert_eq!(kernel("tcpshift-agent/src/kernel/sys.rs"), 0);
        assert_eq!(kernel("tcpshift-agent/src/kernel.rs"), 1);
    }

    #[test]
    fn long_files_and_words_that_nothing_checks_are_found() {
        let sources = [
            SourceFile::new("a/src/b.rs", &"\n".repeat(LINES)),
            SourceFile::new("a/tests/c.rs", &"\n".repeat(LINES + 1)),
            SourceFile::new("a/src/d.rs", "//! Does it. It must not know how.\n"),
        ];
        assert_eq!(long(&sources).into_keys().collect::<Vec<_>>(), ["a/tests/c.rs"]);
        assert_eq!(unchecked(&sources).into_keys().collect::<Vec<_>>(), ["a/src/d.rs"]);
    }

    #[test]
    fn the_workspace_is_tidy() {
        tidy().unwrap();
    }
}
