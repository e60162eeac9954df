//! The state directory: the objects that were applied, one YAML file each. Every transaction is there whole or not at all.
//!
//! A transaction of several objects is first written to a journal, which one rename makes valid; then the files are changed,
//! and the journal is removed. An agent that starts after a crash finishes what the journal says. Only one agent may use a
//! directory at a time.

mod durable;
mod journal;
mod load;
mod paths;

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};

use super::files;
use crate::route::object::{Key, Object};
use crate::route::problem::Problem;
use crate::route::write;
use crate::trust::folder::Folder;
use crate::trust::{self, Doubt, text};
use journal::Journal;
use paths::{JOURNAL, LOCK, OBJECTS, VERSION, WRITING, file_of, object};

/// An open state directory.
#[derive(Debug)]
pub struct StateFolder {
    root: Folder,
    /// The part of the journal that could not be carried out yet.
    unfinished: Journal,
    /// The lock of the directory; none once another agent has it.
    lock: Option<File>,
}

impl StateFolder {
    /// Makes a directory that is missing. Errors: another user could write it, or replace a folder above it. Errors of the system
    /// are not returned: [`StateFolder::open`] meets them again.
    pub fn prepare(root: &Path) -> anyhow::Result<()> {
        match Folder::make(root) {
            Err(error @ trust::OpenError::Untrusted(_)) => Err(refused(root, error)),
            Ok(_) | Err(trust::OpenError::System(_)) => Ok(()),
        }
    }

