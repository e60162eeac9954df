//! The store: every object there is, by name, each with its origin and version.
//!
//! Each source has a layer of its own: what was applied, which requests change, and above it the files of the user, which tell
//! updates. Of an object that several layers have, that of the uppermost counts. A change is made on a draft, which replaces the store
//! once it is in force; so a change is whole or not at all. Copies share what they have in common.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rpds::RedBlackTreeMapSync;

use super::kind::Kind;
use super::object::{Key, Object, Origin};
use super::problem::Problem;
use super::source::{Source, Update};

/// Every object.
#[derive(Clone, Debug, Default)]
pub struct Store {
    version: u64,
    /// By [`Source`].
    layers: [Layer; Source::ALL.len()],
    /// Which sources have told all that they hold, by [`Source`].
    complete: [bool; Source::ALL.len()],
    ground: Edition,
    /// Names of objects that may be others than in the store that this is a draft of.
    touched: BTreeSet<Key>,
}

/// Stands for the state that a part of a store is in: two are equal where nothing was changed between them.
#[derive(Clone, Debug, Default)]
pub struct Edition(Arc<()>);

impl PartialEq for Edition {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The objects of a source.
type Layer = RedBlackTreeMapSync<Key, Arc<Object>>;

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
        /// The version it has.
        found: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(key) => {
                write!(f, "{} {:?} not found", key.kind.plural(), key.name)
            }
            Self::BelongsToFile(key, origin) => {
                write!(f, "{key} belongs to the file {origin}; {EDIT}")
            }
            Self::Conflict { key, expected, found } => write!(
                f,
                "{key} has resourceVersion {found}, not {expected}: somebody changed it meanwhile; read it again and \
                 repeat your change"
            ),
        }
    }
}

/// What to do about an object of a file.
const EDIT: &str = "edit that file, which the agent watches, or start the agent without it";

/// An object of a request that cannot be stored.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The same with its place in the request, and what to do.
    pub problem: Problem,
}

