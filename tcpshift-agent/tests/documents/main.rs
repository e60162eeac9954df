//! Documents are true: what is generated is up to date, and what a reader may copy works.
//!
//! docs/cli.md and the man pages are made from the command line as clap knows it. `cargo xtask docs` writes them anew
//! (`WRITE_DOCS=1`, and `MAN_PAGES` with the folder for man pages). Of every document of the repository each YAML
//! is checked as `validate` does, and each command line of `tcpshift-agent` is parsed.

#![expect(clippy::unwrap_used, reason = "a test")]

mod commands;
mod completion;
mod examples;
mod fields;
mod manual;
mod pages;
mod reference;
