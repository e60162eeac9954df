//! A world for one test: namespaces for network and mounts, a control group, and a folder of its own.
//!
//! The namespaces belong to the thread that makes them, and are inherited by the threads and processes that this
//! thread starts; ports that are fixed in the route files, and names that are fixed at [`PINS`], are therefore
//! free in every test. In the control group are the processes that a test puts there.

use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::until::{PAUSE, patient};

/// Where the file system of pinned maps and programs is: in each world, one of its own, with nothing of ours at first.
pub const PINS: &str = "/sys/fs/bpf";

/// How names of folders and control groups of worlds begin.
const PREFIX: &str = "tcpshift-test-";

/// How long a world waits until no process is in its control group.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a test happens.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    cgroup: PathBuf,
    /// A world cannot be handed to another thread: the namespaces would not follow.
    stays: PhantomData<*const ()>,
}

impl World {
    /// Moves the calling thread into fresh namespaces, with a loopback interface that is up and nothing of ours pinned.
    ///
    /// Needs root, and fails plainly without: a promise that is not tried is not kept.
    #[allow(clippy::new_without_default, reason = "making a world changes the thread; nothing is default about it")]
    pub fn new() -> Self {
        assert!(
            geteuid().is_root(),
            "these tests make namespaces, which needs root; run them by: sudo -E cargo xtask test"
        );
        // A thousand connections and both of their ends live in this process.
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
            .expect("the soft limit may always be raised to the hard limit");
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap_or_else(|error| {
            panic!(
                "cannot make namespaces for network and mounts: {error}; root needs CAP_SYS_ADMIN here (in a \
                 container: privileged)"
            )
        });
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(
            up.as_ref().is_ok_and(std::process::ExitStatus::success),
            "cannot bring up the loopback interface by `ip link set lo up`: {up:?}; `cargo xtask setup` installs iproute2"
        );
        pins();
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a temporary folder can be made");
        let cgroup = cgroup_of(folder.path());
        std::fs::create_dir(&cgroup).unwrap_or_else(|error| {
            panic!(
                "cannot make the control group {}: {error}; in a container: privileged, with its own control groups",
                cgroup.display()
            )
        });
        Self { folder, cgroup, stays: PhantomData }
    }

    /// The folder of the world's control group, in which only those processes are that the test puts there.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
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

impl Drop for World {
    fn drop(&mut self) {
        remove_cgroup(&self.cgroup);
    }
}

/// The control group of the world that has a folder. They have one name, so that the group of a process that was killed can be
/// found by its folder.
fn cgroup_of(folder: &Path) -> PathBuf {
    cgroup2().join(folder.file_name().expect("the folder of a world has a name"))
}

/// Removes a control group as soon as no process is in it. The group stays if a process outlasts the world.
fn remove_cgroup(path: &Path) {
    let begin = Instant::now();
    // The files in it cannot be removed, and need not be.
    while std::fs::remove_dir(path).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy)
        && begin.elapsed() < patient(PATIENCE)
    {
        std::thread::sleep(PAUSE);
    }
}

/// Removes the control groups of all worlds whose folders are in a folder: a process that was killed cannot do it itself.
pub fn remove_cgroups(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            remove_cgroup(&cgroup_of(&entry.path()));
        }
    }
}

/// Mounts a file system for pins where this thread alone sees it; it is gone with the last process of the world.
fn pins() {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .unwrap_or_else(|error| panic!("cannot keep mounts in the namespace: {error}"));
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", PINS, "bpf", flags, c"mode=0700")
        .unwrap_or_else(|error| panic!("cannot mount bpffs at {PINS}: {error}; the kernel needs CONFIG_BPF_SYSCALL"));
}

/// Where the second version of control groups is mounted.
///
/// # Panics
/// If it is not mounted.
pub fn cgroup2() -> PathBuf {
    let table = "/proc/thread-self/mountinfo";
    let mounts = std::fs::read_to_string(table).unwrap_or_else(|error| panic!("{table}: {error}"));
    let found = mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        file_system.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4))?
    });
    found.expect("cgroup2 is not mounted; type: mount -t cgroup2 cgroup2 /sys/fs/cgroup").into()
}

/// Puts a file in the place of another, at once.
pub fn replace(path: &Path, content: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content)
        .and_then(|()| std::fs::rename(&beside, path))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
