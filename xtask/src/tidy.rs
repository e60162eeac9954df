//! `cargo xtask tidy`: the arrows between rooms, and the form of files, checked on the source as text.
//!
//! What it demands is written in ARCHITECTURE.md; this file makes it true. [`arrows`] knows who may know whom.

mod arrows;

use anyhow::{Result, bail};

use crate::cargo::workspace;
use crate::source::Source;

/// A file longer than this has more than one subject.
const LINES: usize = 500;

/// Words that stand for unfinished or unchecked work, spelled so that this file does not have them.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Where unsafe code has its place: kernel programs, and the agent's calls of bpf(2).
const UNSAFE: [&str; 3] = ["tcpshift-ebpf/src/", "tcpshift-agent/src/kernel/sys.rs", "tcpshift-agent/src/kernel/sys/"];

/// Checks every Rust file of the workspace, and prints every problem.
pub(crate) fn tidy() -> Result<()> {
    let sources = Source::all(workspace())?;
    let problems: Vec<String> =
        sources.iter().flat_map(|source| [form(source), arrows::arrows(source)].concat()).collect();
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
fn form(source: &Source) -> Vec<String> {
    let Source { path, text, code } = source;
    let mut problems = Vec::new();
    if !text.starts_with("//! ") {
        problems.push(format!("{path}:1: does not open with `//!`: say what the file does and what it must not know"));
    }
    if path.ends_with("/mod.rs") {
        problems.push(format!("{path}: is a mod.rs; the door of a room is a file beside it"));
    }
    let lines = text.lines().count();
    if lines > LINES {
        problems.push(format!("{path}:{lines}: has more than {LINES} lines"));
    }
    for (line, word) in source.words() {
        if word == "unsafe" && !UNSAFE.iter().any(|place| path.starts_with(place)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_file_is_checked() {
        assert_eq!(
            form(&Source::new("a/src/b.rs", "//! Says it.\nfn b() {} // unsafe, todo!()\n")),
            Vec::<String>::new()
        );
        let bad = form(&Source::new("a/src/mod.rs", "fn b() { unsafe { todo!() } }\n"));
        assert_eq!(bad.len(), 4, "{bad:?}");
        let kernel = |path| form(&Source::new(path, "//! Says it.\nunsafe fn b() {}\n")).len();
        assert_eq!(kernel("tcpshift-ebpf/src/b.rs"), 0);
        assert_eq!(kernel("tcpshift-agent/src/kernel/sys.rs"), 0);
        assert_eq!(kernel("tcpshift-agent/src/kernel.rs"), 1);
    }

    #[test]
    fn the_workspace_is_tidy() {
        tidy().unwrap();
    }
}
