//! Opens the file that a path leads to, if no other user can change which file that is.
//!
//! The path is walked from the root folder, each step from the descriptor of the folder before, and every folder and link
//! on the way is checked by its descriptor. So the file that is opened is the one that was checked, whatever is renamed
//! meanwhile. Links are followed, and the same rule holds for their targets.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, mkdirat, open as open_at_root, openat, readlinkat};
use rustix::io::Errno;

use super::owners::Owners;
use super::{Doubt, OpenError, Untrusted};

/// Links that are followed on one way, as the kernel does (`MAXSYMLINKS`, `path_resolution(7)`).
const LINKS: usize = 40;

/// Opens a file or folder without the right to read it, to check it and to go on from it.
const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder on the way.
struct Step {
    folder: OwnedFd,
    path: PathBuf,
    /// Everybody may put files into it, so a file in it must belong to a trusted user.
    is_shared: bool,
}

/// The file or folder at the end of a path.
pub(super) struct PathEnd {
    /// Opened for its path alone.
    pub(super) descriptor: OwnedFd,
    pub(super) stat: Stat,
    /// Without links.
    pub(super) path: PathBuf,
    /// The folder that it is in; none of the root folder.
    parent: Option<(OwnedFd, OsString)>,
}

/// Opens a file for reading. Errors: the system refuses, or another user may write the file, or replace a part of the path.
pub fn open(path: &Path, owners: &Owners) -> Result<File, OpenError> {
    let found = walk(path, owners, false)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match &found.parent {
        Some((folder, name)) => openat(folder, name, flags, Mode::empty())?,
        None => return Err(io::Error::from(io::ErrorKind::IsADirectory).into()),
    };
    if let Some(doubt) = owners.doubt(&fstat(&file)?, &file) {
        return Err(Untrusted::new(&found.path, doubt).into());
    }
    Ok(file.into())
}

/// Checks that no other user may add files to a folder. Its files have still to be opened by [`open`]. Errors: as of [`open`].
pub fn check_folder(path: &Path, owners: &Owners) -> Result<(), OpenError> {
    let PathEnd { descriptor, stat, path, .. } = walk(path, owners, false)?;
    match owners.doubt_of_list(&stat, descriptor) {
        Some(doubt) => Err(Untrusted::new(&path, doubt).into()),
        None => Ok(()),
    }
}

/// Walks to the end of a path, which is not checked itself. With `make`, missing folders are made with mode 0700.
pub(super) fn walk(path: &Path, owners: &Owners, make: bool) -> Result<PathEnd, OpenError> {
    let path = std::path::absolute(path)?;
    let mut left: Vec<OsString> = Vec::new();
    push(&mut left, &path);
    let mut way = vec![start(owners)?];
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == OsStr::new("..") {
            // The parent of the root folder is the root folder.
            way.truncate(way.len().saturating_sub(1).max(1));
            continue;
        }
        let here = &way[way.len() - 1];
        let path = here.path.join(&name);
        let descriptor = match openat(&here.folder, &name, STEP, Mode::empty()) {
            Err(Errno::NOENT) if make => {
                match mkdirat(&here.folder, &name, Mode::RWXU) {
                    // Another process made it at the same time: it is checked like any other.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                openat(&here.folder, &name, STEP, Mode::empty())?
            }
            opened => opened?,
        };
        let stat = fstat(&descriptor)?;
        if here.is_shared && !owners.contain(stat.st_uid) {
            return Err(Untrusted::new(&path, Doubt::Owner { uid: stat.st_uid, mode: stat.st_mode & 0o7777 }).into());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = PathBuf::from(OsString::from_vec(readlinkat(&descriptor, "", Vec::new())?.into_bytes()));
                if target.is_absolute() {
                    way.truncate(1);
                }
                push(&mut left, &target);
            }
            _ if left.is_empty() => {
                let parent = way.pop().map(|step| (step.folder, name));
                return Ok(PathEnd { descriptor, stat, path, parent });
            }
            FileType::Directory => {
                let is_shared = is_shared(&path, &stat, &descriptor, owners)?;
                way.push(Step { folder: descriptor, path, is_shared });
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    // The path ends in a folder that was gone through already: `/`, or with `..`.
    let Some(Step { folder, path, .. }) = way.pop() else { return Err(Errno::NOENT.into()) };
    let stat = fstat(&folder)?;
    Ok(PathEnd { descriptor: folder, stat, path, parent: None })
}

fn start(owners: &Owners) -> Result<Step, OpenError> {
    let path = PathBuf::from("/");
    let folder = open_at_root(&path, STEP | OFlags::DIRECTORY, Mode::empty())?;
    let is_shared = is_shared(&path, &fstat(&folder)?, &folder, owners)?;
    Ok(Step { folder, path, is_shared })
}

/// Whether a folder on the way is writable by everybody, such as /tmp. Errors: other users may replace its files.
fn is_shared(path: &Path, stat: &Stat, folder: impl AsFd, owners: &Owners) -> Result<bool, OpenError> {
    match owners.doubt_on_the_way(stat, folder) {
        None => Ok(false),
        Some(Doubt::Shared { .. }) => Ok(true),
        Some(doubt) => Err(Untrusted::new(path, doubt).into()),
    }
}

/// Pushes the parts of a path onto those that are left, in reverse order.
fn push(left: &mut Vec<OsString>, path: &Path) {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    left.extend(parts);
}
