//! Cargo and other programs, run in the workspace with what is run printed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::ebpf_object;

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Runs `cargo WORDS` with more environment; what it says goes straight to the terminal.
pub(crate) fn cargo(words: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    run(&mut command(words, environment), &shown(words, environment))
}

/// Runs `cargo WORDS` as [`cargo`] does, and tells each line of its standard output, which is printed all the same.
pub(crate) fn cargo_told(words: &[&str], environment: &[(&str, &str)], mut told: impl FnMut(&str)) -> Result<()> {
    let shown = shown(words, environment);
    println!("$ {shown}");
    let mut child =
        command(words, environment).stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{shown}`"))?;
    let mut output = BufReader::new(child.stdout.take().context("the output is not piped")?);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).with_context(|| format!("cannot read what `{shown}` says"))? > 0 {
        std::io::stdout().write_all(&line).context("cannot write to standard output")?;
        told(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}

fn command(words: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).envs(environment.iter().copied()).current_dir(workspace());
    command
}

fn shown(words: &[&str], environment: &[(&str, &str)]) -> String {
    let shown = environment.iter().map(|(name, value)| format!("{name}=\"{value}\""));
    let shown: Vec<String> = shown.chain(["cargo".to_owned()]).chain(words.iter().map(ToString::to_string)).collect();
    shown.join(" ")
}

/// Runs a command that is shown as a person would type it; fails if it does.
pub(crate) fn run(command: &mut Command, shown: &str) -> Result<()> {
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}

/// What a command says on standard output; fails with what it says of its failure.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}; `cargo xtask setup` installs it"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{name} ended with {}: {}", output.status, error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    ebpf_object::target(workspace())
}
