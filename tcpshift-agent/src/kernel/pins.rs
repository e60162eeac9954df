//! What is pinned: a folder in the bpf filesystem, named after the number of its layout, its lock, and the names in it.
//!
//! `docs/bpf.md` lists the names; those of maps are in `load/maps`, those of links in `steering` and `clients`. `unload` removes
//! the folders of all versions.
//! A name replaces another one in one step, by rename(2), so a reader always finds a whole table.

mod lasting;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock, major, minor, statfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use tcpshift_common::layout::PIN_LAYOUT;

use super::{load, sys};

/// Where the bpf filesystem is.
pub(super) const BPFFS: &str = "/sys/fs/bpf";
/// What statfs(2) says of it (`BPF_FS_MAGIC`).
const BPFFS_TYPE: u64 = 0xcafe_4a11;
/// The project's folder in it.
pub const FOLDER: &str = "/sys/fs/bpf/tcpshift";
/// What is behind a name that is not shown yet. No dot: the bpf filesystem keeps names with one for itself.
const NEW: &str = "-new";

/// The pins of this agent. While it lives, no other agent has them.
#[derive(Debug)]
pub(super) struct Pins {
    folder: PathBuf,
    /// Locked.
    lock: File,
}

impl Pins {
    /// Takes the folder, and makes it if it is not there.
    pub(super) fn take() -> Result<Self> {
        let top = Path::new(FOLDER);
        make(top)?;
        let own = PIN_LAYOUT.to_string();
        if let Some(other) = names(top)?.into_iter().find(|name| *name != own) {
            bail!(
                "{} is of another layout than this agent's ({PIN_LAYOUT}); stop its agent, and remove it by that version's \
                 `tcpshift-agent unload`",
                top.join(other).display()
            );
        }
        let folder = top.join(own);
        make(&folder)?;
        let lock = lock(&folder)?;
        for inside in ["slots", "links"] {
            make(&folder.join(inside))?;
        }
        // Of an agent that was killed before it could show them.
        discard_new(&folder)?;
        Ok(Self { folder, lock })
    }

