//! `cargo xtask test`: everything that a change must pass, in the order of what fails quickest.

use anyhow::{Result, ensure};

use crate::cargo::cargo;
use crate::setup;
use crate::step;

/// Runs everything, and stops at the first failure.
pub(crate) fn test() -> Result<()> {
    ensure!(
        setup::root()?,
        "the tests make network namespaces, which needs root; type:\n    sudo env \"PATH=$PATH\" cargo xtask test"
    );
    setup::setup(&setup::ALL)?;
    step("format");
    cargo(&["fmt", "--all", "--check"], &[])?;
    step("which room knows whom");
    crate::tidy::tidy()?;
    step("lints");
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    step("documentation");
    cargo(
        &["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    step("build: the tests start the programs themselves");
    cargo(&["build", "--quiet", "--workspace"], &[])?;
    step("tests");
    cargo(&["test", "--quiet", "--workspace", "--no-run"], &[])?;
    cargo(&["test", "--workspace", "--no-fail-fast"], &[])
}
