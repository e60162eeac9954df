//! What a change would do, without doing it: the changed copy of the store is made a plan with a copy of the
//! register, compared with the plan in force, and dropped. No socket is opened and nothing is written.

use std::collections::HashSet;
use std::sync::Arc;

use super::caution::{cautions, silent};
use super::request::Changed;
use super::{App, request};
use crate::admin::api::{ApiFailure, ChangeReply, DeleteRequest, PreviewRequest};
use crate::analyze::Ground;
use crate::plan::diff::diff;
use crate::plan::{Planner, RouteChanges};
use crate::route::object::{Key, Object};
use crate::route::problem::Problem;
use crate::route::store::Store;

impl App {
    /// Answers what an apply or a delete of the documents would change; refuses what they would refuse.
    pub(super) async fn preview(&mut self, request: PreviewRequest) -> Result<ChangeReply, ApiFailure> {
        let PreviewRequest { documents, namespace, delete, force } = request;
        let last = self.store.clone();
        let changed = move || {
            if delete {
                let objects = Vec::new();
                let request = DeleteRequest { documents, objects, namespace, ignore_not_found: false, force: false };
                request::deleted(&last, request)
            } else {
                request::stored(&last, &documents, namespace.as_deref(), force)
            }
        };
        let Changed { store, durable: (stored, _), reply } = self.beside.run(changed).await?;
        Ok(self.foretell(store, stored, reply).await)
    }

    /// The answer of a change that is not made.
    pub(super) async fn foretell(
        &mut self,
        store: Store,
        stored: Vec<Arc<Object>>,
        mut reply: ChangeReply,
    ) -> ChangeReply {
        let (last, sets) = (Arc::clone(&self.plan.borrow()), Arc::clone(&self.sets));
        let last_store = self.store.clone();
        let foretell = move |planner: &mut Planner| {
            let mut planner = planner.fork();
            let next = planner.plan(store.iter(), &last);
            let changes = RouteChanges::between(&last, &next);
            let (last, next) = ((&*last, &*sets), (&next, planner.sets()));
            let keys: HashSet<Key> = stored.iter().map(|object| object.key.clone()).collect();
            reply.warnings.extend(cautions(&keys, last, next, &changes).into_iter().map(Problem::note));
            reply.warnings.extend(silent(&keys, &last_store, &store, &mut Ground::default()));
            reply.diff = Some(diff(last, next));
            reply.generation = last.0.generation;
            reply
        };
        self.planner.with(&self.beside, foretell).await
    }
}
