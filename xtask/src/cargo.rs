//! Cargo and other programs, run in the workspace with what is run printed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Runs `cargo WORDS` with more environment; what it says goes straight to the terminal.
pub(crate) fn cargo(words: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(words).envs(environment.iter().copied()).current_dir(workspace());
    let shown = environment.iter().map(|(name, value)| format!("{name}=\"{value}\""));
    let shown: Vec<String> = shown.chain(["cargo".to_owned()]).chain(words.iter().map(ToString::to_string)).collect();
    run(&mut command, &shown.join(" "))
}

/// Runs a command that is shown as a person would type it; fails if it does.
pub(crate) fn run(command: &mut Command, shown: &str) -> Result<()> {
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |folder| workspace().join(folder))
}
