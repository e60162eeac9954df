//! The state directory: what was applied, one YAML file an object, whole at every moment.
//!
//! A transaction of several objects is first written to a journal, which one rename makes valid; then the
//! files are changed, and the journal is removed. Whoever starts after a crash finishes what the journal says.
//! So a transaction that was acknowledged is there, and none is there by half. Only one agent may use a directory at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::object::{Key, Object, Origin};
use super::problem::Problem;
use super::read::{self, Entry};
use super::{files, write};

/// Where the version of the store is kept, among the objects.
const VERSION: &str = "version";

/// Longest name of an object that is a file name as it is.
const LONGEST_NAME: usize = 200;

/// Up to this many files are synced one by one; more of them are cheaper as the file system as a whole.
const ONE_BY_ONE: usize = 64;

/// An open state directory.
#[derive(Debug)]
pub struct State {
    objects: PathBuf,
    journal: PathBuf,
    root: PathBuf,
    /// What the journal holds and could not be carried out yet.
    unfinished: Journal,
    /// Held for as long as the directory is used.
    lock: Option<File>,
}

/// What a transaction does to the directory: files relative to it.
#[derive(Debug, Default, Serialize, Deserialize)]
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
    /// Opens a directory, makes it (mode 0700) where it is missing, and finishes what a crash left.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        Self::open_as(root, None)
    }

    /// As [`State::open`], by the lock of an agent that hands the directory over: that of another directory is
    /// of no use. Until the other agent gives up its part, nothing must be written; what a crash left is read, and
    /// waits for [`State::catch_up`].
    pub fn open_as(root: &Path, handed_over: Option<OwnedFd>) -> anyhow::Result<Self> {
        let make = |path: &Path| {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.with_context(|| format!("cannot make the state directory {} (see `run --state-dir`)", path.display()))
        };
        make(root)?;
        let objects = root.join("objects");
        make(&objects)?;
        sync_folder(root).with_context(|| format!("cannot sync {}", root.display()))?;
        let lock_path = root.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.with_context(|| format!("cannot open {} (see `run --state-dir`)", lock_path.display()))?;
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
                bail!("another agent uses the state directory {}; give this one another by --state-dir", root.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", lock_path.display()));
            }
        }
        let journal = root.join("journal.json");
        let mut state =
            Self { objects, journal, root: root.to_owned(), unfinished: Journal::default(), lock: Some(lock) };
        state.recover()?;
        if !is_shared {
            state.catch_up();
        }
        Ok(state)
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
        let text = match fs::read(&self.journal) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.journal.display())),
        };
        let journal: Journal = serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged; move it away to start without the change it holds", self.journal.display())
        })?;
        let inside = |path: &Path| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !journal.write.keys().chain(&journal.remove).all(|path| inside(path)) {
            bail!("{} names files outside of its directory; move it away", self.journal.display());
        }
        self.unfinished = journal;
        Ok(())
    }

    /// Finishes what the journal holds, as far as it can be done now.
    pub fn catch_up(&mut self) {
        if self.unfinished.len() > 0 {
            log::info!("finishing the change that an earlier agent had begun in {}", self.root.display());
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
                self.objects.display(),
                self.journal.display()
            ),
        }
    }

    /// Every object, and what is wrong with files that are none; those are left where they are.
    /// The number is the version that the store had at least.
    pub fn load(&self) -> anyhow::Result<(Vec<Object>, u64, Vec<Problem>)> {
        let waiting = self.unfinished.write.get(Path::new(VERSION)).cloned();
        let version = waiting.or_else(|| fs::read_to_string(self.objects.join(VERSION)).ok());
        let version = version.and_then(|text| text.trim().parse().ok());
        let (mut objects, mut problems) = (Vec::new(), Vec::new());
        let paths = files::expand(&self.objects).with_context(|| format!("cannot list {}", self.objects.display()))?;
        let waiting = self.unfinished.write.iter().map(|(path, text)| (self.objects.join(path), Some(text)));
        let mut texts: BTreeMap<PathBuf, Option<&String>> = paths.into_iter().map(|path| (path, None)).collect();
        texts.extend(waiting.filter(|(path, _)| path.extension().is_some()));
        texts.retain(|path, _| !self.unfinished.remove.iter().any(|removed| self.objects.join(removed) == *path));
        for (path, text) in texts {
            let name = path.display().to_string();
            let text = match text.map_or_else(|| files::read_text(&path), |text| Ok(text.clone())) {
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
                let version = object.expected_version.take().and_then(|version| version.parse().ok());
                object.resource_version = version.unwrap_or(1);
                object.origin = Origin::Applied;
                objects.push(*object);
            }
        }
        Ok((objects, version.unwrap_or(0), problems))
    }

    /// Makes a transaction durable. After an error nothing of it is there.
    ///
    /// `version` is the store's: objects carry theirs, but with a deleted object the highest would be forgotten.
    pub fn write(&mut self, stored: &[Arc<Object>], deleted: &[Key], version: u64) -> anyhow::Result<()> {
        let write = stored.iter().map(|object| (file_of(&object.key), write::yaml(&object.document()))).collect();
        let mut journal = Journal { write, remove: deleted.iter().map(file_of).collect() };
        if journal.len() == 0 {
            return Ok(());
        }
        if !deleted.is_empty() {
            journal.write.insert(VERSION.into(), version.to_string());
        }
        let mut waiting = std::mem::take(&mut self.unfinished);
        let is_waiting = waiting.len() > 0;
        // One file is replaced or removed whole as it is.
        if !is_waiting && stored.len() + deleted.len() == 1 {
            let version = journal.write.remove(Path::new(VERSION));
            self.carry_out(&journal).with_context(|| format!("cannot write to {}", self.objects.display()))?;
            if let Some(Err(error)) =
                version.map(|text| self.replace(&self.objects.join(VERSION), text.as_bytes(), true))
            {
                log::warn!("cannot write the version to {}: {error}", self.objects.display());
            }
            return Ok(());
        }
        waiting.then(journal);
        let written = serde_json::to_vec(&waiting)
            .map_err(io::Error::other)
            .and_then(|text| self.replace(&self.journal, &text, true).and_then(|()| sync_folder(&self.root)));
        if let Err(error) = written {
            if !is_waiting {
                // A journal that may or may not be durable must not be found by the next start.
                fs::remove_file(&self.journal).ok();
            } else if let Ok(text) = fs::read(&self.journal) {
                self.unfinished = serde_json::from_slice(&text).unwrap_or_default();
            }
            return Err(error).with_context(|| format!("cannot write {}; nothing is changed", self.journal.display()));
        }
        // From here on the transaction is durable, whatever becomes of the files.
        self.finish(waiting);
        Ok(())
    }

    fn carry_out(&self, journal: &Journal) -> io::Result<()> {
        let one_by_one = journal.len() <= ONE_BY_ONE;
        let mut folders = BTreeSet::new();
        // First what makes room.
        for path in &journal.remove {
            let path = self.objects.join(path);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => folders.extend(path.parent().filter(|folder| folder.is_dir()).map(Path::to_owned)),
            }
        }
        for (path, text) in &journal.write {
            let path = self.objects.join(path);
            if let Some(folder) = path.parent() {
                if !folder.is_dir() {
                    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                    folders.extend(
                        folder.ancestors().take_while(|above| above.starts_with(&self.objects)).map(Path::to_owned),
                    );
                }
                folders.insert(folder.to_owned());
            }
            self.replace(&path, text.as_bytes(), one_by_one)?;
        }
        // The journal may go only when all that it says is on the disk.
        if one_by_one {
            folders.iter().try_for_each(|folder| sync_folder(folder))?;
        } else {
            rustix::fs::syncfs(File::open(&self.root)?)?;
        }
        match fs::remove_file(&self.journal) {
            // And it must not come back after a later change.
            Ok(()) => sync_folder(&self.root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file as a whole.
    fn replace(&self, path: &Path, text: &[u8], durable: bool) -> io::Result<()> {
        let temporary = self.root.join("writing");
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(text).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
        let renamed = written.and_then(|()| fs::rename(&temporary, path));
        if renamed.is_err() {
            // Half a file is of no use, and takes room.
            fs::remove_file(&temporary).ok();
        }
        renamed
    }
}

/// Makes what was renamed in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
