//! The files that the user names: which there are, what they say, and what changed in them.
//!
//! The unit is the object: one that is invalid now keeps its last valid version, the others advance. A file
//! that is no YAML any more, or cannot be read, keeps all of its objects. A change has to stand for a moment,
//! and for longer if it takes objects away, since an editor may be in the middle of writing. [`watch`] tells
//! when to look. What somebody else could have written is not read (see [`trust`]).

mod encoding;
mod trusted;
pub mod watch;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::object::{Key, Object};
use super::problem::{Problem, Severity};
use super::read::{self, Contents, Entry};
use crate::trust::owners::Owners;
use crate::trust::{self, Untrusted, text};
use trusted::{NotRead, distrust, read_watched, refuse_sockets};

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 32 << 20;

/// How long a change has to stand before it is read, since somebody may be in the middle of writing.
const SETTLES: Duration = Duration::from_millis(250);
/// How long, where it takes objects away or is no YAML.
const REMOVAL_STANDS: Duration = Duration::from_millis(400);
/// A file that changes without end is taken as it is after this.
const LONGEST_WAIT: Duration = Duration::from_millis(700);

/// The files below a path, sorted: of a folder all that end in `.yaml`, `.yml` or `.json`, hidden ones and
/// those in hidden folders left out; of a file itself. Nothing is found twice, whatever links there are.
pub fn expand(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut listing = Listing::default();
    listing.path(path)?;
    match listing.unlisted.into_values().next() {
        Some(error) => Err(error.into()),
        None => Ok(listing.files.into_keys().collect()),
    }
}

/// Whether a file of a folder is read, by its name.
pub fn is_read(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
}

/// What there is below some paths.
#[derive(Debug, Default)]
struct Listing {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    /// Folders that cannot be listed, and why.
    unlisted: BTreeMap<PathBuf, trust::Error>,
    /// Whose folders are listed; everybody's if it is not said.
    owners: Option<Owners>,
    /// Folders and files that were seen, by device and number.
    seen: HashSet<(u64, u64)>,
}

impl Listing {
    fn path(&mut self, path: &Path) -> io::Result<()> {
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
            && let Err(error @ trust::Error::Untrusted(_)) = trust::path::check_folder(folder, owners)
        {
            self.unlisted.insert(folder.to_owned(), error);
            return;
        }
        let listed = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match listed {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
            // It has just gone.
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
            // A link that leads nowhere is nothing.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                self.folder(&path, &metadata);
            } else if metadata.is_file() && is_read(&path) {
                self.file(path, &metadata);
            }
        }
    }
}

/// Why there is no text.
#[derive(Debug)]
pub enum Unread {
    /// The system does not give it.
    Unreadable(io::Error),
    /// It is nothing that an object could stand in: too large, or no text. In words.
    Unusable(String),
}

/// What happened, to be put behind the name of the file.
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Unusable(message) => f.write_str(message),
        }
    }
}

/// The text of a file.
pub fn read_text(path: &Path) -> Result<String, Unread> {
    text_of(File::open(path).map_err(Unread::Unreadable)?)
}

/// The text of whatever can be read, of at most [`LARGEST`] bytes.
pub fn text_of(input: impl Read) -> Result<String, Unread> {
    let mut bytes = Vec::new();
    input.take(LARGEST + 1).read_to_end(&mut bytes).map_err(Unread::Unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Unread::Unusable(format!("is larger than {} MiB; split it", LARGEST >> 20)));
    }
    encoding::decode(bytes).map_err(Unread::Unusable)
}

/// What tells one version of a file from another without reading it.
type Stamp = (u64, u64, i64, i64, i64, i64, u64);

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

/// A file, and what it says as far as that counts.
#[derive(Debug, Default)]
struct Loaded {
    /// The version that was read; none if it has to be read again whatever it is.
    stamp: Option<Stamp>,
    /// A change that does not stand yet.
    pending: Option<Pending>,
    /// It was there and is not now.
    is_missing: bool,
    contents: Contents,
}

/// A change that does not stand yet: which version, since when, and since when it has been changing.
#[derive(Debug)]
struct Pending {
    stamp: Option<Stamp>,
    since: Instant,
    first: Instant,
}

