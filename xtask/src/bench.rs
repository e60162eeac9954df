//! `cargo xtask bench`: what is promised of decisions and of 10,000 routes, and datapaths beside their peers, measured in
//! release builds.

use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::cargo::{cargo, run, target, workspace};
use crate::{setup, step};

/// What is measured; without a word, all of it.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// 10,000 routes: loading, analyzing, compiling, and one edit among them
    Routes,
    /// All datapaths beside their peers, in one run
    #[command(disable_help_flag = true)]
    Datapaths {
        /// Words for the measurement; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
        words: Vec<String>,
    },
}

impl Bench {
    /// Measures, prints tables, and fails if a promise is not kept.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            Some(What::Routes) => routes(),
            Some(What::Datapaths { words }) => datapaths(words),
            None => {
                let results = [routes(), datapaths(&[])];
                let failed: Vec<String> =
                    results.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
                if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
            }
        }
    }
}

fn routes() -> Result<()> {
    setup::setup(&setup::BUILD)?;
    step("10,000 routes");
    cargo(&["bench", "--quiet", "--package", "tcpshift-agent", "--bench", "routes"], &[])
}

fn datapaths(words: &[String]) -> Result<()> {
    setup::setup(&setup::BENCH)?;
    step("build");
    cargo(&["build", "--release", "--package", "tcpshift-agent", "--package", "tcpshift-bench", "--bins"], &[])?;
    step("datapaths");
    let program = target().join("release/tcpshift-bench");
    let mut command = std::process::Command::new(&program);
    command.arg("datapaths").args(words).arg("--workspace").arg(workspace()).arg("--target").arg(target());
    run(&mut command, &format!("{} datapaths {}", shown(&program), words.join(" ")))
}

/// A path as a person in the workspace's folder writes it.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}
