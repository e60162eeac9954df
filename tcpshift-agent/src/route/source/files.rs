//! The files that the user names: which there are, what they say, and what changed in them.
//!
//! The unit is the object: one that is invalid now keeps its last valid version, the others advance. A file that is not YAML
//! any more, or cannot be read, keeps all of its objects. A change counts when the file has stayed the same for a moment, a
//! longer one if the change removes objects, since an editor may be in the middle of writing. [`watch`] tells when to look.
//! A file that another user could have written is not read (see [`trust`]).

mod listing;
mod loaded;
mod text_file;
mod trusted;
pub mod watch;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Source, Update};
use crate::route::object::{Key, Object};
use crate::route::problem::{Problem, Severity};
use crate::route::read::{self, Contents, ReadDocument};
use crate::trust::owners::Owners;
use crate::trust::{self, Untrusted, text};
use listing::{Listing, Stamp};
pub use listing::{expand, is_read};
use loaded::Loaded;
pub use text_file::{LARGEST, Unread, read_text, text_of};
use trusted::{NotRead, distrust, read_watched, refuse_sockets};

/// How long a file must stay the same before it is read, since somebody may be in the middle of writing.
const SETTLES: Duration = Duration::from_millis(250);
/// How long a change must stay that removes objects or is not YAML.
const REMOVAL_SETTLES: Duration = Duration::from_millis(400);

/// The files of the user and what they say.
#[derive(Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    /// The state directory, whose files are not the user's.
    excluded: PathBuf,
    loaded: BTreeMap<PathBuf, Loaded>,
    /// The last valid version of every object.
    valid: HashMap<Key, Object>,
    /// Objects that the files have twice.
    twice: Vec<Problem>,
    /// Folders that cannot be listed.
    unlisted: Vec<Problem>,
    owners: Owners,
    /// Files that other users could have written are read too.
    trusts_all: bool,
    /// Files and folders that are not read, since other users could have written them.
    distrusted: BTreeMap<PathBuf, Problem>,
    /// The first look is over.
    has_looked: bool,
}

/// What a look at the files found.
#[derive(Debug)]
pub struct Look {
    /// What the files tell.
    pub update: Update,
    /// Look again after this time: a file has just changed.
    pub again: Option<Duration>,
}

impl Default for Look {
    fn default() -> Self {
        Self { update: Update::first(Source::Files, Vec::new()), again: None }
    }
}

impl Files {
    /// The files below these paths, a folder among them excluded.
    pub fn new(paths: Vec<PathBuf>, excluded: PathBuf) -> Self {
        Self {
            paths,
            excluded,
            loaded: BTreeMap::new(),
            valid: HashMap::new(),
            twice: Vec::new(),
            unlisted: Vec::new(),
            owners: Owners::of_this_process(),
            trusts_all: false,
            distrusted: BTreeMap::new(),
            has_looked: false,
        }
    }

    /// Whether files are read that other users could have written. Objects of such a file may not name unix sockets.
    #[must_use]
    pub fn trusting_all(self, trusts_all: bool) -> Self {
        Self { trusts_all, ..self }
    }

    /// The files and folders that would not be read now, since other users could have written them.
    pub fn would_distrust(&self) -> Vec<Problem> {
        if self.trusts_all {
            return Vec::new();
        }
        let listing = self.listed();
        let folders = listing.unlisted.iter().filter_map(|(path, error)| match error {
            trust::OpenError::Untrusted(untrusted) => Some(distrust(path, untrusted)),
            trust::OpenError::System(_) => None,
        });
        let files = listing.files.keys().filter_map(|path| match trust::path::open(path, &self.owners) {
            Err(trust::OpenError::Untrusted(untrusted)) => Some(distrust(path, &untrusted)),
            _ => None,
        });
        folders.chain(files).collect()
    }

