//! What the kernel's object is built from, as one number, and where the object is put.
//!
//! Two programs compile this very file: xtask, which builds the object, and the agent's build script, which embeds it
//! and must come to the same number. A build script can have the file by its path alone; a crate for the two would be
//! one more that everybody has to build first. So this file uses std alone.

use std::io;
use std::path::{Path, PathBuf};

/// Files, and folders of Rust files, that the object is built from.
pub(crate) const WATCHED: [&str; 4] =
    ["tcpshift-common/Cargo.toml", "tcpshift-common/src", "tcpshift-ebpf/Cargo.toml", "tcpshift-ebpf/src"];

/// How an object compares to its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectState {
    /// There is none.
    Absent,
    /// It was built from other sources.
    Stale,
    /// It was built from these.
    Current,
}

/// Where cargo puts what it builds.
pub(crate) fn target(workspace: &Path) -> PathBuf {
    workspace.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Where the object is put.
pub(crate) fn object(workspace: &Path) -> PathBuf {
    target(workspace).join("bpf/tcpshift")
}

/// Where the number of the object's sources is put. It is written after the object.
pub(crate) fn stamp(workspace: &Path) -> PathBuf {
    target(workspace).join("bpf/tcpshift.hash")
}

/// Compares the object with its sources.
pub(crate) fn state(workspace: &Path) -> io::Result<ObjectState> {
    if !object(workspace).is_file() {
        return Ok(ObjectState::Absent);
    }
    let stamp = std::fs::read_to_string(stamp(workspace)).unwrap_or_default();
    Ok(if stamp == hash(workspace)? { ObjectState::Current } else { ObjectState::Stale })
}

/// The number: FNV-1a over the names and the texts of all sources.
pub(crate) fn hash(workspace: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for watched in WATCHED {
        collect(&workspace.join(watched), &mut files)?;
    }
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        let text = std::fs::read(&file).map_err(|error| named(&file, &error))?;
        let name = file.strip_prefix(workspace).unwrap_or(&file).to_string_lossy().into_owned();
        // Lengths go first, so that nothing can move from one part into the next unseen.
        for part in [name.as_bytes(), &text] {
            for byte in part.len().to_le_bytes().iter().chain(part) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    Ok(format!("{hash:016x}"))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(|error| named(path, &error))? {
        let inside = entry.map_err(|error| named(path, &error))?.path();
        if inside.is_dir() || inside.extension().is_some_and(|extension| extension == "rs") {
            collect(&inside, files)?;
        }
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_changes_with_names_and_texts_of_sources_alone() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let error = hash(folder.path()).unwrap_err();
        assert!(error.to_string().contains("tcpshift-common/Cargo.toml"), "{error}");
        for name in ["tcpshift-common/Cargo.toml", "tcpshift-common/src/lib.rs", "tcpshift-ebpf/Cargo.toml"] {
            write(name, "");
        }
        let number = |name, text| {
            write(name, text);
            hash(folder.path()).unwrap()
        };
        let first = number("tcpshift-ebpf/src/main.rs", "a");
        assert_eq!(number("tcpshift-ebpf/src/notes.txt", "b"), first);
        assert_eq!(number("tcpshift-agent/src/main.rs", "b"), first);
        let second = number("tcpshift-ebpf/src/main.rs", "b");
        let third = number("tcpshift-ebpf/src/maps/inner.rs", "");
        assert!(first != second && second != third, "{first} {second} {third}");
        std::fs::remove_file(folder.path().join("tcpshift-ebpf/src/maps/inner.rs")).unwrap();
        assert_eq!(hash(folder.path()).unwrap(), second);
    }
}