    /// Whether the folder is there still, and is the one that is locked.
    pub(super) fn is_there(&self) -> bool {
        let there = fs::symlink_metadata(&self.folder).ok().zip(self.lock.metadata().ok());
        there.is_some_and(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino()))
            && ["slots", "links"].iter().all(|inside| self.folder.join(inside).is_dir())
    }

    /// Where something is pinned under a name.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The links that are pinned, by path.
    pub(super) fn links(&self) -> Result<Vec<PathBuf>> {
        links(&self.folder)
    }

    /// Those of whoever has the folder; none if it cannot be read.
    pub(super) fn links_of_another() -> Vec<PathBuf> {
        links(&Path::new(FOLDER).join(PIN_LAYOUT.to_string())).unwrap_or_default()
    }

    /// Where a link is pinned.
    pub(super) fn link(&self, name: &str) -> PathBuf {
        self.folder.join("links").join(name)
    }

    /// Pins a link, and replaces one that has its name.
    pub(super) fn pin_link(&self, name: &str, link: BorrowedFd<'_>) -> Result<()> {
        self.pin(&format!("links/{name}"), link)
    }

    /// Removes what another agent has left, but for links, and for maps that are gone on with: until the own ones have their
    /// names, clients' sockets must not lose what is known of them.
    pub(super) fn clear(&self) -> Result<()> {
        let stays = |name: &str| ["links", "slots"].contains(&name) || load::LASTING.contains(&name);
        for name in names(&self.folder)?.into_iter().filter(|name| !stays(name)) {
            remove(&self.folder.join(name))?;
        }
        let slots = self.folder.join("slots");
        // Those of the plan that is being put in force are there already.
        for name in names(&slots)?.into_iter().filter(|name| !name.ends_with(NEW)) {
            remove(&slots.join(name))?;
        }
        Ok(())
    }

    /// Shows an object under a name.
    pub(super) fn pin(&self, name: &str, object: BorrowedFd<'_>) -> Result<()> {
        let (path, new) = (self.folder.join(name), self.folder.join(format!("{name}{NEW}")));
        pin(object, &new)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot pin {}", path.display()))
    }

    /// Pins the next slot table of a route, which is not shown yet. Returns its name until then.
    pub(super) fn prepare(&self, route: u32, table: BorrowedFd<'_>) -> io::Result<PathBuf> {
        let name = self.slots(route, NEW);
        pin(table, &name)?;
        Ok(name)
    }

    /// Shows the tables of a plan that is in force. What cannot be shown is in force all the same: the error is of the first of
    /// those, after all others are shown.
    pub(super) fn show(&self, tables: &[(String, BorrowedFd<'_>)], changed: &[u32], gone: &[u32]) -> Result<()> {
        let mut failed = None;
        for route in changed {
            failed = fs::rename(self.slots(*route, NEW), self.slots(*route, "")).err().or(failed);
        }
        for route in gone {
            failed = fs::remove_file(self.slots(*route, "")).err().or(failed);
        }
        if let Some(error) = failed {
            log::warn!("not all slot tables are shown under {}: {error}", self.folder.join("slots").display());
        }
        // All are tried.
        let pinned: Vec<Result<()>> = tables.iter().map(|(name, table)| self.pin(name, *table)).collect();
        pinned.into_iter().collect()
    }

    /// Shows a slot table that could not be prepared.
    pub(super) fn show_slots(&self, route: u32, table: BorrowedFd<'_>) -> Result<()> {
        self.pin(&format!("slots/{route}"), table)
    }

    /// Removes a name, unless somebody has.
    pub(super) fn hide(&self, name: &str) {
        fs::remove_file(self.folder.join(name)).ok();
    }

    fn slots(&self, route: u32, suffix: &str) -> PathBuf {
        self.folder.join("slots").join(format!("{route}{suffix}"))
    }

    /// Leaves what is pinned as [`Pins::take`] found it, but for what is not shown yet. Folders go if nothing is in them.
    pub(super) fn give_back(self) {
        let gone = discard_new(&self.folder);
        if let Err(error) = gone {
            log::debug!("{error:#}");
        }
        let folders = ["slots", "links", ""].map(|inside| self.folder.join(inside));
        for folder in folders.iter().map(PathBuf::as_path).chain([Path::new(FOLDER)]) {
            // One that is not empty is another agent's.
            fs::remove_dir(folder).ok();
        }
    }

    /// Removes everything, and detaches what is attached.
    pub(super) fn remove(self) -> Result<()> {
        sweep(&self.folder)?;
        if let Some(top) = self.folder.parent() {
            // One of another layout may be in it.
            fs::remove_dir(top).ok();
        }
        Ok(())
    }
}

fn links(folder: &Path) -> Result<Vec<PathBuf>> {
    let links = folder.join("links");
    Ok(names(&links)?.into_iter().map(|name| links.join(name)).collect())
}

/// What `unload` found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unloaded {
    /// Links that were detached.
    pub links: usize,
    /// Other names that were removed.
    pub pins: usize,
}

/// Removes everything of tcpshift that is pinned or attached, of every layout. Fails if an agent runs that has it.
pub fn unload() -> Result<Unloaded> {
    let mut unloaded = Unloaded::default();
    for folder in layouts()? {
        // In a directory that others may write to, another user may have made these folders, with links to other files.
        owned(Path::new(FOLDER))?;
        owned(&folder)?;
        let _lock = lock(&folder)?;
        for (path, is_link) in contents(&folder)? {
            if is_link {
                unloaded.links += 1;
            } else {
                unloaded.pins += 1;
            }
            log::debug!("{}", path.display());
        }
        sweep(&folder)?;
    }
    match fs::remove_dir(FOLDER) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {FOLDER}"))
        }
        _ => Ok(unloaded),
    }
}

/// What is pinned of one layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PinnedFolder {
    pub(super) folder: PathBuf,
    pub(super) links: usize,
    pub(super) pins: usize,
    /// The agent that has it.
    pub(super) holder: Option<u32>,
}

impl PinnedFolder {
    /// Whether it is of another layout than this agent's.
    pub(super) fn is_foreign(&self) -> bool {
        self.folder.file_name() != Some(PIN_LAYOUT.to_string().as_ref())
    }
}

/// What is pinned, of every layout. Nothing is changed, and no lock is taken.
pub(super) fn found() -> Result<Vec<PinnedFolder>> {
    let found = layouts()?.into_iter().map(|folder| {
        let contents = contents(&folder)?;
        let links = contents.iter().filter(|(_, is_link)| *is_link).count();
        let pins = contents.len() - links;
        let holder = fs::metadata(&folder).ok().and_then(|metadata| holder(&metadata));
        Ok(PinnedFolder { folder, links, pins, holder })
    });
    found.collect()
}

