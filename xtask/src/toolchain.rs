//! The toolchain that can build the kernel's object: a Rust with its library's source, and a linker for the same LLVM.
//!
//! It finds what is there and installs nothing; `setup` does that.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{target, workspace};

/// The LLVM of rustc 1.95 to 1.98, and of the linker that `setup` builds. The two exchange LLVM's own format, which an
/// older one cannot read.
pub(crate) const LLVM: u32 = 22;

/// The linker's version, to the digit that says what it can do.
pub(crate) const LINKER: &str = "0.13";

/// A Rust, with what the kernel's object asks of it.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    pub(crate) cargo: OsString,
    /// None where cargo finds its own.
    pub(crate) rustc: Option<&'static str>,
    pub(crate) version: String,
    pub(crate) llvm: u32,
    /// Whether the source of Rust's own library is there: none is delivered compiled for the kernel.
    pub(crate) source: bool,
}

impl Toolchain {
    /// The first that can build the object: the one in use, else Debian's.
    pub(crate) fn find() -> Option<Self> {
        [Self::active(), Self::debian()].into_iter().flatten().find(|found| found.source && found.llvm == LLVM)
    }

    /// The one in use.
    pub(crate) fn active() -> Option<Self> {
        Self::look(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), None)
    }

    /// That of the package rustc-web, which may stand beside another.
    fn debian() -> Option<Self> {
        Self::look("/usr/bin/cargo".into(), Some("/usr/bin/rustc"))
    }

    fn look(cargo: OsString, rustc: Option<&'static str>) -> Option<Self> {
        let program = rustc.map_or_else(|| std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()), Into::into);
        let said = output(&program, &["-vV"])?;
        let root = output(&program, &["--print", "sysroot"])?;
        let source = Path::new(root.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file();
        let (version, llvm) = versions(&said)?;
        Some(Self { cargo, rustc, version, llvm, source })
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {} with LLVM {}", self.rustc.unwrap_or("rustc"), self.version, self.llvm)
    }
}

/// Rust's version and the major one of its LLVM, of what `rustc -vV` says.
fn versions(said: &str) -> Option<(String, u32)> {
    let field = |name| said.lines().find_map(|line| line.strip_prefix(name));
    let llvm = field("LLVM version: ")?.split('.').next()?;
    Some((field("release: ")?.to_owned(), llvm.parse().ok()?))
}

/// Where `setup` builds a linker.
pub(crate) fn tools() -> PathBuf {
    target().join("bpf/tools")
}

/// The linker to use: the project's own, else one in PATH.
pub(crate) fn linker() -> Option<PathBuf> {
    linkers().into_iter().find(|path| unfit(path).is_none())
}

/// Every linker there is.
pub(crate) fn linkers() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [tools().join("bin")].into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("bpf-linker")).filter(|file| file.is_file()).collect()
}

/// Why a linker cannot be used; none if it can.
pub(crate) fn unfit(linker: &Path) -> Option<String> {
    let Some(said) = output(linker.as_os_str(), &["--version"]) else { return Some("does not run".to_owned()) };
    let said = said.trim();
    if !said.starts_with(&format!("bpf-linker {LINKER}.")) {
        return Some(format!("is {said}, and not {LINKER}"));
    }
    // It does not say for which LLVM it was built. One with LLVM inside has the signature that LLVM writes, the
    // other one the name of the library.
    let program = std::fs::read(linker).unwrap_or_default();
    let signs = [format!("libLLVM.so.{LLVM}"), format!("LLVM{LLVM}.")];
    let built = signs.iter().any(|sign| program.windows(sign.len()).any(|part| part == sign.as_bytes()));
    (!built).then(|| format!("is not built for LLVM {LLVM}"))
}

/// What a program says, if it runs and is content.
fn output(program: &OsStr, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).current_dir(workspace()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let said = "rustc 1.95.0 (59807616e 2026-04-14)\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        assert_eq!(versions(said), Some(("1.95.0".to_owned(), 22)));
        assert_eq!(versions("rustc 1.95.0\nrelease: 1.95.0\n"), None);
    }

    #[test]
    fn a_linker_of_another_version_or_llvm_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let linker = |text: &str| {
            let path = folder.path().join(format!("{}", text.len()));
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            unfit(&path)
        };
        assert_eq!(linker("#!/bin/sh\necho bpf-linker 0.13.0 # libLLVM.so.22.1\n"), None);
        assert_eq!(linker("#!/bin/sh\necho bpf-linker 0.13.9 # LLVM22.1.8\n"), None);
        assert_eq!(
            linker("#!/bin/sh\necho bpf-linker 0.13.0 # LLVM23.1\n").as_deref(),
            Some("is not built for LLVM 22")
        );
        assert_eq!(
            linker("#!/bin/sh\necho bpf-linker 0.10.3\n").as_deref(),
            Some("is bpf-linker 0.10.3, and not 0.13")
        );
        assert_eq!(unfit(&folder.path().join("none")).as_deref(), Some("does not run"));
    }
}