impl Loaded {
    /// Whether a change stands long enough; asks to look again if not.
    fn stands(&mut self, stamp: Option<Stamp>, long: Duration, look: &mut Look) -> bool {
        let now = Instant::now();
        let (since, first) = match &self.pending {
            Some(pending) if pending.stamp == stamp => (pending.since, pending.first),
            Some(pending) => (now, pending.first),
            None => (now, now),
        };
        self.pending = Some(Pending { stamp, since, first });
        let left = long.saturating_sub(now - since).min(LONGEST_WAIT.saturating_sub(now - first));
        if left > Duration::ZERO {
            look.again = Some(look.again.map_or(left, |again| again.min(left)));
        }
        left == Duration::ZERO
    }
}

/// The files of the user and what they say.
#[derive(Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    /// A folder that is not the user's: the state directory.
    excluded: PathBuf,
    loaded: BTreeMap<PathBuf, Loaded>,
    /// The last valid version of every object.
    valid: HashMap<Key, Object>,
    /// Objects that stand twice.
    twice: Vec<Problem>,
    /// Folders that cannot be listed.
    unlisted: Vec<Problem>,
    owners: Owners,
    /// Files of others are read too.
    trusts_all: bool,
    /// Files and folders that are not read, since others could have written them.
    distrusted: BTreeMap<PathBuf, Problem>,
    /// It is not the first look.
    has_looked: bool,
}

/// What a look at the files found.
#[derive(Debug, Default)]
pub struct Look {
    /// All objects, if anything changed.
    pub objects: Option<Vec<Object>>,
    /// What is wrong in the files that changed.
    pub problems: Vec<Problem>,
    /// A change waits to be sure of; look again after this.
    pub again: Option<Duration>,
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

    /// Whether files are read that others could have written; those may name no unix socket.
    #[must_use]
    pub fn trusting_all(self, trusts_all: bool) -> Self {
        Self { trusts_all, ..self }
    }

    /// Which files and folders would not be read now, since others could have written them.
    pub fn would_distrust(&self) -> Vec<Problem> {
        if self.trusts_all {
            return Vec::new();
        }
        let listing = self.listed();
        let folders = listing.unlisted.iter().filter_map(|(path, error)| match error {
            trust::Error::Untrusted(untrusted) => Some(distrust(path, untrusted)),
            trust::Error::System(_) => None,
        });
        let files = listing.files.keys().filter_map(|path| match trust::path::open(path, &self.owners) {
            Err(trust::Error::Untrusted(untrusted)) => Some(distrust(path, &untrusted)),
            _ => None,
        });
        folders.chain(files).collect()
    }

    /// Looks at every file, and reads those that changed. With `sure` all are read, and changes need not stand
    /// for a moment.
    pub fn look(&mut self, sure: bool) -> Look {
        let mut look = Look::default();
        let listing = self.list(&mut look);
        let mut changed = false;
        for (path, stamp) in &listing.files {
            changed |= self.look_at(path, *stamp, sure, &mut look);
        }
        self.loaded.retain(|path, loaded| {
            loaded.is_missing = !listing.files.contains_key(path);
            // What cannot be listed is not gone.
            let hidden = || listing.unlisted.keys().any(|folder| path.starts_with(folder));
            let keep = !loaded.is_missing || hidden() || (!sure && !loaded.stands(None, REMOVAL_STANDS, &mut look));
            changed |= !keep;
            keep
        });
        if changed {
            look.objects = Some(self.merge(&mut look.problems));
        }
        self.has_looked = true;
        look
    }

