//! The files that the user names: which there are, what they say, and what changed in them.
//!
//! The unit is the object: one that is invalid now keeps its last valid version, the others advance. A file
//! that is no YAML any more, or cannot be read, keeps all of its objects. A change that takes objects away
//! has to stand for a moment, since an editor may be in the middle of writing. [`watch`] tells when to look.

pub mod watch;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::object::{Key, Object};
use super::problem::{Problem, Severity};
use super::read::{self, Contents, Entry};

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 32 << 20;

/// How long a change that takes objects away has to stand.
const REMOVAL_STANDS: Duration = Duration::from_millis(300);

/// The files below a path, sorted: of a folder all that end in `.yaml`, `.yml` or `.json`, hidden ones and
/// those in hidden folders left out; of a file itself.
pub fn expand(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if std::fs::metadata(path)?.is_dir() {
        walk(path, 0, &mut found)?;
        found.sort();
    } else {
        found.push(path.to_owned());
    }
    Ok(found)
}

/// Deep enough for any sane folder; ends loops of links.
const DEEPEST: usize = 16;

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let is_route_file =
            path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && depth < DEEPEST => walk(&path, depth + 1, found)?,
            Ok(metadata) if metadata.is_file() && is_route_file => found.push(path),
            _ => {}
        }
    }
    Ok(())
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
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        Unread::Unusable(format!("is no text: line {line} holds bytes that are not UTF-8"))
    })
}

/// What tells one version of a file from another without reading it.
type Stamp = (u64, u64, i64, i64, i64, i64, u64);

#[derive(Debug)]
struct Loaded {
    stamp: Option<Stamp>,
    /// Since when a change that takes objects away stands, and what it is.
    pending: Option<(Option<Stamp>, Instant)>,
    contents: Contents,
}

/// The files of the user and what they say.
#[derive(Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    loaded: BTreeMap<PathBuf, Loaded>,
    /// The last valid version of every object.
    valid: HashMap<Key, Object>,
    /// Objects that stand twice.
    twice: Vec<Problem>,
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
    /// The files below these paths.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, loaded: BTreeMap::new(), valid: HashMap::new(), twice: Vec::new() }
    }

    /// Looks at every file, and reads those that changed. With `sure`, changes need not stand for a moment.
    pub fn look(&mut self, sure: bool) -> Look {
        let mut look = Look::default();
        let now = Instant::now();
        let mut present = BTreeMap::new();
        for path in &self.paths {
            match expand(path) {
                Ok(files) => present.extend(files.into_iter().map(|file| (file.clone(), stamp(&file)))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // What cannot be listed is not gone.
                Err(error) => {
                    look.problems
                        .push(Problem::of_file(&path.display().to_string(), format!("cannot be listed: {error}")));
                    let kept = self.loaded.iter().filter(|(file, _)| file.starts_with(path));
                    present.extend(kept.map(|(file, loaded)| (file.clone(), loaded.stamp)));
                }
            }
        }
        let mut changed = false;
        for (path, stamp) in &present {
            changed |= self.look_at(path, *stamp, sure, now, &mut look);
        }
        self.loaded.retain(|path, loaded| {
            if present.contains_key(path) {
                return true;
            }
            let keep = !sure && !stands(loaded, None, now, &mut look);
            changed |= !keep;
            keep
        });
        if changed {
            look.objects = Some(self.merge(&mut look.problems));
        }
        look
    }

    /// Errors of the files as they are now.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        let problems = self.loaded.values().flat_map(|loaded| &loaded.contents.problems).chain(&self.twice);
        problems.filter(|problem| problem.severity == Severity::Error)
    }

    /// Looks at one file; whether it says something else now.
    fn look_at(&mut self, path: &Path, stamp: Option<Stamp>, sure: bool, now: Instant, look: &mut Look) -> bool {
        let old = self.loaded.get_mut(path);
        if old.as_ref().is_some_and(|old| old.stamp == stamp && stamp.is_some()) {
            if let Some(old) = old {
                old.pending = None;
            }
            return false;
        }
        let name = path.display().to_string();
        let contents = match read_text(path) {
            Ok(text) => read::read(&name, &text, None),
            Err(unread) => {
                let problems = vec![Problem::of_file(&name, unread.to_string())];
                Contents { problems, ..Contents::default() }
            }
        };
        let Some(old) = old else {
            look.problems.extend(contents.problems.iter().cloned());
            self.loaded.insert(path.to_owned(), Loaded { stamp, pending: None, contents });
            return true;
        };
        if !contents.is_yaml {
            // It may be half written: it is said once it stands.
            if sure || stands(old, stamp, now, look) {
                if old.contents.problems != contents.problems {
                    look.problems.extend(contents.problems.iter().cloned());
                }
                (old.stamp, old.pending) = (stamp, None);
                old.contents.problems = contents.problems;
            }
            return false;
        }
        let removes = old
            .contents
            .entries
            .iter()
            .filter_map(Entry::key)
            .any(|key| !contents.entries.iter().filter_map(Entry::key).any(|other| other == key));
        if removes && !sure && !stands(old, stamp, now, look) {
            return false;
        }
        look.problems.extend(contents.problems.iter().cloned());
        *old = Loaded { stamp, pending: None, contents };
        true
    }

    /// All objects of all files: the valid ones, and of the invalid ones the last valid version.
    fn merge(&mut self, problems: &mut Vec<Problem>) -> Vec<Object> {
        let mut places: HashMap<&Key, (&Path, usize)> = HashMap::new();
        let mut twice: Vec<&Key> = Vec::new();
        let mut twice_problems = Vec::new();
        for (path, loaded) in &self.loaded {
            for entry in &loaded.contents.entries {
                let (Some(key), line) = (entry.key(), entry.line()) else { continue };
                if let Some((first, first_line)) = places.insert(key, (path, line)) {
                    twice.push(key);
                    twice_problems.push(Problem::twice(
                        key,
                        (&first.display().to_string(), first_line),
                        (&path.display().to_string(), line),
                    ));
                }
            }
        }
        let mut objects = HashMap::new();
        for loaded in self.loaded.values() {
            for entry in &loaded.contents.entries {
                let Some(key) = entry.key() else { continue };
                let object = match entry {
                    Entry::Valid(object) if !twice.contains(&key) => Some((**object).clone()),
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

/// Whether a change of a file stands long enough; asks to look again if not.
fn stands(loaded: &mut Loaded, stamp: Option<Stamp>, now: Instant, look: &mut Look) -> bool {
    let since = match loaded.pending {
        Some((pending, since)) if pending == stamp => since,
        _ => now,
    };
    loaded.pending = Some((stamp, since));
    let left = REMOVAL_STANDS.saturating_sub(now.duration_since(since));
    if left > Duration::ZERO {
        look.again = Some(look.again.map_or(left, |again| again.min(left)));
    }
    left == Duration::ZERO
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.len(),
    ))
}
