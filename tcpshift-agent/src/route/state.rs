//! The state directory: what was applied, one YAML file an object, whole at every moment.
//!
//! A transaction of several objects is first written to a journal, which one rename makes valid; then the
//! files are changed, and the journal is removed. Whoever starts after a crash finishes what the journal says.
//! So a transaction that was acknowledged is there, and none is there by half. Only one agent may use a directory at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::object::{Key, Object, Origin};
use super::problem::Problem;
use super::read::{self, Entry};
use super::{files, write};
use crate::trust::folder::Folder;
use crate::trust::{self, Doubt, text};

/// The folder of objects.
const OBJECTS: &str = "objects";

/// What several objects are written to before they are changed.
const JOURNAL: &str = "journal.json";

/// What is written here is renamed when it is whole.
const WRITING: &str = "writing";

/// What is locked.
const LOCK: &str = "lock";

/// Where the version of the store is kept, among the objects.
const VERSION: &str = "version";

/// Bytes of the file of the version that are looked at.
const LONGEST_VERSION: u64 = 64;

/// Bytes of a journal that are read: more than a request may have ([`files::LARGEST`] is that of one file).
const LONGEST_JOURNAL: u64 = 16 * files::LARGEST;

/// Longest name of an object that is a file name as it is.
const LONGEST_NAME: usize = 200;

/// Up to this many files are synced one by one; more of them are cheaper as the file system as a whole.
const ONE_BY_ONE: usize = 64;

/// An open state directory.
#[derive(Debug)]
pub struct State {
    root: Folder,
    /// What the journal holds and could not be carried out yet.
    unfinished: Journal,
    /// Held for as long as the directory is used.
    lock: Option<File>,
}

/// What a transaction does to the directory: files relative to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Journal {
    write: BTreeMap<PathBuf, String>,
    remove: BTreeSet<PathBuf>,
}

impl Journal {
    fn len(&self) -> usize {
        self.write.len() + self.remove.len()
    }

    /// Adds a later transaction.
    fn then(&mut self, later: Self) {
        self.write.retain(|path, _| !later.remove.contains(path));
        self.remove.retain(|path| !later.write.contains_key(path));
        self.write.extend(later.write);
        self.remove.extend(later.remove);
    }
}

impl State {
    /// Makes a directory where it is missing, and looks whether somebody else could have. What the system refuses here, it
    /// refuses [`State::open`] too.
    pub fn prepare(root: &Path) -> anyhow::Result<()> {
        match Folder::make(root) {
            Err(error @ trust::Error::Untrusted(_)) => Err(refused(root, error)),
            Ok(_) | Err(trust::Error::System(_)) => Ok(()),
        }
    }

