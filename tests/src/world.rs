//! A world for one test: namespaces for network and mounts, a control group, and a folder of its own.
//!
//! The namespaces belong to the thread that makes them, and are inherited by the threads and processes that this
//! thread starts; ports that are fixed in the route files, and names that are fixed at [`PINS`], are therefore
//! free in every test. The control group is of those who are put into it. It must not know what is tested in it.

use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::until::patient;

/// Where the file system of pinned maps and programs is: in each world, one of its own, with nothing of ours at first.
pub const PINS: &str = "/sys/fs/bpf";

/// How long a world waits for the end of its control group.
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
        let mut random = tempfile::Builder::new();
        random.prefix("tcpshift-test-");
        let folder = random.tempdir().expect("a temporary folder can be made");
        let above = cgroup2();
        let cgroup = random.tempdir_in(&above).unwrap_or_else(|error| {
            panic!(
                "cannot make a control group in {}: {error}; in a container: privileged, with its own control groups",
                above.display()
            )
        });
        // Not removed as folders are: the files in it cannot be, and need not.
        Self { folder, cgroup: cgroup.keep(), stays: PhantomData }
    }

    /// The folder of the world's control group, in which nobody is whom nobody put there.
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
        let begin = Instant::now();
        // Its processes are killed by who started them. One that outlasts the world keeps an empty group, no more.
        while std::fs::remove_dir(&self.cgroup).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy)
            && begin.elapsed() < patient(PATIENCE)
        {
            std::thread::sleep(Duration::from_millis(10));
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
fn cgroup2() -> PathBuf {
    let table = "/proc/thread-self/mountinfo";
    let mounts = std::fs::read_to_string(table).unwrap_or_else(|error| panic!("{table}: {error}"));
    let found = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| place.split(' ').nth(4))?
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