    /// The first folder or file that the system does not let this thread read, if there is one.
    pub fn first_forbidden(&self) -> Option<PathBuf> {
        let is_refusal = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        let listing = self.listed();
        let mut folders = listing.unlisted.iter();
        let folder = folders.find(|(_, error)| matches!(error, trust::OpenError::System(error) if is_refusal(error)));
        folder.map(|(path, _)| path.clone()).or_else(|| {
            listing.files.into_keys().find(|path| match read_watched(path, &self.owners, self.trusts_all) {
                Err(NotRead::Unread(Unread::Unreadable(error))) => is_refusal(&error),
                _ => false,
            })
        })
    }

    /// Looks at every file, and reads those that changed. With `sure` all are read, and at once.
    pub fn look(&mut self, sure: bool) -> Look {
        let mut look = Look::default();
        let listing = self.list(&mut look);
        let mut changed = false;
        for (path, stamp) in &listing.files {
            changed |= self.look_at(path, *stamp, sure, &mut look);
        }
        self.loaded.retain(|path, loaded| {
            loaded.is_missing = !listing.files.contains_key(path);
            // A file of a folder that cannot be listed counts as present.
            let hidden = || listing.unlisted.keys().any(|folder| path.starts_with(folder));
            let keep = !loaded.is_missing || hidden() || (!sure && !loaded.stands(None, REMOVAL_SETTLES, &mut look));
            changed |= !keep;
            keep
        });
        if changed {
            self.merge(&mut look.update);
        }
        look.update.complete = look.again.is_none();
        self.has_looked = true;
        look
    }

