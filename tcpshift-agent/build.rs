//! Embeds the kernel's object where `cargo xtask build-ebpf` has built one.
//!
//! Builds nothing itself: without an object the agent compiles with any stable Rust, and knows the proxy only (no cfg
//! `ebpf`). An object of other sources than those that are here is an error.
#![allow(clippy::print_stdout, reason = "a build script talks to cargo so")]

#[path = "../xtask/src/ebpf_object.rs"]
mod ebpf_object;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ebpf_object::ObjectState;

fn main() -> std::io::Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the agent is a folder of the workspace");
    let (object, stamp) = (ebpf_object::object(workspace), ebpf_object::stamp(workspace));
    println!("cargo::rustc-check-cfg=cfg(ebpf)");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    for watched in ebpf_object::WATCHED {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    // Cargo takes a file that is missing for one that has changed, each time. The stamp is always there, and changes
    // with the object. Where it cannot be made, the agent is built more often, and that is all.
    make_stamp(&stamp).unwrap_or_default();
    println!("cargo::rerun-if-changed={}", stamp.display());
    let state = ebpf_object::state(workspace)?;
    if state != ObjectState::Absent {
        println!("cargo::rerun-if-changed={}", object.display());
    }
    match state {
        ObjectState::Absent => println!(
            "cargo::warning=without the kernel's programs: {} is not there; `cargo xtask build-ebpf` builds it",
            object.display()
        ),
        ObjectState::Stale => println!(
            "cargo::error={} is older than its sources; run `cargo xtask build-ebpf`, or remove it",
            object.display()
        ),
        ObjectState::Current => {
            let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
            std::fs::copy(&object, out.join("tcpshift"))?;
            println!("cargo::rustc-cfg=ebpf");
        }
    }
    Ok(())
}

/// Makes an empty stamp, older than anything, if there is none.
fn make_stamp(stamp: &Path) -> std::io::Result<()> {
    if stamp.exists() {
        return Ok(());
    }
    stamp.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::File::create_new(stamp)?.set_modified(SystemTime::UNIX_EPOCH)
}
