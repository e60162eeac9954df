//! What a change would do, without doing it: the changed copy of the store is made a plan with a copy of the
//! register, compared with the plan in force, and dropped. No socket is opened and nothing is written.

use std::collections::HashSet;
use std::sync::Arc;

use super::App;
use super::caution::{cautions, silent};
use super::request::Changed;
use crate::admin::api::{ApiFailure, ChangeReply, DeleteRequest, PreviewRequest};
use crate::plan::diff::diff;
use crate::route::object::{Key, Object};
use crate::route::problem::Problem;
use crate::route::store::Store;

impl App {
    /// Answers what an apply or a delete of the documents would change; refuses what they would refuse.
    pub(super) fn preview(&self, request: PreviewRequest) -> Result<ChangeReply, ApiFailure> {
        let PreviewRequest { documents, namespace, delete, force } = request;
        let changed = if delete {
            let objects = Vec::new();
            self.deleted(DeleteRequest { documents, objects, namespace, ignore_not_found: false })
        } else {
            self.stored(&documents, namespace.as_deref(), force)
        };
        let Changed { store, durable: (stored, _), reply } = changed?;
        Ok(self.foretell(&store, &stored, reply))
    }

    /// The answer of a change that is not made.
    pub(super) fn foretell(&self, store: &Store, stored: &[Arc<Object>], mut reply: ChangeReply) -> ChangeReply {
        let last = Arc::clone(&self.plan.borrow());
        let mut planner = self.planner.fork();
        let next = planner.plan(store.iter(), &last);
        let (last, next) = ((&*last, &*self.sets), (&next, planner.sets()));
        let keys: HashSet<Key> = stored.iter().map(|object| object.key.clone()).collect();
        reply.warnings.extend(cautions(&keys, last, next).into_iter().map(Problem::note));
        reply.warnings.extend(silent(&keys, &self.store, store));
        reply.diff = Some(diff(last, next));
        reply.generation = last.0.generation;
        reply
    }
}
