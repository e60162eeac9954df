//! Lists the files below paths, and tells one version of a file from another without reading it.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::trust;
use crate::trust::owners::Owners;

/// The files below a path, sorted; the path itself if it is a file. Of a folder these are all that end in `.yaml`, `.yml` or
/// `.json`, without hidden files and folders. A file to which several links lead is listed once. Errors: the path or a folder
/// below it cannot be read.
pub fn expand(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut listing = Listing::default();
    listing.path(path)?;
    match listing.unlisted.into_values().next() {
        Some(error) => Err(error.into()),
        None => Ok(listing.files.into_keys().collect()),
    }
}

/// Whether the name of a file in a folder is one of a route file.
pub fn is_read(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
}

/// The files below some paths.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: BTreeMap<PathBuf, Option<Stamp>>,
    /// Folders that cannot be listed, and why.
    pub(super) unlisted: BTreeMap<PathBuf, trust::OpenError>,
    /// Who may own a folder that is listed; anybody if none.
    pub(super) owners: Option<Owners>,
    /// Folders and files that were seen or are excluded, by device and inode.
    pub(super) seen: HashSet<(u64, u64)>,
}

impl Listing {
    /// Adds the files below a path. A folder that cannot be listed is no error: it is in `unlisted`.
    pub(super) fn path(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            self.folder(path, &metadata);
        } else {
            self.file(path.to_owned(), &metadata);
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf, metadata: &Metadata) {
        if self.seen.insert((metadata.dev(), metadata.ino())) {
            self.files.insert(path, Some(stamp(metadata)));
        }
    }

    fn folder(&mut self, folder: &Path, metadata: &Metadata) {
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        if let Some(owners) = &self.owners
            && let Err(error @ trust::OpenError::Untrusted(_)) = trust::path::check_folder(folder, owners)
        {
            self.unlisted.insert(folder.to_owned(), error);
            return;
        }
        let listed = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match listed {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
            // The folder was removed since its parent was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                self.unlisted.insert(folder.to_owned(), error.into());
                return;
            }
        };
        entries.sort();
        for path in entries {
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            // A link that leads nowhere is passed over.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                self.folder(&path, &metadata);
            } else if metadata.is_file() && is_read(&path) {
                self.file(path, &metadata);
            }
        }
    }
}

/// Device, inode, times of change of data and inode (seconds, nanoseconds) and length: another version of a file has another.
pub(super) type Stamp = (u64, u64, i64, i64, i64, i64, u64);

fn stamp(metadata: &Metadata) -> Stamp {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.len(),
    )
}
