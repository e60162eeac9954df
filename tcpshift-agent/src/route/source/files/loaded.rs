//! A watched file: what it said when it was last read, and whether a change of it is complete.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Look;
use super::listing::Stamp;
use crate::route::object::Key;
use crate::route::read::{Contents, ReadDocument};

/// A file that never stays the same is read after this time.
const LONGEST_WAIT: Duration = Duration::from_millis(700);

/// A file and what it said when it was last read as YAML; its problems are those of the last time it was read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The version that was read; none if the file has to be read again, changed or not.
    pub(super) stamp: Option<Stamp>,
    /// A change that is not complete yet.
    pub(super) pending: Option<PendingChange>,
    /// The file is gone.
    pub(super) is_missing: bool,
    pub(super) contents: Contents,
}

/// A change that may not be complete yet.
#[derive(Debug)]
pub(super) struct PendingChange {
    /// The version of the file; none if it is gone.
    stamp: Option<Stamp>,
    /// When this version was first seen.
    since: Instant,
    /// When the first version after the one that was read was seen.
    first: Instant,
}

impl Loaded {
    /// Whether the file has stayed at this version for `long`, or changes without end; if not, asks to look again.
    pub(super) fn stands(&mut self, stamp: Option<Stamp>, long: Duration, look: &mut Look) -> bool {
        let now = Instant::now();
        let (since, first) = match &self.pending {
            Some(pending) if pending.stamp == stamp => (pending.since, pending.first),
            Some(pending) => (now, pending.first),
            None => (now, now),
        };
        self.pending = Some(PendingChange { stamp, since, first });
        let left = long.saturating_sub(now - since).min(LONGEST_WAIT.saturating_sub(now - first));
        if left > Duration::ZERO {
            look.again = Some(look.again.map_or(left, |again| again.min(left)));
        }
        left == Duration::ZERO
    }

    /// If an object of the new contents cannot be named, adds the objects that they miss as invalid: the one without a name may
    /// be any of these.
    pub(super) fn keep_if_unnamed(&self, contents: &mut Contents) {
        if contents.has_unnamed {
            let gone: Vec<_> = self.missing_from(contents).cloned().collect();
            contents.entries.extend(gone.into_iter().map(|key| ReadDocument::Invalid { key, line: 0 }));
        }
    }

    /// Whether the new contents miss an object that the file had, or are no YAML.
    pub(super) fn loses(&self, contents: &Contents) -> bool {
        !contents.is_yaml || self.missing_from(contents).next().is_some()
    }

    /// The objects of the file that the new contents do not name.
    fn missing_from<'a>(&'a self, contents: &'a Contents) -> impl Iterator<Item = &'a Key> {
        let named: HashSet<&Key> = contents.entries.iter().filter_map(ReadDocument::key).collect();
        self.contents.entries.iter().filter_map(ReadDocument::key).filter(move |key| !named.contains(key))
    }
}
