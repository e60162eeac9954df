//! The cgroup that the agent is in, found from the mount table.
//!
//! It must not know what is attached to it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

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
        let path = place(&mounts, &own)?;
        let folder = File::open(&path).with_context(|| format!("cannot open the cgroup {}", path.display()))?;
        let number = folder.metadata().with_context(|| format!("cannot look at {}", path.display()))?.ino();
        Ok(Self { folder, path, number })
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// The folder of a process's cgroup, from `/proc/PID/mountinfo` and `/proc/PID/cgroup`.
fn place(mounts: &str, own: &str) -> Result<PathBuf> {
    let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
        bail!("this process is in no cgroup of the second version; the kernel has only the first");
    };
    let mut is_mounted = false;
    for line in mounts.lines() {
        // proc(5): number, parent, device, root, mount point, options, … - type, source, options
        let Some((left, right)) = line.split_once(" - ") else { continue };
        if right.split(' ').next() != Some("cgroup2") {
            continue;
        }
        is_mounted = true;
        let mut fields = left.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
        // A part of the tree may be mounted; it shows what lies below its root only.
        if let Ok(below) = Path::new(own).strip_prefix(root) {
            return Ok(Path::new(&unescaped(point)).join(below));
        }
    }
    if is_mounted {
        bail!("no mount of cgroup2 shows this process's cgroup {own}");
    }
    bail!(
        "cgroup2 is not mounted; `mount -t cgroup2 none /sys/fs/cgroup` mounts it, or boot with systemd.unified_cgroup_hierarchy=1"
    )
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
        assert_eq!(place(hybrid, own).unwrap(), Path::new("/sys/fs/cgroup/unified/a b/c"));
        assert_eq!(place(hybrid, "0::/\n").unwrap(), Path::new("/sys/fs/cgroup/unified/"));
    }

    #[test]
    fn a_part_of_the_tree_may_be_mounted() {
        let part = "30 29 0:27 /box /sys/fs/cgroup\\040x rw - cgroup2 none rw\n";
        assert_eq!(place(part, "0::/box/in\n").unwrap(), Path::new("/sys/fs/cgroup x/in"));
        let error = place(part, "0::/other\n").unwrap_err().to_string();
        assert!(error.contains("/other"), "{error}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let old = "31 29 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert!(place(old, "0::/\n").unwrap_err().to_string().contains("not mounted"));
        assert!(place(old, "4:cpu:/\n").unwrap_err().to_string().contains("only the first"));
    }
}