impl Refused {
    fn new(refusal: Refusal, object: &Object) -> Self {
        let (file, line) = match &object.origin {
            Origin::File { path, line } => (&**path, *line),
            Origin::Applied => ("", 0),
        };
        let expected = object.expected_version.as_ref();
        let (line, field, message, cure) = match &refusal {
            Refusal::NotFound(_) => (line, "", "not found".to_owned(), ""),
            Refusal::BelongsToFile(_, origin) => (line, "", format!("it belongs to the file {origin}"), EDIT),
            Refusal::Conflict { expected: version, found, .. } => {
                let line = expected.map_or(line, |expected| expected.line);
                let is_older = version.parse().is_ok_and(|version: u64| version < *found);
                let (message, cure) = if is_older {
                    let message = format!("{version} is an older state, or another store's: the object has {found}");
                    (message, "read it again and repeat the change, or replace it by --force")
                } else {
                    let message = format!("{version} is another store's: the object has {found} here");
                    (message, "replace it by --force, or remove this field")
                };
                (line, "metadata.resourceVersion", message, cure)
            }
        };
        let problem = Problem {
            line,
            object: object.key.to_string(),
            field: field.to_owned(),
            cure: cure.to_owned(),
            ..Problem::of_file(file, message)
        };
        Self { refusal, problem }
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
pub enum StoreChange {
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
        let mut store = Self { version, ..Self::default() };
        for object in applied {
            store.layer_mut(Source::State).insert_mut(object.key.clone(), Arc::new(object));
        }
        store.complete[Source::State as usize] = true;
        store
    }

    /// Whether every source has told all that it holds.
    pub fn is_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete)
    }

    /// A copy to be changed.
    #[must_use]
    pub fn draft(&self) -> Self {
        Self { touched: BTreeSet::new(), ..self.clone() }
    }

    /// The edition of all that is no route: of services, endpoints and policies, and of Gateways.
    pub fn ground(&self) -> &Edition {
        &self.ground
    }

    /// An object of this name may be another one by now.
    fn touch(&mut self, key: Key) {
        if !key.kind.is_route() {
            self.ground = Edition::default();
        }
        self.touched.insert(key);
    }

    fn layer(&self, source: Source) -> &Layer {
        &self.layers[source as usize]
    }

    fn layer_mut(&mut self, source: Source) -> &mut Layer {
        &mut self.layers[source as usize]
    }

    /// Layers above a source.
    fn above(&self, source: Source) -> &[Layer] {
        &self.layers[source as usize + 1..]
    }

    /// Counts changes; every object carries the version in which it became what it is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An object by name.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.layers.iter().rev().find_map(|layer| layer.get(key))
    }

    /// Every object that counts.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        let layers = Source::ALL.into_iter().rev().map(|source| (self.layer(source), self.above(source)));
        layers.flat_map(|(layer, above)| {
            let is_hidden = |key: &Key| above.iter().any(|layer| layer.contains_key(key));
            layer.iter().filter(move |(key, _)| !is_hidden(key)).map(|(_, object)| object)
        })
    }

    /// What was applied, whether or not a file has the same object.
    pub fn applied(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.layer(Source::State).values()
    }

    /// The objects of one kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> Vec<&Arc<Object>> {
        // Layers are sorted by kind, then by namespace and name.
        let first = Key { kind, namespace: String::new(), name: String::new() };
        let mut objects = Vec::new();
        for source in Source::ALL {
            let is_hidden = |key: &Key| self.above(source).iter().any(|layer| layer.contains_key(key));
            let of_layer = self.layer(source).range(&first..).take_while(|(key, _)| key.kind == kind);
            objects.extend(of_layer.filter(|(key, _)| !is_hidden(key)).map(|(_, object)| object));
        }
        if self.layers.iter().filter(|layer| !layer.is_empty()).count() > 1 {
            objects.sort_by(|a, b| a.key.cmp(&b.key));
        }
        objects
    }

    /// How many objects count.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(Layer::is_empty)
    }

    /// Applied objects that a file of the user hides, in words.
    pub fn hidden(&self) -> impl Iterator<Item = String> {
        let both = self.layer(Source::State).keys().filter_map(|key| self.layer(Source::Files).get(key));
        both.map(|object| format!("{} was applied and stands in {} too; the file counts", object.key, object.origin))
    }

    /// Stores objects of a request; each name is there once. All or none: after an error, which names every object that is
    /// refused, the copy is of no use.
    ///
    /// An object that is the same already is left as it is, whatever version is expected and whether or not it belongs to a file.
    pub fn apply(&mut self, objects: Vec<Object>, now: Timestamp) -> Result<Vec<(Arc<Object>, Outcome)>, Vec<Refused>> {
        let version = self.version + 1;
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        for mut object in objects {
            let old = self.get(&object.key);
            if let Some(old) = old.filter(|old| old.content == object.content) {
                done.push((Arc::clone(old), Outcome::Unchanged));
                continue;
            }
            if let Err(refusal) = self.refuse(&object.key, object.expected_version.as_ref().map(|one| &*one.version)) {
                refused.push(Refused::new(refusal, &object));
                continue;
            }
            let outcome = if let Some(old) = old {
                object.created = old.created;
                Outcome::Configured
            } else {
                object.created = object.created.or(Some(now));
                Outcome::Created
            };
            object.origin = Origin::Applied;
            object.expected_version = None;
            object.resource_version = version;
            self.version = version;
            let object = Arc::new(object);
            self.touch(object.key.clone());
            self.layer_mut(Source::State).insert_mut(object.key.clone(), Arc::clone(&object));
            done.push((object, outcome));
        }
        if refused.is_empty() { Ok(done) } else { Err(refused) }
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
            self.refuse(key, expected.as_deref())?;
            // The same object named twice in one request is deleted once.
            if !self.layer(Source::State).contains_key(key) && !gone.contains(key) && !ignore_not_found {
                return Err(Refusal::NotFound(key.clone()));
            }
            let found = self.layer_mut(Source::State).remove_mut(key);
            self.touch(key.clone());
            gone.insert(key);
            done.push((key.clone(), found));
        }
        if done.iter().any(|(_, found)| *found) {
            self.version += 1;
        }
        Ok(done)
    }

    /// Takes what a source tells. An object that is what it was keeps its version.
    pub fn update(&mut self, update: Update) {
        let Update { source, put, gone, problems: _, complete } = update;
        let version = self.version + 1;
        for mut object in put {
            let old = self.layer(source).get(&object.key);
            let same = old.filter(|old| old.is_like(&object));
            object.resource_version = match same {
                // Who compares finds that nothing has happened.
                Some(old) if old.origin == object.origin => continue,
                Some(old) => old.resource_version,
                None => version,
            };
            self.version = self.version.max(object.resource_version);
            self.touch(object.key.clone());
            self.layer_mut(source).insert_mut(object.key.clone(), Arc::new(object));
        }
        for key in gone {
            if self.layer_mut(source).remove_mut(&key) {
                self.version = version;
                self.touch(key);
            }
        }
        // What it has to tell later is a change.
        self.complete[source as usize] |= complete;
    }

    /// Refuses to change an object that belongs to a file, or that has another version than the one expected. One that is not
    /// there has none.
    pub fn refuse(&self, key: &Key, expected: Option<&str>) -> Result<(), Refusal> {
        if let Some(object) = self.layer(Source::Files).get(key) {
            return Err(Refusal::BelongsToFile(key.clone(), object.origin.clone()));
        }
        let found = self.layer(Source::State).get(key).map(|object| object.resource_version);
        match found.zip(expected) {
            Some((found, expected)) if found.to_string() != expected => {
                Err(Refusal::Conflict { key: key.clone(), expected: expected.to_owned(), found })
            }
            _ => Ok(()),
        }
    }

    /// What is different in a draft of this store.
    pub fn changes(&self, newer: &Self) -> Vec<StoreChange> {
        if self.version == newer.version {
            return Vec::new();
        }
        let change = |key: &Key| match (self.get(key), newer.get(key)) {
            (None, Some(new)) => Some(StoreChange::Added(Arc::clone(new))),
            (Some(old), Some(new)) if old.resource_version != new.resource_version => {
                Some(StoreChange::Modified(Arc::clone(new)))
            }
            (Some(old), None) => Some(StoreChange::Deleted(Arc::clone(old))),
            _ => None,
        };
        newer.touched.iter().filter_map(change).collect()
    }
}
