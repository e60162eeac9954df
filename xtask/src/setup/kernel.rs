//! What building the kernel's object needs: Rust with its library's source, and bpf-linker for the same LLVM.
//!
//! Each is looked for first. What is missing is installed by the way that leaves the most alone: a component of the
//! Rust in use before a second Rust, a linker in the target folder and not among the user's programs.

use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::{BUILD, PAUSES, Tool, install, present, setup, tried};
use crate::cargo::{run, workspace};
use crate::toolchain::{LINKER, LLVM, Toolchain, linker, linkers, tools, unfit};

/// What building bpf-linker needs. The libraries that LLVM itself needs come with it.
const LINKING: [Tool; 2] = [
    BUILD[0],
    Tool { program: "/usr/lib/llvm-22/lib/libLLVM.so", package: "llvm-22-dev", purpose: "bpf-linker links with it" },
];

/// Debian's Rust, which brings the LLVM and the source that are needed, beside any other Rust.
const DEBIAN: &str = "rustc-web cargo-web rust-web-src rust-web-clippy";

/// Sees to it that the kernel's object can be built.
pub(crate) fn kernel() -> Result<()> {
    crate::step("what the kernel's programs need");
    let toolchain = match Toolchain::find() {
        Some(found) => found,
        None => rust()?,
    };
    if linker().is_none() {
        build_linker(&toolchain)?;
    }
    let linker = linker().context("bpf-linker was built, and cannot be used")?;
    println!("everything is there: {toolchain} and its source, {}", linker.display());
    Ok(())
}

/// Installs what Rust lacks.
fn rust() -> Result<Toolchain> {
    let active = Toolchain::active();
    match &active {
        None => println!("missing: a Rust that says its version"),
        Some(active) if active.llvm != LLVM => println!(
            "missing: a Rust with LLVM {LLVM}, for which bpf-linker {LINKER} is built; this one is {active}, and \
             1.95 to 1.98 have it"
        ),
        Some(active) => println!("missing: the source of Rust's library for {active}"),
    }
    let fits = active.is_some_and(|active| active.llvm == LLVM);
    let component = "rustup component add rust-src";
    if fits && present("rustup") {
        let added = tried(&PAUSES, || {
            let mut rustup = Command::new("rustup");
            run(rustup.args(component.split(' ').skip(1)).current_dir(workspace()), component)
        });
        match added {
            Ok(()) => {
                if let Some(found) = Toolchain::find() {
                    return Ok(found);
                }
                println!("rust-src was added, and is not where it is looked for");
            }
            Err(error) => println!("{error:#}"),
        }
    }
    let otherwise = match (present("rustup"), fits) {
        (false, _) => "",
        (true, true) => "\nor, where rustup can fetch it:\n    rustup component add rust-src",
        (true, false) => {
            "\nor, and say `cargo +1.98 xtask` from then on:\n    \
             rustup toolchain install 1.98 --component rust-src,clippy,rustfmt"
        }
    };
    println!("Debian's Rust (packages {DEBIAN}) has both, and stands beside another");
    // Not instead of a Rust that came from other packages.
    install(&DEBIAN.split(' ').collect::<Vec<_>>(), "--no-remove ").map_err(|error| anyhow!("{error:#}{otherwise}"))?;
    Toolchain::find()
        .with_context(|| format!("Debian's Rust is installed, and is none with LLVM {LLVM} and its source{otherwise}"))
}

/// Builds the linker from its source, which takes about a minute.
fn build_linker(toolchain: &Toolchain) -> Result<()> {
    for other in linkers() {
        println!("{} {}", other.display(), unfit(&other).unwrap_or_default());
    }
    println!("missing: bpf-linker {LINKER} for LLVM {LLVM}; it is built once");
    setup(&LINKING)?;
    let version = format!("bpf-linker@{LINKER}.0");
    let feature = format!("llvm-{LLVM}");
    let prefix = format!("/usr/lib/llvm-{LLVM}");
    let tools = tools();
    let root = tools.to_string_lossy();
    // --force, since one that is there and does not fit would be left.
    let words = ["install", &version, "--quiet", "--locked", "--force", "--no-default-features"];
    let words = [&words, ["--features", &feature, "--root", &root].as_slice()].concat();
    let program = if toolchain.rustc.is_some() { toolchain.cargo.to_string_lossy() } else { "cargo".into() };
    let rustc = toolchain.rustc.map(|rustc| format!("RUSTC={rustc} ")).unwrap_or_default();
    let shown = format!("{rustc}LLVM_PREFIX={prefix} {program} {}", words.join(" "));
    tried(&PAUSES, || {
        let mut cargo = Command::new(&toolchain.cargo);
        cargo.args(&words).current_dir(workspace()).env("LLVM_PREFIX", &prefix);
        if let Some(rustc) = toolchain.rustc {
            cargo.env("RUSTC", rustc);
        }
        run(&mut cargo, &shown)
    })
    .map_err(|error| anyhow!("{error:#}; type it again when the network is there"))
}
