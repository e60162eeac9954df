//! The journal: a transaction of several files, written whole before the first of them is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::paths::{JOURNAL, WRITING, object};
use super::{files, refused};
use crate::trust;
use crate::trust::folder::Folder;

/// The largest journal that is read, in bytes: a request may have several files of [`files::LARGEST`].
const LONGEST_JOURNAL: u64 = 16 * files::LARGEST;

/// Up to this many files are synced one by one; for more of them one sync of the file system is cheaper.
const ONE_BY_ONE: usize = 64;

/// What a transaction does: files of the folder of objects, by their paths in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) write: BTreeMap<PathBuf, String>,
    pub(super) remove: BTreeSet<PathBuf>,
}

impl Journal {
    /// The journal of a state directory; an empty one if there is none. Errors: the file cannot be read, or its text is not
    /// one that an agent writes.
    pub(super) fn read(root: &Folder) -> anyhow::Result<Self> {
        let text = match root.read(Path::new(JOURNAL), LONGEST_JOURNAL) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(Self::default()),
            Err(error) => return Err(refused(root.path(), error)),
        };
        let shown = || root.path().join(JOURNAL).display().to_string();
        let journal: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged; move it away to start without the change it holds", shown()))?;
        let inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if !journal.write.keys().chain(&journal.remove).all(|path| inside(path)) {
            bail!("{} names files outside of its directory; move it away", shown());
        }
        Ok(journal)
    }

    pub(super) fn len(&self) -> usize {
        self.write.len() + self.remove.len()
    }

    /// Adds a later transaction.
    pub(super) fn then(&mut self, later: Self) {
        self.write.retain(|path, _| !later.remove.contains(path));
        self.remove.retain(|path| !later.write.contains_key(path));
        self.write.extend(later.write);
        self.remove.extend(later.remove);
    }

    /// Writes and removes the files, and then the journal. It may be called again after an error.
    pub(super) fn carry_out(&self, root: &Folder) -> Result<(), trust::OpenError> {
        let one_by_one = self.len() <= ONE_BY_ONE;
        let mut folders = BTreeSet::new();
        // Files are removed first, so that a full disk has room for the others.
        for path in &self.remove {
            let path = object(path);
            root.remove(&path)?;
            folders.extend(path.parent().map(Path::to_owned));
        }
        for (path, text) in &self.write {
            let path = object(path);
            if let Some(folder) = path.parent() {
                let made = if root.has_folder(folder) { 1 } else { usize::MAX };
                folders.extend(folder.ancestors().take(made).map(Path::to_owned));
            }
            root.replace(&path, text.as_bytes(), WRITING, one_by_one)?;
        }
        // The journal may be removed only when all files are on the disk.
        if one_by_one {
            folders.iter().try_for_each(|folder| root.sync(folder))?;
        } else {
            root.sync_all()?;
        }
        // A journal that a power failure brings back would undo a later change, so its removal is synced too.
        if root.remove(Path::new(JOURNAL))? { root.sync(Path::new("")) } else { Ok(()) }
    }
}