    /// The files below the paths.
    fn listed(&self) -> Listing {
        let mut listing = Listing { owners: (!self.trusts_all).then_some(self.owners), ..Listing::default() };
        if let Ok(metadata) = fs::metadata(&self.excluded) {
            listing.seen.insert((metadata.dev(), metadata.ino()));
        }
        for path in &self.paths {
            match listing.path(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    listing.unlisted.insert(path.clone(), error.into());
                }
                _ => {}
            }
        }
        listing
    }

    fn list(&mut self, look: &mut Look) -> Listing {
        let listing = self.listed();
        let is_there = |path: &PathBuf| listing.files.contains_key(path) || listing.unlisted.contains_key(path);
        self.distrusted.retain(|path, _| is_there(path));
        let mut unlisted = Vec::new();
        for (folder, error) in &listing.unlisted {
            match error {
                trust::OpenError::Untrusted(untrusted) => self.distrust(folder, untrusted, look),
                trust::OpenError::System(error) => {
                    self.distrusted.remove(folder);
                    let message = format!("cannot be listed, and keeps what it said: {error}");
                    unlisted.push(Problem::of_file(&text::shown(folder), message));
                }
            }
        }
        look.update.problems.extend(unlisted.iter().filter(|problem| !self.unlisted.contains(problem)).cloned());
        self.unlisted = unlisted;
        listing
    }

    /// Whether an object was told before, just so.
    fn is_told(&self, object: &Object) -> bool {
        self.valid.get(&object.key).is_some_and(|last| last.is_like(object) && last.origin == object.origin)
    }

    /// Errors of the files as they are now.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        let problems = self.loaded.values().flat_map(|loaded| &loaded.contents.problems);
        let problems = problems.chain(&self.twice).chain(&self.unlisted).chain(self.distrusted.values());
        problems.filter(|problem| problem.severity == Severity::Error)
    }

    /// Remembers a file or folder that is not read, since other users could have written it, and reports it once. After the
    /// first look the objects that were read from it before stay.
    fn distrust(&mut self, path: &Path, untrusted: &Untrusted, look: &mut Look) {
        let problem = distrust(path, untrusted);
        if self.distrusted.insert(path.to_owned(), problem.clone()).as_ref() == Some(&problem) {
            return;
        }
        look.update.problems.push(if self.has_looked {
            let cure = format!("what was read before stays; {}", problem.cure);
            Problem { severity: Severity::Warning, cure, ..problem }
        } else {
            problem
        });
    }

    /// Looks at one file; whether it says something else now.
    fn look_at(&mut self, path: &Path, stamp: Option<Stamp>, sure: bool, look: &mut Look) -> bool {
        let loaded = self.loaded.entry(path.to_owned()).or_default();
        if !sure && loaded.stamp.is_some() && loaded.stamp == stamp {
            loaded.pending = None;
            return false;
        }
        if !sure && !loaded.stands(stamp, SETTLES, look) {
            return false;
        }
        let (mut contents, stamp) = match read_watched(path, &self.owners, self.trusts_all) {
            Ok((text, untrusted)) => {
                let name = text::shown(path);
                let mut contents = read::read(&name, &text, None);
                if let Some(untrusted) = untrusted {
                    refuse_sockets(&name, &mut contents, &untrusted);
                }
                (contents, stamp)
            }
            Err(NotRead::Untrusted(untrusted)) => {
                // The cure may change the mode of a folder, which the stamp of this file does not show.
                (loaded.stamp, loaded.pending) = (None, None);
                self.distrust(path, &untrusted, look);
                return false;
            }
            Err(NotRead::Unread(unread)) => {
                // A file that the system refuses to read is read again at the next look, with the same stamp or not.
                let stamp = if matches!(unread, Unread::Unreadable(_)) { None } else { stamp };
                let problem = Problem::of_file(&text::shown(path), unread.to_string());
                (Contents { problems: vec![problem], ..Contents::default() }, stamp)
            }
        };
        self.distrusted.remove(path);
        loaded.keep_if_unnamed(&mut contents);
        if loaded.loses(&contents) && !sure && !loaded.stands(stamp, REMOVAL_SETTLES, look) {
            return false;
        }
        if sure || loaded.contents.problems != contents.problems {
            look.update.problems.extend(contents.problems.iter().cloned());
        }
        loaded.stamp = stamp;
        loaded.pending = None;
        if contents.is_yaml {
            loaded.contents = contents;
            return true;
        }
        // The file keeps all of its objects.
        loaded.contents.problems = contents.problems;
        false
    }

    /// Finds the objects of all files, the valid ones and of the invalid ones the last valid version, and tells what is
    /// different.
    fn merge(&mut self, update: &mut Update) {
        let mut firsts: HashMap<&Key, (&Path, usize)> = HashMap::new();
        let mut twice: HashSet<&Key> = HashSet::new();
        let mut twice_problems = Vec::new();
        // A file that is gone was perhaps renamed: an object of it that another file has too is not there twice.
        let (missing, present): (Vec<_>, Vec<_>) = self.loaded.iter().partition(|(_, loaded)| loaded.is_missing);
        for (path, loaded) in &present {
            for entry in &loaded.contents.entries {
                let (Some(key), line) = (entry.key(), entry.line()) else { continue };
                if let Some((first, first_line)) = firsts.insert(key, (path, line)) {
                    twice.insert(key);
                    let (first, path) = (first.display().to_string(), path.display().to_string());
                    twice_problems.push(Problem::twice(key, (&first, first_line), (&path, line)));
                }
            }
        }
        let mut objects = HashMap::new();
        for (_, loaded) in missing.iter().chain(&present) {
            for entry in &loaded.contents.entries {
                let Some(key) = entry.key() else { continue };
                let object = match entry {
                    ReadDocument::Valid(object) if !twice.contains(key) => Some((**object).clone()),
                    _ => self.valid.get(key).cloned(),
                };
                if let Some(object) = object {
                    objects.insert(key.clone(), object);
                }
            }
        }
        update.put.extend(objects.values().filter(|object| !self.is_told(object)).cloned());
        update.gone.extend(self.valid.keys().filter(|key| !objects.contains_key(*key)).cloned());
        self.valid = objects;
        update.problems.extend(twice_problems.iter().filter(|problem| !self.twice.contains(problem)).cloned());
        self.twice = twice_problems;
    }
}