/// The folders of all layouts.
fn layouts() -> Result<Vec<PathBuf>> {
    let top = Path::new(FOLDER);
    if !is_bpffs()? || !top.try_exists().with_context(|| format!("cannot look at {FOLDER}, as root can"))? {
        return Ok(Vec::new());
    }
    Ok(names(top)?.into_iter().map(|name| top.join(name)).collect())
}

/// Files below a folder, and whether each is a link.
fn contents(folder: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    for name in names(folder)? {
        let path = folder.join(name);
        // Not of what a symbolic link leads to.
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            found.extend(contents(&path)?);
        } else {
            let is_link = path.parent().is_some_and(|parent| parent.ends_with("links"));
            found.push((path, is_link));
        }
    }
    Ok(found)
}

/// Removes a folder and everything in it, links first.
fn sweep(folder: &Path) -> Result<()> {
    let mut contents = contents(folder)?;
    contents.sort_by_key(|(_, is_link)| !is_link);
    for (path, is_link) in contents {
        if is_link {
            let link = sys::pinned(&path).with_context(|| format!("cannot open {}", path.display()))?;
            match sys::detach(link.as_fd()) {
                Ok(()) => {}
                // Its cgroup is gone, or it is no link: to be removed all the same.
                Err(error) => log::debug!("{} is not detached: {error}", path.display()),
            }
        }
        remove(&path)?;
    }
    for inside in ["slots", "links", ""] {
        let folder = folder.join(inside);
        match fs::remove_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes what is not shown yet.
fn discard_new(folder: &Path) -> Result<()> {
    for folder in [folder.to_owned(), folder.join("slots"), folder.join("links")] {
        for name in names(&folder)?.into_iter().filter(|name| name.ends_with(NEW)) {
            remove(&folder.join(name))?;
        }
    }
    Ok(())
}

fn pin(object: BorrowedFd<'_>, new: &Path) -> io::Result<()> {
    match sys::pin(object, new) {
        // Of an agent that was killed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(new)?;
            sys::pin(object, new)
        }
        done => done,
    }
}

pub(super) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names: io::Result<Vec<_>> =
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names.with_context(|| format!("cannot read {}", folder.display()))?;
    names.sort();
    Ok(names)
}

/// Makes a folder that is root's alone. One that is there has to be so.
fn make(folder: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", folder.display())),
    }
    owned(folder)
}

/// Fails unless a folder is this user's alone.
fn owned(folder: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    let own = rustix::process::geteuid().as_raw();
    if !metadata.is_dir() || metadata.uid() != own || metadata.permissions().mode() & 0o077 != 0 {
        bail!("{} is not this user's alone (mode 0700); look who made it, and remove it", folder.display());
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File> {
    let file = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let who = file.metadata().ok().and_then(|metadata| holder(&metadata));
            let who = who.map_or_else(|| "an agent".to_owned(), |pid| format!("the agent of process {pid}"));
            bail!("{who} has {}, and has to end first", folder.display())
        }
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", folder.display())),
    }
}

/// The process that has locked a file, from /proc/locks: `1: FLOCK ADVISORY WRITE 71 00:1f:1234 0 EOF`.
fn holder(file: &fs::Metadata) -> Option<u32> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let file_id = format!("{:02x}:{:02x}:{}", major(file.dev()), minor(file.dev()), file.ino());
    locks.lines().filter(|line| line.contains("FLOCK")).find_map(|line| {
        let mut fields = line.split_whitespace().skip(4);
        let pid = fields.next()?.parse().ok()?;
        (fields.next()? == file_id).then_some(pid)
    })
}

pub(super) fn is_bpffs() -> Result<bool> {
    match statfs(BPFFS) {
        Ok(found) => Ok(found.f_type as u64 == BPFFS_TYPE),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {BPFFS}")),
    }
}

/// Mounts the bpf filesystem where it belongs if it is not there.
pub fn see_to_bpffs() -> Result<()> {
    if is_bpffs()? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", BPFFS, "bpf", flags, Some(c"mode=0700")).with_context(|| {
        format!("the bpf filesystem is not mounted, and cannot be; `mount -t bpf bpf {BPFFS}` mounts it")
    })
}
