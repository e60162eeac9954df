//! `cargo xtask docs`: writes anew what is generated from the program.
//!
//! The tests that check these files write them: they are what knows the command line and the messages. Without this command
//! they fail where a file is not up to date.

use anyhow::Result;

use crate::cargo::{cargo, target};
use crate::step;

/// Writes docs/cli.md, the messages in docs/analyze.md, and man pages.
pub(crate) fn docs() -> Result<()> {
    step("docs/cli.md, docs/analyze.md and man pages");
    let pages = target().join("man");
    let environment = [("WRITE_DOCS", "1"), ("MAN_PAGES", &*pages.to_string_lossy())];
    cargo(
        &["test", "--quiet", "--package", "tcpshift-agent", "--test", "documents", "--test", "messages"],
        &environment,
    )?;
    println!("\nman pages are in {}", pages.display());
    Ok(())
}
