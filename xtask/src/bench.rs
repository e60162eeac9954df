//! `cargo xtask bench`: what is promised of 10,000 routes, measured in a release build.

use anyhow::Result;

use crate::cargo::cargo;
use crate::{setup, step};

/// Measures, prints a table, and fails if a promise is not kept.
pub(crate) fn bench() -> Result<()> {
    setup::setup(&setup::BUILD)?;
    step("10,000 routes");
    cargo(&["bench", "--quiet", "--package", "tcpshift-agent", "--bench", "routes"], &[])
}
