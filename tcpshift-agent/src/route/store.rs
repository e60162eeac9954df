//! The store: every object there is, by name, each with its origin and version.
//!
//! Sources feed it and nothing else: the files of the user, and what was applied. Where both have an object,
//! the file's counts. A change is made on a copy, which replaces the store once it is in force; so a change
//! is whole or not at all. It must not know where objects are written to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::kind::Kind;
use super::object::{Key, Object, Origin};

/// Every object.
#[derive(Clone, Debug, Default)]
pub struct Store {
    version: u64,
    files: BTreeMap<Key, Arc<Object>>,
    applied: BTreeMap<Key, Arc<Object>>,
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such object.
    NotFound(Key),
    /// It belongs to a file.
    BelongsToFile(Key, Origin),
    /// It has another version than the one that the request is based on.
    Conflict {
        /// The object.
        key: Key,
        /// The version named.
        expected: String,
        /// The version it has, if it is there.
        found: Option<u64>,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(key) => {
                write!(f, "{} {:?} not found", key.kind.plural(), key.name)
            }
            Self::BelongsToFile(key, origin) => write!(
                f,
                "{key} belongs to the file {origin}; edit that file (the agent watches it), or start the agent without it"
            ),
            Self::Conflict { key, expected, found: Some(found) } => write!(
                f,
                "{key} has resourceVersion {found}, not {expected}: somebody changed it meanwhile; read it again and \
                 repeat your change"
            ),
            Self::Conflict { key, expected, found: None } => {
                write!(
                    f,
                    "{key} is expected with resourceVersion {expected} and is not there; remove that field to create it"
                )
            }
        }
    }
}

/// What an apply did to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It is different now.
    Configured,
    /// It is as it was.
    Unchanged,
}

/// One difference between two stores.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is new.
    Added(Arc<Object>),
    /// The object is different.
    Modified(Arc<Object>),
    /// The object is gone; this is how it was.
    Deleted(Arc<Object>),
}

impl Store {
    /// A store with what was applied in earlier runs, which reached this version at least.
    pub fn new(applied: Vec<Object>, version: u64) -> Self {
        let version = applied.iter().map(|object| object.resource_version).fold(version, u64::max);
        let applied = applied.into_iter().map(|object| (object.key.clone(), Arc::new(object))).collect();
        Self { version, files: BTreeMap::new(), applied }
    }

