//! Sources: where objects come from, and what they tell the [`store`](super::store).
//!
//! A source tells updates: objects that are new or different, and names of those that are gone. What was applied is told once,
//! at the start; later it is changed by requests. A new source is a file here, a [`Source`] with its place among the layers, an
//! [`Origin`](super::object::Origin) that says whether requests may change its objects, and an arm in app's loop.

pub mod files;
pub mod state;

use super::object::{Key, Object};
use super::problem::Problem;

/// Where objects come from. Of an object that several sources have, that of the last one here counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What was applied, which the state folder keeps.
    State,
    /// The files of the user: a person sees there what is in force, whatever was applied before.
    Files,
}

impl Source {
    /// From the lowest layer of the store to the uppermost.
    pub const ALL: [Self; 2] = [Self::State, Self::Files];
}

/// What a source tells.
#[derive(Clone, Debug)]
pub struct Update {
    /// Who tells it.
    pub source: Source,
    /// Objects that are new or different.
    pub put: Vec<Object>,
    /// Names of objects that the source has no more.
    pub gone: Vec<Key>,
    /// What is wrong with what the source holds, if it was not told before.
    pub problems: Vec<Problem>,
    /// Whether the source has told all that it holds.
    pub complete: bool,
}

impl Update {
    /// All objects of a source that has told nothing before.
    pub fn first(source: Source, put: Vec<Object>) -> Self {
        Self { source, put, gone: Vec::new(), problems: Vec::new(), complete: true }
    }

    /// Whether no object is different.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}
