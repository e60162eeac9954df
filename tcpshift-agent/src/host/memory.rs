//! How much memory this process may use: the least limit of its cgroup and of those above it, by either version of
//! cgroups, else all that the host has.
//!
//! Files are read and their text is taken as it is; what cannot be read or understood limits nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that this process may use, and by what they are limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub bytes: u64,
    /// The file that says so.
    pub source: PathBuf,
}

/// The least limit; none if not even the memory of the host is known.
pub fn limit() -> Option<Limit> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let files = files(&groups, &mounts);
    let limits = files.into_iter().filter_map(|source| Some(Limit { bytes: number(&source)?, source }));
    limits.chain(of_host()).min_by_key(|limit| limit.bytes)
}

/// All files that may have a limit of a process with these texts in its `/proc/PID/cgroup` and `mountinfo`.
fn files(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (group, controllers) in groups.lines().filter_map(group) {
        let is_second = controllers.is_empty();
        if !is_second && !controllers.split(',').any(|one| one == "memory") {
            continue;
        }
        let names: &[&str] = if is_second { &["memory.max", "memory.high"] } else { &["memory.limit_in_bytes"] };
        for (root, point) in mounts.lines().filter_map(|line| mount(line, is_second)) {
            // In a container the mount may show a part of the tree only, and the group may lie outside of it.
            let inside = group.strip_prefix(root.trim_end_matches('/')).unwrap_or("").trim_start_matches('/');
            let lowest = Path::new(point).join(if inside.contains("..") { "" } else { inside });
            let all = lowest.ancestors().take_while(|folder| folder.starts_with(point));
            files.extend(all.flat_map(|folder| names.iter().map(|name| folder.join(name))));
        }
    }
    files
}

/// Path and controllers of a line of `/proc/PID/cgroup`; the second version has no controllers there.
fn group(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    Some((path, controllers))
}

/// What a line of `mountinfo` shows and where, if it is cgroups of a version with their memory.
fn mount(line: &str, is_second: bool) -> Option<(&str, &str)> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let fits = match (kind.next()?, is_second) {
        ("cgroup2", true) => true,
        ("cgroup", false) => kind.nth(1)?.split(',').any(|option| option == "memory"),
        _ => false,
    };
    let mut mount = mount.split(' ').skip(3);
    fits.then(|| Some((mount.next()?, mount.next()?)))?
}

/// `max`, and what no host has, are no limit.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

fn of_host() -> Option<Limit> {
    let source = PathBuf::from("/proc/meminfo");
    let text = fs::read_to_string(&source).ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().trim_end_matches("kB").trim_end().parse().ok()?;
    Some(Limit { bytes: kibibytes * 1024, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(groups: &str, mounts: &str) -> Vec<String> {
        files(groups, mounts).into_iter().map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn every_group_on_the_way_up_counts_in_both_versions() {
        let second = "30 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let expected =
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/b/memory.high", "/sys/fs/cgroup/a/memory.max"];
        assert_eq!(found("0::/a/b\n", second)[..3], expected);
        assert_eq!(found("0::/a/b\n", second).len(), 6);
        let first = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        let groups = "4:memory:/a\n1:cpu:/z\n0::/\n";
        let expected = ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        assert_eq!(found(groups, first), expected);
    }

    #[test]
    fn a_container_sees_a_part_of_the_tree() {
        let mounts = "35 31 0:32 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        assert_eq!(found("4:memory:/docker/c1\n", mounts), ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
        assert_eq!(found("4:memory:/elsewhere\n", mounts), ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
        let own = "30 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(found("0::/../../x\n", own)[0], "/sys/fs/cgroup/memory.max");
    }

    #[test]
    fn what_makes_no_sense_limits_nothing() {
        assert!(found("nonsense\n::\n", "nothing - cgroup2").is_empty());
        assert!(limit().is_some_and(|limit| limit.bytes > 1 << 20), "this host has memory");
    }
}