    /// Counts changes; every object carries the version in which it became what it is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An object by name.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.files.get(key).or_else(|| self.applied.get(key))
    }

    /// Every object that counts.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        let hidden = |key: &Key| self.files.contains_key(key);
        self.files.values().chain(self.applied.iter().filter(move |(key, _)| !hidden(key)).map(|(_, object)| object))
    }

    /// What was applied, whether or not a file has the same object.
    pub fn applied(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.applied.values()
    }

    /// The objects of one kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> Vec<&Arc<Object>> {
        let mut objects: Vec<_> = self.iter().filter(|object| object.key.kind == kind).collect();
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        objects
    }

    /// How many objects count.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.applied.is_empty()
    }

    /// Applied objects that a file of the user hides, in words.
    pub fn hidden(&self) -> impl Iterator<Item = String> {
        let both = self.applied.keys().filter_map(|key| self.files.get(key));
        both.map(|object| format!("{} was applied and stands in {} too; the file counts", object.key, object.origin))
    }

    /// Stores objects of a request; each name is there once. All or none: after an error the copy is of no use.
    pub fn apply(&mut self, objects: Vec<Object>, now: Timestamp) -> Result<Vec<(Arc<Object>, Outcome)>, Refusal> {
        let version = self.version + 1;
        let mut done = Vec::new();
        for mut object in objects {
            self.refuse_file(&object.key)?;
            let old = self.applied.get(&object.key);
            check_version(&object.key, object.expected_version.as_deref(), old)?;
            let outcome = match old {
                Some(old) if old.content == object.content => {
                    done.push((Arc::clone(old), Outcome::Unchanged));
                    continue;
                }
                Some(old) => {
                    object.created = old.created;
                    Outcome::Configured
                }
                None => {
                    object.created = object.created.or(Some(now));
                    Outcome::Created
                }
            };
            object.origin = Origin::Applied;
            object.expected_version = None;
            object.resource_version = version;
            self.version = version;
            let object = Arc::new(object);
            self.applied.insert(object.key.clone(), Arc::clone(&object));
            done.push((object, outcome));
        }
        Ok(done)
    }

    /// Removes applied objects. All or none.
    pub fn delete(
        &mut self,
        keys: &[(Key, Option<String>)],
        ignore_not_found: bool,
    ) -> Result<Vec<(Key, bool)>, Refusal> {
        let mut done: Vec<(Key, bool)> = Vec::new();
        let mut gone = HashSet::new();
        for (key, expected) in keys {
            self.refuse_file(key)?;
            let found = self.applied.get(key);
            // The same object named twice in one request is deleted once.
            if found.is_none() && !gone.contains(key) && !ignore_not_found {
                return Err(Refusal::NotFound(key.clone()));
            }
            if found.is_some() {
                check_version(key, expected.as_deref(), found)?;
            }
            let found = self.applied.remove(key).is_some();
            gone.insert(key);
            done.push((key.clone(), found));
        }
        if done.iter().any(|(_, found)| *found) {
            self.version += 1;
        }
        Ok(done)
    }

    /// Replaces all that the user's files say.
    pub fn replace_files(&mut self, objects: Vec<Object>) {
        let version = self.version + 1;
        let mut files = BTreeMap::new();
        for mut object in objects {
            let old = self.files.get(&object.key);
            let same = old.filter(|old| old.content == object.content && old.created == object.created);
            let object = match same {
                // Who compares finds that nothing has happened.
                Some(old) if old.origin == object.origin => Arc::clone(old),
                Some(old) => {
                    object.resource_version = old.resource_version;
                    Arc::new(object)
                }
                None => {
                    object.resource_version = version;
                    self.version = version;
                    Arc::new(object)
                }
            };
            files.insert(object.key.clone(), object);
        }
        if self.files.keys().any(|key| !files.contains_key(key)) {
            self.version = version;
        }
        self.files = files;
    }

    fn refuse_file(&self, key: &Key) -> Result<(), Refusal> {
        match self.files.get(key) {
            Some(object) => Err(Refusal::BelongsToFile(key.clone(), object.origin.clone())),
            None => Ok(()),
        }
    }

    /// What is different in a newer store.
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        if self.version == newer.version {
            return Vec::new();
        }
        let mut keys = differing(&self.files, &newer.files);
        keys.append(&mut differing(&self.applied, &newer.applied));
        let change = |key: &Key| match (self.get(key), newer.get(key)) {
            (None, Some(new)) => Some(Change::Added(Arc::clone(new))),
            (Some(old), Some(new)) if old.resource_version != new.resource_version => {
                Some(Change::Modified(Arc::clone(new)))
            }
            (Some(old), None) => Some(Change::Deleted(Arc::clone(old))),
            _ => None,
        };
        keys.into_iter().filter_map(change).collect()
    }
}

/// Names that do not lead to the same object in both. Both are in the order of names, so that one walk finds them.
fn differing<'a>(one: &'a BTreeMap<Key, Arc<Object>>, other: &'a BTreeMap<Key, Arc<Object>>) -> BTreeSet<&'a Key> {
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    let mut keys = BTreeSet::new();
    while let Some(&key) = ones.peek().map(|(key, _)| key).into_iter().chain(others.peek().map(|(key, _)| key)).min() {
        let (one, other) = (ones.next_if(|(own, _)| *own == key), others.next_if(|(own, _)| *own == key));
        let same = one.zip(other).is_some_and(|((_, one), (_, other))| Arc::ptr_eq(one, other));
        if !same {
            keys.insert(key);
        }
    }
    keys
}

fn check_version(key: &Key, expected: Option<&str>, found: Option<&Arc<Object>>) -> Result<(), Refusal> {
    let found = found.map(|object| object.resource_version);
    match expected {
        Some(expected) if found.map(|found| found.to_string()).as_deref() != Some(expected) => {
            Err(Refusal::Conflict { key: key.clone(), expected: expected.to_owned(), found })
        }
        _ => Ok(()),
    }
}
