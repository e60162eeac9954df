//! The plans that a connection may have been decided by: the one in force, and for a moment those beside it.
//!
//! A kernel program obeys a plan before the workers are told, and who has waited since the plan before is accepted after.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plan::{Plan, Sets};

/// Plans that are known, shared by the workers.
#[derive(Debug, Default)]
pub(super) struct Plans {
    known: Mutex<Vec<(Arc<Plan>, Arc<Sets>)>>,
}

impl Plans {
    /// Makes a plan known before anybody obeys it, with the sets that it names.
    pub(super) fn announce(&self, plan: Arc<Plan>, sets: Arc<Sets>) {
        self.lock().push((plan, sets));
    }

    /// Gives the plans that are known other sets: those of the plan in force, with other endpoints.
    pub(super) fn replace(&self, sets: &Arc<Sets>) {
        self.lock().iter_mut().for_each(|(_, last)| *last = Arc::clone(sets));
    }

    /// Forgets all plans but one, since no connection can come by another any more.
    pub(super) fn settle(&self, generation: u64) {
        self.lock().retain(|(plan, _)| plan.generation == generation);
    }

    /// The plan of a generation, and the sets that it was announced with.
    pub(super) fn find(&self, generation: u64) -> Option<(Arc<Plan>, Arc<Sets>)> {
        self.lock().iter().find(|(plan, _)| plan.generation == generation).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<Plan>, Arc<Sets>)>> {
        // Whoever panicked left a list of whole plans.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
