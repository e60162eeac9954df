//! A cgroup that lives as long as this value: what steers for the programs of one contender is not met by another's.
//!
//! No controller counts in it. One below it is for a balancer that is apart from clients and servers, as a service is.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long its end waits for that of the processes in it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A cgroup of the second version.
pub(super) struct BenchCgroup {
    /// Where it is.
    pub(super) folder: PathBuf,
    /// Where the one below it is.
    pub(super) below: PathBuf,
}

impl BenchCgroup {
    /// Makes both, with nobody in them.
    pub(super) fn new(name: &str) -> Result<Self> {
        let folder = mounted()?.join(format!("tcpshift-bench-{}-{name}", std::process::id()));
        let made = Self { below: folder.join("balancer"), folder };
        // It makes the one that it is in too.
        std::fs::create_dir_all(&made.below)
            .with_context(|| format!("cannot make the cgroup {}", made.below.display()))?;
        Ok(made)
    }

    /// The file that takes the number of a process to be in it.
    pub(super) fn door(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for BenchCgroup {
    fn drop(&mut self) {
        let begin = Instant::now();
        for folder in [&self.below, &self.folder] {
            // One that is left after all is empty, and no matter.
            while std::fs::remove_dir(folder).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy)
                && begin.elapsed() < PATIENCE
            {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Where cgroups of the second version are mounted.
pub(super) fn mounted() -> Result<PathBuf> {
    let table = "/proc/self/mounts";
    let text = std::fs::read_to_string(table).with_context(|| format!("cannot read {table}"))?;
    let mount = mount(&text).context("cgroup2 is not mounted; type: mount -t cgroup2 cgroup2 /sys/fs/cgroup")?;
    Ok(mount.to_owned())
}

fn mount(mounts: &str) -> Option<&Path> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let mount = fields.next()?;
        (fields.next()? == "cgroup2").then(|| Path::new(mount))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_version_is_found_beside_the_first() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount(mounts), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mount("tmpfs /tmp tmpfs rw 0 0\n"), None);
    }
}
