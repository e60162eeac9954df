//! The plans that a connection may have been decided by: the one in force, and for a moment those beside it.
//!
//! A kernel program obeys a plan before the workers are told, and who has waited since the plan before is accepted after.
//! It must not know who decides.

use std::sync::{Arc, Mutex, PoisonError};

use crate::plan::Plan;

/// Plans that are known, shared by the workers.
#[derive(Debug, Default)]
pub(super) struct Plans {
    known: Mutex<Vec<Arc<Plan>>>,
}

impl Plans {
    /// Makes a plan known before anybody obeys it.
    pub(super) fn announce(&self, plan: Arc<Plan>) {
        self.lock().push(plan);
    }

    /// Forgets all plans but one, since no connection can come by another any more.
    pub(super) fn settle(&self, generation: u64) {
        self.lock().retain(|plan| plan.generation == generation);
    }

    /// The plan of a generation.
    pub(super) fn find(&self, generation: u64) -> Option<Arc<Plan>> {
        self.lock().iter().find(|plan| plan.generation == generation).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Plan>>> {
        // Whoever panicked left a list of whole plans.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
