//! A world for one test: a network namespace of its own, and a folder of its own.
//!
//! The namespace belongs to the thread that makes it, and is inherited by the threads and processes that this
//! thread starts; ports that are fixed in the route files are therefore free in every test. It must not know
//! what is tested in it.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use tempfile::TempDir;

/// Where a test happens.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    /// A world cannot be handed to another thread: the namespace would not follow.
    stays: PhantomData<*const ()>,
}

impl World {
    /// Moves the calling thread into a fresh namespace whose loopback interface is up.
    ///
    /// Needs root, and fails plainly without: a promise that is not tried is not kept.
    #[allow(clippy::new_without_default, reason = "making a world changes the thread; nothing is default about it")]
    pub fn new() -> Self {
        assert!(
            geteuid().is_root(),
            "these tests make network namespaces, which needs root; run them by: sudo -E cargo xtask test"
        );
        // A thousand connections and both of their ends live in this process.
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
            .expect("the soft limit may always be raised to the hard limit");
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
            panic!(
                "cannot make a network namespace: {error}; root needs CAP_SYS_ADMIN here (in a container: privileged)"
            )
        });
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(
            up.as_ref().is_ok_and(std::process::ExitStatus::success),
            "cannot bring up the loopback interface by `ip link set lo up`: {up:?}; `cargo xtask setup` installs iproute2"
        );
        let folder =
            tempfile::Builder::new().prefix("tcpshift-test-").tempdir().expect("a temporary folder can be made");
        Self { folder, stays: PhantomData }
    }

    /// A path in the world's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a folder in the world's folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        path
    }

    /// Writes a file whole, as editors and `mv` do: what reads it sees the old one or the new one.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        replace(&path, content.as_ref());
        path
    }
}

/// Puts a file in the place of another, at once.
pub fn replace(path: &Path, content: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content)
        .and_then(|()| std::fs::rename(&beside, path))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