    /// Opens a directory, makes it (mode 0700) where it is missing, and finishes what a crash left.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        Self::open_as(root, None)
    }

    /// As [`State::open`], by the lock of an agent that hands the directory over: that of another directory is
    /// of no use. Until the other agent gives up its part, nothing must be written; what a crash left is read, and
    /// waits for [`State::catch_up`].
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
        // One lock for both: it goes with the last of them.
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
        let mut state = Self { root, unfinished: Journal::default(), lock: Some(lock) };
        state.recover()?;
        if !is_shared {
            state.catch_up();
        }
        Ok(state)
    }

    /// Makes the directory again if somebody removed it or all that is in it, with these objects, and returns whether it did. The
    /// error says that what is applied would not outlast this agent. One in which something else is by now is left alone.
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

    /// Leaves the directory to the agent that has the lock too. From then on nothing may be written.
    pub fn let_go(&mut self) {
        self.lock = None;
    }

    /// Reads the journal, if there is one.
    fn recover(&mut self) -> anyhow::Result<()> {
        let text = match self.root.read(Path::new(JOURNAL), LONGEST_JOURNAL) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(()),
            Err(error) => return Err(refused(self.root.path(), error)),
        };
        let journal: Journal = serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged; move it away to start without the change it holds", self.journal().display())
        })?;
        let inside = |path: &Path| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !journal.write.keys().chain(&journal.remove).all(|path| inside(path)) {
            bail!("{} names files outside of its directory; move it away", self.journal().display());
        }
        self.unfinished = journal;
        Ok(())
    }

    /// Finishes what the journal holds, as far as it can be done now.
    pub fn catch_up(&mut self) {
        if self.unfinished.len() > 0 {
            log::info!("finishing the change that an earlier agent had begun in {}", self.root.path().display());
            let journal = std::mem::take(&mut self.unfinished);
            self.finish(journal);
        }
    }

    /// Carries out what is durable in the journal already. What cannot be done now is kept for later.
    fn finish(&mut self, journal: Journal) {
        let done = self.carry_out(&journal);
        self.unfinished = journal;
        match done {
            Ok(()) => self.unfinished = Journal::default(),
            Err(error) => log::error!(
                "cannot write to {}: {error}; {} keeps the change, and it is tried again with the next",
                self.root.path().join(OBJECTS).display(),
                self.journal().display()
            ),
        }
    }

    /// For messages.
    fn journal(&self) -> PathBuf {
        self.root.path().join(JOURNAL)
    }

    /// Every object, and what is wrong with files that are none; those are left where they are.
    /// The number is the version that the store had at least. Fails if a file or a folder is somebody else's, a link, or can
    /// be written by others.
    pub fn load(&self) -> anyhow::Result<(Vec<Object>, u64, Vec<Problem>)> {
        let refused = |error| refused(self.root.path(), error);
        let waiting = self.unfinished.write.get(Path::new(VERSION)).cloned();
        let version = match waiting {
            Some(version) => Some(version),
            None => self
                .root
                .read(&object(VERSION), LONGEST_VERSION)
                .map_err(refused)?
                .and_then(|text| String::from_utf8(text).ok()),
        };
        let version = version.and_then(|text| text.trim().parse().ok());
        let (mut objects, mut problems) = (Vec::new(), Vec::new());
        let paths = self.root.files(Path::new(OBJECTS), files::is_read).map_err(refused)?;
        let waiting = self.unfinished.write.iter().map(|(path, text)| (object(path), Some(text)));
        let mut texts: BTreeMap<PathBuf, Option<&String>> = paths.into_iter().map(|path| (path, None)).collect();
        texts.extend(waiting.filter(|(path, _)| path.extension().is_some()));
        texts.retain(|path, _| !self.unfinished.remove.iter().any(|removed| object(removed) == *path));
        for (path, text) in texts {
            let name = text::shown(&self.root.path().join(&path));
            let read = match text {
                Some(text) => Ok(text.clone()),
                None => match self.root.read(&path, files::LARGEST) {
                    Ok(Some(bytes)) => files::text_of(bytes.as_slice()),
                    Ok(None) => continue,
                    Err(trust::Error::System(error)) => Err(files::Unread::Unreadable(error)),
                    Err(error) => return Err(refused(error)),
                },
            };
            let text = match read {
                Ok(text) => text,
                Err(unread) => {
                    problems.push(Problem::of_file(&name, unread.to_string()));
                    continue;
                }
            };
            let contents = read::read(&name, &text, None);
            let errors =
                contents.problems.into_iter().filter(|problem| problem.severity == super::problem::Severity::Error);
            problems.extend(errors);
            if contents.is_yaml && contents.entries.is_empty() {
                problems.push(Problem::of_file(&name, "holds no object"));
            }
            for entry in contents.entries {
                let Entry::Valid(mut object) = entry else { continue };
                let version = object.expected_version.take().and_then(|expected| expected.version.parse().ok());
                object.resource_version = version.unwrap_or(1);
                object.origin = Origin::Applied;
                objects.push(*object);
            }
        }
        Ok((objects, version.unwrap_or(0), problems))
    }

    /// Makes a transaction durable. After an error nothing of it is there, now and after a restart. The text is what a
    /// person should know: it is there, and the disk has not confirmed that it lasts.
    ///
    /// `version` is the store's: objects carry theirs, but with a deleted object the highest would be forgotten.
    pub fn write(&mut self, stored: &[Arc<Object>], deleted: &[Key], version: u64) -> anyhow::Result<Option<String>> {
        let write = stored.iter().map(|object| (file_of(&object.key), write::yaml(&object.document()))).collect();
        let mut journal = Journal { write, remove: deleted.iter().map(file_of).collect() };
        if journal.len() == 0 {
            return Ok(None);
        }
        let is_waiting = self.unfinished.len() > 0;
        // One file is replaced or removed whole as it is.
        if !is_waiting && journal.len() == 1 {
            let caution = match (journal.write.pop_first(), journal.remove.pop_first()) {
                (Some((path, text)), _) => self.change(&object(path), Some(text.as_bytes()))?,
                (None, Some(path)) => self.change(&object(path), None)?,
                (None, None) => None,
            };
            if !deleted.is_empty()
                && let Err(error) = self.root.replace(&object(VERSION), version.to_string().as_bytes(), WRITING, true)
            {
                log::warn!("cannot write the version to {}: {error}", self.root.path().join(OBJECTS).display());
            }
            return Ok(caution);
        }
        if !deleted.is_empty() {
            journal.write.insert(VERSION.into(), version.to_string());
        }
        let mut together = self.unfinished.clone();
        together.then(journal);
        let text = serde_json::to_vec(&together).context("cannot write the journal")?;
        let caution = self.change(Path::new(JOURNAL), Some(&text))?;
        // From here on the transaction is there, whatever becomes of the files.
        self.finish(together);
        Ok(caution)
    }

    /// Replaces or removes a file durably, or leaves it as it was. The text is as that of [`State::write`].
    fn change(&self, path: &Path, text: Option<&[u8]>) -> anyhow::Result<Option<String>> {
        let shown = || self.root.path().join(path).display().to_string();
        let nothing = || format!("cannot write {}; nothing is changed", shown());
        let before = self.root.read(path, u64::MAX - 1).with_context(nothing)?;
        let is_new = path.parent().is_some_and(|folder| !self.root.has_folder(folder));
        self.put(path, text, true).with_context(nothing)?;
        let synced = match path.parent() {
            Some(folder) if is_new => self.sync_up(folder),
            folder => self.root.sync(folder.unwrap_or(Path::new(""))),
        };
        let Err(error) = synced else { return Ok(None) };
        // What is renamed is seen by every later start, though the disk has not confirmed it. So it is taken back.
        if let Err(second) = self.put(path, before.as_deref(), false) {
            let caution = format!(
                "stored, but the disk has not confirmed it: {}: {error}, and it could not be taken back: {second}; after \
                 a power failure it may be gone",
                shown()
            );
            log::error!("{caution}");
            return Ok(Some(caution));
        }
        let unsure = match self.root.sync(path.parent().unwrap_or(Path::new(""))) {
            Ok(()) => "",
            Err(_) => "; the disk confirms that neither, so after a power failure the change may be there",
        };
        Err(anyhow!("cannot write {}: {error}; nothing is changed{unsure}", shown()))
    }

    fn put(&self, path: &Path, text: Option<&[u8]>, durable: bool) -> Result<(), trust::Error> {
        match text {
            Some(text) => self.root.replace(path, text, WRITING, durable),
            None => self.root.remove(path).map(drop),
        }
    }

    /// Makes durable what was made in a folder, and the folder itself.
    fn sync_up(&self, folder: &Path) -> Result<(), trust::Error> {
        folder.ancestors().try_for_each(|folder| self.root.sync(folder))
    }

    fn carry_out(&self, journal: &Journal) -> Result<(), trust::Error> {
        let one_by_one = journal.len() <= ONE_BY_ONE;
        let mut folders = BTreeSet::new();
        // First what makes room.
        for path in &journal.remove {
            let path = object(path);
            self.root.remove(&path)?;
            folders.extend(path.parent().map(Path::to_owned));
        }
        for (path, text) in &journal.write {
            let path = object(path);
            if let Some(folder) = path.parent() {
                let made = if self.root.has_folder(folder) { 1 } else { usize::MAX };
                folders.extend(folder.ancestors().take(made).map(Path::to_owned));
            }
            self.root.replace(&path, text.as_bytes(), WRITING, one_by_one)?;
        }
        // The journal may go only when all that it says is on the disk.
        if one_by_one {
            folders.iter().try_for_each(|folder| self.root.sync(folder))?;
        } else {
            self.root.sync_all()?;
        }
        // And it must not come back after a later change.
        if self.root.remove(Path::new(JOURNAL))? { self.root.sync(Path::new("")) } else { Ok(()) }
    }
}

/// Why the state directory is not used, for people.
fn refused(root: &Path, error: trust::Error) -> anyhow::Error {
    let shown = text::shown(root);
    match error {
        trust::Error::System(error) => {
            anyhow::Error::new(error).context(format!("cannot use the state directory {shown} (see `run --state-dir`)"))
        }
        trust::Error::Untrusted(untrusted) => {
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

/// Where a file of the folder of objects is, relative to the state directory.
fn object(path: impl AsRef<Path>) -> PathBuf {
    Path::new(OBJECTS).join(path)
}

/// Where an object is kept, relative to the folder of objects.
fn file_of(key: &Key) -> PathBuf {
    let Key { kind, namespace, name } = key;
    let file = if name.len() <= LONGEST_NAME {
        format!("{name}.yaml")
    } else {
        // Two long names may begin alike; the hash keeps them apart. The name itself is in the file.
        let hash = tcpshift_common::hash::name(0, name.as_bytes());
        format!("{}~{hash:016x}.yaml", &name[..LONGEST_NAME - 20])
    };
    [kind.plural().as_str(), namespace, &file].iter().collect()
}
