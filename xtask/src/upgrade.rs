//! `cargo xtask upgrade`: builds the release before, and has its agent and this one follow each other under load, there and back.
//!
//! Its commit stands in `release-before`. It is built in a folder of its own below the target, with the linker that is there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cargo::{cargo, run, target, workspace};
use crate::{build_ebpf, setup, step};

/// The commit of the release before.
const COMMIT: &str = include_str!("../release-before");

/// What is done with the release before.
#[derive(Args)]
pub(crate) struct Upgrade {
    /// Record what it says and stores in tests/data/release-before, for the test run
    #[arg(long)]
    record: bool,
}

impl Upgrade {
    /// Builds both, and tries, or records.
    pub(crate) fn run(&self) -> Result<()> {
        setup::setup(&setup::ALL)?;
        build_ebpf::build_ebpf()?;
        step("the release before");
        let agent = before().context("the release before cannot be built")?;
        step("build");
        cargo(&["build", "--quiet", "--package", "tcpshift-agent"], &[])?;
        let tests = if self.record {
            step("what the release before says and stores");
            "record_what_the_release_before_says_and_stores"
        } else {
            step("agents of both releases follow each other");
            "upgrade_of_"
        };
        let words = ["test", "--quiet", "--package", "tcpshift-tests", "--test", "promises", "--", "--ignored", tests];
        cargo(&[&words[..], &["--test-threads", "1", "--nocapture"]].concat(), &[("TCPSHIFT_BEFORE", &agent)])
    }
}

/// Builds the agent of the release before. Returns where it is.
fn before() -> Result<String> {
    let commit = COMMIT.trim();
    let folder = target().join("release-before");
    let source = folder.join("source");
    let stamp = folder.join("commit");
    let agent = folder.join("target/debug/tcpshift-agent");
    if fs::read_to_string(&stamp).is_ok_and(|built| built == commit) && agent.exists() {
        println!("{} is of {commit}", agent.display());
        return Ok(agent.display().to_string());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("cannot remove {}", source.display()))?;
    }
    clone(commit, &source)?;
    // Its own command would install the linker once more.
    let tools = folder.join("target/bpf/tools");
    if !tools.exists() {
        fs::create_dir_all(folder.join("target/bpf")).context("cannot make a folder for what it is built with")?;
        std::os::unix::fs::symlink(target().join("bpf/tools"), &tools).context("cannot point at the linker")?;
    }
    for words in [&["xtask", "build-ebpf"][..], &["build", "--quiet", "--package", "tcpshift-agent"]] {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(words).current_dir(&source).env("CARGO_TARGET_DIR", folder.join("target"));
        run(&mut command, &format!("cargo {}", words.join(" ")))?;
    }
    ensure!(agent.exists(), "{} was not built", agent.display());
    fs::write(&stamp, commit).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(agent.display().to_string())
}

fn clone(commit: &str, to: &Path) -> Result<()> {
    let git = |words: &[&str], folder: &Path| {
        let mut command = Command::new("git");
        command.args(words).current_dir(folder);
        run(&mut command, &format!("git {}", words.join(" ")))
    };
    let to_text = to.display().to_string();
    git(&["clone", "--quiet", "--shared", "--no-checkout", ".", &to_text], workspace())?;
    git(&["checkout", "--quiet", commit], to)
        .with_context(|| format!("{commit} is not in this repository; `git fetch --unshallow` brings it"))
}
