//! What one resolution leaves for the next, so that an edit costs what it changes and not what there is.
//!
//! A port is reused, with all its routes, if it would be resolved from the same objects and its backends are the same.
//! Reuse never changes the result, only the time.

use std::collections::HashMap;
use std::sync::Arc;

use crate::plan::catalog::Wanted;
use crate::plan::host::Scope;
use crate::plan::intent::{Backend, GatewayPort, MeshPort, ReachedService};
use crate::route::model::VirtualService;
use crate::route::object::{Key, Object};

/// What a resolution leaves for the next. It belongs to the owner of the intent.
#[derive(Clone, Debug, Default)]
pub struct ResolutionMemory {
    pub(super) backends: Backends,
    /// By the Gateway and the index of its server.
    pub(super) ports: HashMap<(Key, usize), ResolvedPort>,
    pub(super) mesh: Option<ResolvedMesh>,
    ground: Option<Ground>,
    /// Whether the ground is that of the resolution before.
    pub(super) is_same_ground: bool,
}

impl ResolutionMemory {
    /// All but routes and Gateways, by age, of the last resolution.
    pub(super) fn ground(&self) -> Option<Arc<[Arc<Object>]>> {
        self.ground.as_ref().map(|ground| Arc::clone(&ground.objects))
    }

    /// Begins a resolution on this ground.
    pub(super) fn begin(&mut self, objects: Vec<Arc<Object>>, scope: &Scope) {
        let ground = Ground { objects: objects.into(), scope: scope.clone() };
        let same = self.ground.as_ref().is_some_and(|last| last.is_same(&ground));
        self.backends.begin(same);
        self.is_same_ground = same;
        if !same {
            self.ground = Some(ground);
        }
    }
}

/// What backends depend on.
#[derive(Clone, Debug)]
struct Ground {
    /// All but routes and Gateways, by age.
    objects: Arc<[Arc<Object>]>,
    scope: Scope,
}

impl Ground {
    /// Whether all objects are the same ones, not only alike.
    fn is_same(&self, other: &Self) -> bool {
        self.objects.len() == other.objects.len()
            && self.objects.iter().zip(&*other.objects).all(|(one, other)| Arc::ptr_eq(one, other))
            && self.scope == other.scope
    }
}

/// A server of an Istio Gateway, and what it was resolved from.
#[derive(Clone, Debug)]
pub(super) struct ResolvedPort {
    pub gateway: Arc<Object>,
    /// The VirtualServices, the oldest first.
    pub services: Vec<Arc<Object>>,
    /// Indices of the backends that its routes lead to.
    pub backends: Vec<usize>,
    pub port: Arc<GatewayPort>,
}

/// What clients inside a mesh meet, and what it was resolved from beside the ground.
#[derive(Clone, Debug)]
pub(super) struct ResolvedMesh {
    /// The VirtualServices, the oldest first.
    pub services: Vec<Arc<Object>>,
    /// Indices of the backends that all routes lead to.
    pub backends: Vec<usize>,
    pub ports: Vec<Arc<MeshPort>>,
    pub reached: Vec<Arc<ReachedService>>,
    pub notes: Vec<String>,
}

impl ResolvedMesh {
    /// Whether the same would come out, on the same ground.
    pub(super) fn is_of(&self, services: &[(&Arc<Object>, &VirtualService)]) -> bool {
        services.len() == self.services.len()
            && services.iter().zip(&self.services).all(|((one, _), other)| Arc::ptr_eq(one, other))
    }
}

/// What destinations lead to, by how rules name them. Each has an index, and keeps it.
#[derive(Clone, Debug, Default)]
pub(super) struct Backends {
    indices: HashMap<Wanted<'static>, usize>,
    all: Vec<Known>,
    free: Vec<usize>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub wanted: Wanted<'static>,
    pub backend: Arc<Backend>,
    pub freshness: Freshness,
}

/// What a resolution knows of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It has to be resolved again.
    Stale,
    /// It is the same as before; no rule was seen yet that leads there.
    Unused,
    /// It is the same as before.
    Same,
    /// It is new, or different.
    New,
}

impl Backends {
    fn begin(&mut self, same: bool) {
        let freshness = if same { Freshness::Unused } else { Freshness::Stale };
        self.all.iter_mut().for_each(|known| known.freshness = freshness);
    }

    /// The index of what is wanted.
    pub(super) fn index(&self, wanted: &Wanted<'_>) -> Option<usize> {
        // A key that lives longer can be looked up by one that lives shorter.
        let indices: &HashMap<Wanted<'_>, usize> = &self.indices;
        indices.get(wanted).copied()
    }

    /// The backend at an index that was given out.
    pub(super) fn at(&mut self, index: usize) -> &mut Known {
        &mut self.all[index]
    }

    /// Gives an index to a new backend.
    pub(super) fn add(&mut self, wanted: Wanted<'static>, backend: Arc<Backend>) -> usize {
        let known = Known { wanted: wanted.clone(), backend, freshness: Freshness::New };
        let index = if let Some(index) = self.free.pop() {
            self.all[index] = known;
            index
        } else {
            self.all.push(known);
            self.all.len() - 1
        };
        self.indices.insert(wanted, index);
        index
    }

    /// Forgets what no rule leads to any more.
    pub(super) fn sweep(&mut self) {
        for (index, known) in self.all.iter().enumerate() {
            // An index that is free already has lost its name, perhaps to another index.
            if matches!(known.freshness, Freshness::Stale | Freshness::Unused)
                && self.indices.get(&known.wanted) == Some(&index)
            {
                self.indices.remove(&known.wanted);
                self.free.push(index);
            }
        }
    }

    /// Those that a rule leads to.
    pub(super) fn used(&self) -> impl Iterator<Item = &Backend> {
        let used = self.all.iter().filter(|known| matches!(known.freshness, Freshness::Same | Freshness::New));
        used.map(|known| &*known.backend)
    }
}
