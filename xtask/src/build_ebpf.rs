//! `cargo xtask build-ebpf`: builds the kernel's object, and puts it where the agent's build finds it.
//!
//! Nobody else builds it. Rust's library for the kernel is compiled with it, for which a stable compiler wants to be
//! told `RUSTC_BOOTSTRAP=1`; all of that happens in a target folder of its own, so that no lock is waited for.
//! [`ebpf_object`] says whether there is anything to do, [`chars`] makes names readable.

mod chars;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo::{run, target, workspace};
use crate::ebpf_object::{self, ObjectState};
use crate::toolchain::{Toolchain, linker};

/// The kernel's instructions in this machine's order of bytes.
const TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// Builds the object if its sources have changed.
pub(crate) fn build_ebpf() -> Result<()> {
    crate::step("the kernel's object");
    let path = ebpf_object::object(workspace());
    if ebpf_object::state(workspace())? == ObjectState::Current {
        println!("{} is newer than its sources", path.display());
        return Ok(());
    }
    // Taken before, so that what is changed meanwhile makes the object stale.
    let hash = ebpf_object::hash(workspace())?;
    kernel_cargo("build", &[])?;
    let built = target().join("bpf/build").join(TARGET).join("release/tcpshift-ebpf");
    let mut object = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    chars::mark(&mut object).with_context(|| built.display().to_string())?;
    replace(&path, &object)?;
    replace(&ebpf_object::stamp(workspace()), hash.as_bytes())?;
    println!("{}: {} bytes", path.display(), object.len());
    Ok(())
}

/// Removes an object that is stale: the agent's build would refuse it.
pub(crate) fn remove_stale() -> Result<()> {
    let path = ebpf_object::object(workspace());
    if ebpf_object::state(workspace())? == ObjectState::Stale {
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Runs the lints over the kernel's code.
pub(crate) fn clippy() -> Result<()> {
    kernel_cargo("clippy", &["--", "-D", "warnings"])
}

/// Runs a command of cargo for the kernel's target.
fn kernel_cargo(command: &str, words: &[&str]) -> Result<()> {
    const CURE: &str = "`cargo xtask setup` finds or installs it";
    let toolchain = Toolchain::find().with_context(|| format!("no Rust here can build for the kernel; {CURE}"))?;
    let linker = linker().with_context(|| format!("there is no bpf-linker for this Rust; {CURE}"))?;
    let folder = target().join("bpf/build");
    let fixed = ["--quiet", "--release", "--package", "tcpshift-ebpf", "--target", TARGET, "-Z", "build-std=core"];
    let mut program = toolchain.cargo.clone();
    if toolchain.rustc.is_some() && command == "clippy" {
        // Cargo would look for its subcommand among those of another Rust first.
        program.push("-clippy");
    }
    let mut cargo = Command::new(&program);
    cargo.arg(command).args(fixed).args(words).current_dir(workspace()).env("CARGO", &toolchain.cargo);
    // Types of maps are made from debug information; v3 is the first instruction set whose atomic addition gives what
    // was there before, and Linux understands it from 5.12 on.
    let architecture = format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH);
    let flags = [architecture.as_str(), "-Ctarget-cpu=v3", "-Cdebuginfo=2", "-Clink-arg=--btf"];
    let linker_variable = format!("CARGO_TARGET_{}_LINKER", TARGET.replace('-', "_").to_uppercase());
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env(&linker_variable, &linker);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &folder);
    let mut shown = vec![
        "RUSTC_BOOTSTRAP=1".to_owned(),
        format!("RUSTFLAGS='{}'", flags.join(" ")),
        format!("{linker_variable}={}", linker.display()),
        format!("CARGO_TARGET_DIR={}", folder.display()),
    ];
    if let Some(rustc) = toolchain.rustc {
        cargo.env("RUSTC", rustc);
        shown.push(format!("CARGO={} RUSTC={rustc}", toolchain.cargo.display()));
    }
    shown.push(if toolchain.rustc.is_some() { program.to_string_lossy().into_owned() } else { "cargo".to_owned() });
    shown.push(command.to_owned());
    shown.extend(fixed.iter().chain(words).map(ToString::to_string));
    run(&mut cargo, &shown.join(" "))
}

/// Repaths a file in one step.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, content).with_context(|| format!("cannot write {}", new.display()))?;
    std::fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
}
