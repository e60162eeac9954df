//! What one compilation leaves for the next, so that an edit costs what it changes and not what there is.
//!
//! A listener is taken over, with all its routes, if it would be compiled from the same objects and its
//! destinations still lead to the same. What is taken over is what would come out again: nobody but the clock can
//! tell. Numbers are the exception, which have to be remembered; they are the register's.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::Identity;
use super::target::Target;
use crate::plan::catalog::Wanted;
use crate::plan::register::Register;
use crate::plan::{Listener, MeshListener, Route};
use crate::route::model::VirtualService;
use crate::route::object::Object;

/// What a compilation leaves for the next. It belongs to whoever holds the plan.
#[derive(Debug, Default)]
pub struct Memory {
    /// Numbers.
    pub register: Register,
    pub(super) targets: Targets,
    pub(super) listeners: HashMap<SocketAddr, Remembered>,
    pub(super) mesh: Option<RememberedMesh>,
    ground: Option<Ground>,
    /// Whether the ground is that of the compilation before.
    pub(super) is_same_ground: bool,
}

impl Memory {
    /// Remembers nothing but numbers.
    pub fn of(register: Register) -> Self {
        Self { register, ..Self::default() }
    }

    /// The plan that came out was given up: its numbers are free, so nothing that has them is taken over.
    pub fn give_up(&mut self) {
        let mut register = std::mem::take(&mut self.register);
        register.give_up();
        *self = Self::of(register);
    }

    /// Begins a compilation on this ground.
    pub(super) fn begin(&mut self, ground: Ground) {
        self.register.begin();
        let same = self.ground.as_ref() == Some(&ground);
        self.targets.begin(same);
        self.is_same_ground = same;
        if !same {
            self.ground = Some(ground);
        }
    }
}

/// What targets depend on.
#[derive(Debug)]
pub(super) struct Ground {
    /// All but routes and Gateways, by age.
    pub objects: Vec<Arc<Object>>,
    /// What is listened on.
    pub own: BTreeSet<SocketAddr>,
    pub identity: Identity,
}

/// Whether all objects are the same ones, not only alike.
impl PartialEq for Ground {
    fn eq(&self, other: &Self) -> bool {
        let Identity { namespace, labels, listen_addresses, seed, local, room: _, names } = &self.identity;
        let there = &other.identity;
        self.objects.len() == other.objects.len()
            && self.objects.iter().zip(&other.objects).all(|(one, other)| Arc::ptr_eq(one, other))
            && self.own == other.own
            && (namespace, labels, listen_addresses) == (&there.namespace, &there.labels, &there.listen_addresses)
            && (seed, local, names) == (&there.seed, &there.local, &there.names)
    }
}

/// A listener of an Istio Gateway, or that there is none, and what it was compiled from.
#[derive(Debug)]
pub(super) struct Remembered {
    pub gateway: Arc<Object>,
    /// The VirtualServices, the oldest first.
    pub services: Vec<Arc<Object>>,
    /// Places of what its destinations lead to.
    pub targets: Vec<usize>,
    pub listener: Option<Arc<Listener>>,
    pub notes: Vec<String>,
    /// Numbers of its routes, which hold them.
    pub routes: Vec<u32>,
    /// Numbers of their destinations.
    pub destinations: Vec<u32>,
}

/// What clients inside a mesh met, and what it was compiled from beside the ground.
#[derive(Debug)]
pub(super) struct RememberedMesh {
    /// The VirtualServices, the oldest first.
    pub services: Vec<Arc<Object>>,
    /// Whether services had routes of their own.
    pub steers: bool,
    /// How many routes that needed; none if there was no room for all.
    pub needed: Option<usize>,
    /// Places of what all destinations lead to.
    pub targets: Vec<usize>,
    pub listeners: Vec<Arc<MeshListener>>,
    /// Routes of rules and services, which have numbers too where clients of a family have variants of them.
    pub routes: Vec<Arc<Route>>,
    pub notes: Vec<String>,
}

impl RememberedMesh {
    /// Whether the same would come out, on the same ground.
    pub(super) fn is_of(&self, services: &[(&Arc<Object>, &VirtualService)], steers: bool, room: usize) -> bool {
        self.steers == steers
            && (!steers || self.needed.is_some_and(|needed| needed <= room))
            && services.len() == self.services.len()
            && services.iter().zip(&self.services).all(|((one, _), other)| Arc::ptr_eq(one, other))
    }
}

/// What destinations lead to, by how rules name them. Each has a place, and keeps it.
#[derive(Debug, Default)]
pub(super) struct Targets {
    places: HashMap<Wanted<'static>, usize>,
    /// By place.
    all: Vec<Known>,
    free: Vec<usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Known {
    pub wanted: Wanted<'static>,
    pub target: Arc<Target>,
    pub state: State,
}

/// What a compilation knows of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has to be found again.
    Stale,
    /// It is the same as before; no rule was seen yet that leads there.
    Unused,
    /// It is the same as before.
    Same,
    /// It is new, or different.
    New,
}

impl Targets {
    fn begin(&mut self, same: bool) {
        let state = if same { State::Unused } else { State::Stale };
        self.all.iter_mut().for_each(|known| known.state = state);
    }

    /// The place of what is wanted.
    pub(super) fn place(&self, wanted: &Wanted<'_>) -> Option<usize> {
        // What lives longer can stand for what lives shorter.
        let places: &HashMap<Wanted<'_>, usize> = &self.places;
        places.get(wanted).copied()
    }

    /// What is at a place that was given out.
    pub(super) fn at(&mut self, place: usize) -> &mut Known {
        &mut self.all[place]
    }

    /// Gives a place to a new target.
    pub(super) fn add(&mut self, wanted: Wanted<'static>, target: Arc<Target>) -> usize {
        let known = Known { wanted: wanted.clone(), target, state: State::New };
        let place = if let Some(place) = self.free.pop() {
            self.all[place] = known;
            place
        } else {
            self.all.push(known);
            self.all.len() - 1
        };
        self.places.insert(wanted, place);
        place
    }

    /// Forgets what no rule leads to any more, and returns the names that the rest depends on.
    pub(super) fn sweep(&mut self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (place, known) in self.all.iter().enumerate() {
            match known.state {
                State::Same | State::New => names.extend(known.target.names.iter().cloned()),
                State::Stale | State::Unused => {
                    // A place that is free already has lost its name, perhaps to another place.
                    if self.places.get(&known.wanted) == Some(&place) {
                        self.places.remove(&known.wanted);
                        self.free.push(place);
                    }
                }
            }
        }
        names
    }
}