    /// What there is below the paths.
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
                trust::Error::Untrusted(untrusted) => self.distrust(folder, untrusted, look),
                trust::Error::System(error) => {
                    self.distrusted.remove(folder);
                    let message = format!("cannot be listed, and keeps what it said: {error}");
                    unlisted.push(Problem::of_file(&text::shown(folder), message));
                }
            }
        }
        look.problems.extend(unlisted.iter().filter(|problem| !self.unlisted.contains(problem)).cloned());
        self.unlisted = unlisted;
        listing
    }

    /// Errors of the files as they are now.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        let problems = self.loaded.values().flat_map(|loaded| &loaded.contents.problems);
        let problems = problems.chain(&self.twice).chain(&self.unlisted).chain(self.distrusted.values());
        problems.filter(|problem| problem.severity == Severity::Error)
    }

    /// Takes note of what is not read, since others could have written it, and says it once: at the start there is nothing
    /// in its place, later what was read before stays.
    fn distrust(&mut self, path: &Path, untrusted: &Untrusted, look: &mut Look) {
        let problem = distrust(path, untrusted);
        if self.distrusted.insert(path.to_owned(), problem.clone()).as_ref() == Some(&problem) {
            return;
        }
        look.problems.push(if self.has_looked {
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
        let name = text::shown(path);
        let read = read_watched(path, &self.owners, self.trusts_all);
        if let Err(NotRead::Untrusted(untrusted)) = &read {
            // The cure may be one of a folder's, which this file does not show.
            (loaded.stamp, loaded.pending) = (None, None);
            self.distrust(path, untrusted, look);
            return false;
        }
        self.distrusted.remove(path);
        let (contents, stamp) = match read {
            Ok((text, untrusted)) => {
                let mut contents = read::read(&name, &text, None);
                if let Some(untrusted) = untrusted {
                    refuse_sockets(&name, &mut contents, &untrusted);
                }
                (contents, stamp)
            }
            Err(NotRead::Untrusted(_)) => return false,
            Err(NotRead::Unread(unread)) => {
                // What the system does not give now it may give at the next look.
                let stamp = if matches!(unread, Unread::Unreadable(_)) { None } else { stamp };
                (Contents { problems: vec![Problem::of_file(&name, unread.to_string())], ..Contents::default() }, stamp)
            }
        };
        let mut contents = contents;
        if contents.has_unnamed {
            // One of the objects that are gone may be the one that cannot be named now.
            let named: HashSet<&Key> = contents.entries.iter().filter_map(Entry::key).collect();
            let gone = loaded.contents.entries.iter().filter_map(Entry::key).filter(|key| !named.contains(key));
            let gone: Vec<_> = gone.map(|key| Entry::Invalid { key: key.clone(), line: 0 }).collect();
            contents.entries.extend(gone);
        }
        let removes = !contents.is_yaml || {
            let named: HashSet<&Key> = contents.entries.iter().filter_map(Entry::key).collect();
            loaded.contents.entries.iter().filter_map(Entry::key).any(|key| !named.contains(key))
        };
        if removes && !sure && !loaded.stands(stamp, REMOVAL_STANDS, look) {
            return false;
        }
        if sure || loaded.contents.problems != contents.problems {
            look.problems.extend(contents.problems.iter().cloned());
        }
        loaded.stamp = stamp;
        loaded.pending = None;
        if contents.is_yaml {
            loaded.contents = contents;
            return true;
        }
        // It keeps all of its objects.
        loaded.contents.problems = contents.problems;
        false
    }

    /// All objects of all files: the valid ones, and of the invalid ones the last valid version.
    fn merge(&mut self, problems: &mut Vec<Problem>) -> Vec<Object> {
        let mut places: HashMap<&Key, (&Path, usize)> = HashMap::new();
        let mut twice: HashSet<&Key> = HashSet::new();
        let mut twice_problems = Vec::new();
        // A file that is gone and perhaps only renamed does not compete with others.
        let (missing, present): (Vec<_>, Vec<_>) = self.loaded.iter().partition(|(_, loaded)| loaded.is_missing);
        for (path, loaded) in &present {
            for entry in &loaded.contents.entries {
                let (Some(key), line) = (entry.key(), entry.line()) else { continue };
                if let Some((first, first_line)) = places.insert(key, (path, line)) {
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
                    Entry::Valid(object) if !twice.contains(key) => Some((**object).clone()),
                    _ => self.valid.get(key).cloned(),
                };
                if let Some(object) = object {
                    objects.insert(key.clone(), object);
                }
            }
        }
        self.valid = objects;
        problems.extend(twice_problems.iter().filter(|problem| !self.twice.contains(problem)).cloned());
        self.twice = twice_problems;
        self.valid.values().cloned().collect()
    }
}
