//! Whose files are trusted: those of root, of this process's user, and of the user who started it by sudo.
//!
//! The rule looks at owner and mode alone, as fstat(2) gives them for a descriptor.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{AtFlags, Mode, Stat, StatVfsMountFlags, StatxAttributes, StatxFlags, fstatvfs, getxattr, statx};
use rustix::io::Errno;

use super::Doubt;

/// The users and groups of this host. A group that is in neither file counts as one of other users.
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// The extended attribute that has a file's access control list (acl(5)).
const LIST: &str = "system.posix_acl_access";

/// The users whose files are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    own: u32,
    /// The user who started root's process by sudo(8), which sets `SUDO_UID`.
    sudo: Option<u32>,
    /// The owner of the root folder. In a user namespace that does not map root this is the overflow user, as for all files of
    /// root. It is trusted for folders of a path only.
    root: u32,
}

impl Owners {
    /// Root, this process's user, and the user who started it by sudo.
    pub fn of_this_process() -> Self {
        let own = rustix::process::geteuid();
        let sudo = std::env::var("SUDO_UID").ok().filter(|_| own.is_root());
        let root = rustix::fs::stat("/").map_or(0, |root| root.st_uid);
        Self { own: own.as_raw(), sudo: sudo.and_then(|uid| uid.parse().ok()), root }
    }

    /// Root alone.
    pub fn root_alone() -> Self {
        Self { own: 0, sudo: None, root: 0 }
    }

    /// Root and this process's user alone.
    #[must_use]
    pub fn without_sudo(self) -> Self {
        Self { sudo: None, ..self }
    }

    /// Whether a user is one of them.
    pub fn contain(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own || self.sudo == Some(uid)
    }

    /// What lets another user change a file or a folder.
    pub(super) fn doubt(&self, stat: &Stat, descriptor: impl AsFd) -> Option<Doubt> {
        if self.contain(stat.st_uid) { writable(stat, descriptor) } else { Some(owned(stat)) }
    }

    /// As [`Owners::doubt`], for a folder of a path. [`Doubt::Shared`] is a folder such as /tmp, in which no user can replace
    /// another one's files, or a volume ([`is_volume`]).
    pub(super) fn doubt_on_the_way(&self, stat: &Stat, descriptor: impl AsFd) -> Option<Doubt> {
        if !self.contain(stat.st_uid) && stat.st_uid != self.root {
            return Some(owned(stat));
        }
        let doubt = writable(stat, &descriptor)?;
        let is_sticky = Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX);
        Some(if is_sticky || is_volume(descriptor) { Doubt::Shared { mode: mode(stat) } } else { doubt })
    }

    /// As [`Owners::doubt`], for a folder that is listed and whose files are checked one by one.
    pub(super) fn doubt_of_list(&self, stat: &Stat, descriptor: impl AsFd) -> Option<Doubt> {
        let doubt = self.doubt(stat, &descriptor)?;
        (matches!(doubt, Doubt::Owner { .. }) || !is_volume(descriptor)).then_some(doubt)
    }
}

/// Whether a folder is the top of a mount that takes no writes. Kubernetes mounts the volume of a `ConfigMap` and of a
/// `Secret` so, and the folder has mode 0777 or 1777 (`setupDir` of `pkg/volume/emptydir/empty_dir.go`, Kubernetes 1.34,
/// <https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/volume/emptydir/empty_dir.go>). Another mount may show
/// the same folder and take writes, so its files must still belong to a trusted user.
fn is_volume(folder: impl AsFd) -> bool {
    let is_top = statx(&folder, "", AtFlags::EMPTY_PATH, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    is_top && fstatvfs(&folder).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn mode(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

fn owned(stat: &Stat) -> Doubt {
    Doubt::Owner { uid: stat.st_uid, mode: mode(stat) }
}

/// Whether users besides the owner may write.
fn writable(stat: &Stat, descriptor: impl AsFd) -> Option<Doubt> {
    let mode_bits = Mode::from_raw_mode(stat.st_mode);
    if mode_bits.contains(Mode::WOTH) {
        return Some(Doubt::Writable { mode: mode(stat), group: None });
    }
    let may_group = mode_bits.contains(Mode::WGRP);
    (may_group && !is_private(stat.st_gid, stat.st_uid, descriptor))
        .then(|| Doubt::Writable { mode: mode(stat), group: Some(stat.st_gid) })
}

/// Whether the owner is the only member of a group that may write, as each user has one where umask is 002. With an access
/// control list the group bits of the mode cover every user in the list.
fn is_private(gid: u32, uid: u32, descriptor: impl AsFd) -> bool {
    // By the descriptor's name: fgetxattr(2) takes no descriptor that was opened for its path alone (open(2), O_PATH).
    let name = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
    let mut none = [0_u8; 0];
    if !matches!(getxattr(name, LIST, &mut none[..]), Err(Errno::NODATA | Errno::OPNOTSUPP)) {
        return false;
    }
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    is_alone(gid, uid, &read(USERS), &read(GROUPS))
}

/// Whether a group has one member, and that is the user: by passwd(5) and group(5).
fn is_alone(gid: u32, uid: u32, users: &str, groups: &str) -> bool {
    let users: Vec<(&str, u32, u32)> = users
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            Some((name, uid, fields.next()?.parse().ok()?))
        })
        .collect();
    let by_user = users.iter().filter(|(_, _, primary)| *primary == gid).map(|(_, uid, _)| Some(*uid));
    let by_group = groups.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(gid)).then(|| fields.next().unwrap_or_default().trim())
    });
    let by_group = by_group.flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
    let by_group = by_group.map(|name| users.iter().find(|(known, ..)| *known == name).map(|(_, uid, _)| *uid));
    let members: Vec<Option<u32>> = by_user.chain(by_group).collect();
    !members.is_empty() && members.iter().all(|member| *member == Some(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_its_owners_alone_if_nobody_else_is_in_it() {
        let users = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:100::/:/bin/sh\n";
        let groups = "root:x:0:\nann:x:1000:\nstaff:x:100:\nteam:x:7:ann,bob\nempty:x:8:\nonly:x:9:ann\n";
        assert!(is_alone(1000, 1000, users, groups));
        assert!(is_alone(9, 1000, users, groups));
        assert!(is_alone(0, 0, users, groups));
        for (gid, uid, why) in [
            (100, 1000, "it is another user's"),
            (7, 1000, "it has two members"),
            (8, 1000, "a group without members is no user's"),
            (5, 1000, "an unknown group may be anybody's"),
            (1000, 1001, "it is not the owner's"),
        ] {
            assert!(!is_alone(gid, uid, users, groups), "{why}");
        }
        let stranger = groups.replace("ann:x:1000:", "ann:x:1000:carol");
        assert!(!is_alone(1000, 1000, users, &stranger), "a member that is no user of this host");
    }
}
