//! Cgroups: the one that the agent is in, the root of all, and those that are named.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::statfs;

/// What statfs(2) says of a cgroup (`CGROUP2_SUPER_MAGIC`).
const CGROUP2_TYPE: u64 = 0x6367_7270;

const NOT_MOUNTED: &str = "cgroup2 is not mounted; `mount -t cgroup2 none /sys/fs/cgroup` mounts it, or boot with \
                           systemd.unified_cgroup_hierarchy=1";

/// A cgroup of the second version.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: File,
    /// Its folder.
    pub(super) path: PathBuf,
    /// Its number: that of the folder's inode.
    pub(super) number: u64,
}

impl Cgroup {
    /// The one that this process is in.
    pub(super) fn own() -> Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let own = std::fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
        Self::at(folder(&mounts, &own)?)
    }

    /// The root of all, or of the part of the tree that is mounted.
    pub(super) fn root() -> Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let whole = mounted(&mounts).find(|(root, _)| *root == "/");
        let point = whole.or_else(|| mounted(&mounts).next()).map(|(_, point)| point);
        Self::at(point.context(NOT_MOUNTED)?)
    }

    /// The one of a folder.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let found = statfs(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
        if found.f_type as u64 != CGROUP2_TYPE {
            bail!("{} is no cgroup of the second version", folder.display());
        }
        Self::at(folder.to_owned())
    }

    fn at(path: PathBuf) -> Result<Self> {
        let folder = File::open(&path).with_context(|| format!("cannot open the cgroup {}", path.display()))?;
        let number = folder.metadata().with_context(|| format!("cannot look at {}", path.display()))?.ino();
        Ok(Self { folder, path, number })
    }

    /// For people.
    pub(super) fn named(&self) -> String {
        format!("the cgroup {}", self.path.display())
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// The folder of a process's cgroup, from `/proc/PID/mountinfo` and `/proc/PID/cgroup`.
fn folder(mounts: &str, own: &str) -> Result<PathBuf> {
    let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
        bail!("this process is in no cgroup of the second version; the kernel has only the first");
    };
    let mut is_mounted = false;
    for (root, point) in mounted(mounts) {
        is_mounted = true;
        // A part of the tree may be mounted; it shows what lies below its root only.
        if let Ok(below) = Path::new(own).strip_prefix(root) {
            return Ok(point.join(below));
        }
    }
    if is_mounted {
        bail!("no mount of cgroup2 shows this process's cgroup {own}");
    }
    bail!(NOT_MOUNTED)
}

/// Where cgroups of the second version are mounted: which part of the tree, and the mount point.
fn mounted(mounts: &str) -> impl Iterator<Item = (&str, PathBuf)> {
    mounts.lines().filter_map(|line| {
        // proc(5): number, parent, device, root, mount point, options, … - type, source, options
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        Some((fields.next()?, PathBuf::from(unescaped(fields.next()?))))
    })
}

/// A mount point as it is: blanks and the like stand as octal numbers in the table.
fn unescaped(point: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")]
        .iter()
        .fold(point.to_owned(), |point, (from, to)| point.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_is_found_in_the_mount_table() {
        let hybrid = "29 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      30 29 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate\n\
                      31 29 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let own = "4:cpu:/elsewhere\n0::/a b/c\n";
        assert_eq!(folder(hybrid, own).unwrap(), Path::new("/sys/fs/cgroup/unified/a b/c"));
        assert_eq!(folder(hybrid, "0::/\n").unwrap(), Path::new("/sys/fs/cgroup/unified/"));
    }

    #[test]
    fn a_part_of_the_tree_may_be_mounted() {
        let part = "30 29 0:27 /box /sys/fs/cgroup\\040x rw - cgroup2 none rw\n";
        assert_eq!(folder(part, "0::/box/in\n").unwrap(), Path::new("/sys/fs/cgroup x/in"));
        let error = folder(part, "0::/other\n").unwrap_err().to_string();
        assert!(error.contains("/other"), "{error}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let old = "31 29 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert!(folder(old, "0::/\n").unwrap_err().to_string().contains("not mounted"));
        assert!(folder(old, "4:cpu:/\n").unwrap_err().to_string().contains("only the first"));
    }
}