    /// Opens a directory, makes it (mode 0700) where it is missing, and finishes what a crash left.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        Self::open_as(root, None)
    }

    /// As [`StateFolder::open`], with the lock of an agent that hands the directory over; a lock of another directory is not
    /// used. Nothing may be written until the other agent gives up the directory; a journal that a crash left is read, and
    /// carried out by [`StateFolder::catch_up`].
    pub fn open_as(path: &Path, handed_over: Option<OwnedFd>) -> anyhow::Result<Self> {
        let refused = |error| refused(path, error);
        let root = Folder::make(path).map_err(refused)?;
        root.make_inside(Path::new(OBJECTS)).map_err(refused)?;
        root.sync(Path::new("")).map_err(refused)?;
        let lock = root.lock_file(LOCK).map_err(refused)?;
        let is_same = |other: &File| {
            let (one, other) = (lock.metadata().ok(), other.metadata().ok());
            one.zip(other).is_some_and(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino()))
        };
        let handed_over = handed_over.map(File::from).filter(is_same);
        let is_shared = handed_over.is_some();
        // Both agents hold one lock, which is released when the last of them closes it.
        let lock = handed_over.unwrap_or(lock);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another agent uses the state directory {}; give this one another by --state-dir", path.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.join(LOCK).display()));
            }
        }
        let unfinished = Journal::read(&root)?;
        let mut state = Self { root, unfinished, lock: Some(lock) };
        if !is_shared {
            state.catch_up();
        }
        Ok(state)
    }

    /// Makes the directory again, with these objects, if somebody removed it or all of its files; returns whether it did so.
    /// Errors: the directory cannot be made, or holds other files by now, which stay; the objects do not outlast this agent.
    pub fn renew<'a>(&mut self, applied: impl Iterator<Item = &'a Arc<Object>>) -> anyhow::Result<bool> {
        let Some(lock) = &self.lock else { return Ok(false) };
        let path = self.root.path().to_owned();
        let there = std::fs::symlink_metadata(path.join(LOCK)).ok().zip(lock.metadata().ok());
        if there.is_some_and(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino())) {
            return Ok(false);
        }
        let shown = path.display();
        let lost = || format!("the state directory {shown} is gone, and what is applied is lost when this agent ends");
        let folder = Folder::make(&path).map_err(|error| refused(&path, error)).with_context(lost)?;
        let objects = Path::new(OBJECTS);
        let has_objects =
            folder.has_folder(objects) && !folder.files(objects, |_| true).is_ok_and(|all| all.is_empty());
        if has_objects || !matches!(folder.read(Path::new(JOURNAL), 0), Ok(None)) {
            bail!("the state directory {shown} is another one by now: start the agent again to read it");
        }
        let mut state = Self::open(&path).with_context(lost)?;
        let applied: Vec<_> = applied.cloned().collect();
        state.write(&applied, &[], 0).with_context(lost)?;
        *self = state;
        Ok(true)
    }

    /// A copy of the directory's lock, for the agent that takes over.
    pub fn lend(&self) -> io::Result<OwnedFd> {
        let lock = self.lock.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(lock.try_clone()?.into())
    }

    /// Leaves the directory to the other agent that holds its lock. Nothing may be written after this.
    pub fn let_go(&mut self) {
        self.lock = None;
    }

    /// Every object, the version that the store had at least, and the problems of files that hold no valid object; those files
    /// stay. Errors: a file or a folder belongs to another user, is a link, or can be written by others.
    pub fn load(&self) -> anyhow::Result<(Vec<Object>, u64, Vec<Problem>)> {
        load::load(&self.root, &self.unfinished)
    }

    /// Carries out the journal that a crash left, if there is one.
    pub fn catch_up(&mut self) {
        if self.unfinished.len() > 0 {
            log::info!("finishing the change that an earlier agent had begun in {}", self.root.path().display());
            let journal = std::mem::take(&mut self.unfinished);
            self.finish(journal);
        }
    }

    /// Carries out a transaction that the journal holds already. After an error it is kept, and tried again with the next one.
    fn finish(&mut self, journal: Journal) {
        let done = journal.carry_out(&self.root);
        self.unfinished = journal;
        match done {
            Ok(()) => self.unfinished = Journal::default(),
            Err(error) => log::error!(
                "cannot write to {}: {error}; {} keeps the change, and it is tried again with the next",
                self.root.path().join(OBJECTS).display(),
                self.root.path().join(JOURNAL).display()
            ),
        }
    }

    /// Makes a transaction durable. After an error nothing of it is stored, now and after a restart. A warning is returned if it
    /// is stored and the disk did not confirm it.
    ///
    /// `version` is that of the store. Each object has its own in its file; the store's is written when objects are
    /// deleted, since the highest version may be that of a deleted object.
    pub fn write(&mut self, stored: &[Arc<Object>], deleted: &[Key], version: u64) -> anyhow::Result<Option<String>> {
        let write = stored.iter().map(|object| (file_of(&object.key), write::yaml(&object.document()))).collect();
        let mut journal = Journal { write, remove: deleted.iter().map(file_of).collect() };
        if journal.len() == 0 {
            return Ok(None);
        }
        let is_waiting = self.unfinished.len() > 0;
        // A transaction of one file needs no journal: a rename or an unlink is atomic.
        if !is_waiting && journal.len() == 1 {
            let warning = match (journal.write.pop_first(), journal.remove.pop_first()) {
                (Some((path, text)), _) => durable::change(&self.root, &object(path), Some(text.as_bytes()))?,
                (None, Some(path)) => durable::change(&self.root, &object(path), None)?,
                (None, None) => None,
            };
            if !deleted.is_empty()
                && let Err(error) = self.root.replace(&object(VERSION), version.to_string().as_bytes(), WRITING, true)
            {
                log::warn!("cannot write the version to {}: {error}", self.root.path().join(OBJECTS).display());
            }
            return Ok(warning);
        }
        if !deleted.is_empty() {
            journal.write.insert(VERSION.into(), version.to_string());
        }
        let mut together = self.unfinished.clone();
        together.then(journal);
        let text = serde_json::to_vec(&together).context("cannot write the journal")?;
        let warning = durable::change(&self.root, Path::new(JOURNAL), Some(&text))?;
        // From here on the transaction is stored, whether or not the files can be changed now.
        self.finish(together);
        Ok(warning)
    }
}

/// The error that says why a state directory is not used.
fn refused(root: &Path, error: trust::OpenError) -> anyhow::Error {
    let shown = text::shown(root);
    match error {
        trust::OpenError::System(error) => {
            anyhow::Error::new(error).context(format!("cannot use the state directory {shown} (see `run --state-dir`)"))
        }
        trust::OpenError::Untrusted(untrusted) => {
            let cure = match untrusted.doubt {
                Doubt::Owner { .. } if untrusted.path == root => {
                    format!("look what is in it; if all of it is yours, type: {} -R", untrusted.cure())
                }
                Doubt::Owner { .. } => "look who made it, and remove it".to_owned(),
                _ => untrusted.cure(),
            };
            anyhow!(
                "the state directory {shown} is not safe to use: {untrusted}; {cure}; or choose another by --state-dir"
            )
        }
    }
}
