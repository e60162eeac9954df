//! How one generation follows another: a store becomes a plan, its sockets are opened, it is made durable,
//! and only then every worker obeys it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::assignment::Prompt;
use super::caution::{cautions, silent};
use super::facts::own_sockets;
use super::guard::Guard;
use super::request::{Changed, Durable};
use super::{App, request, succession};
use crate::admin::api::{ApiFailure, ApplyRequest, ChangeReply, DeleteRequest, FailureReason};
use crate::analyze::Ground;
use crate::connections::Connections;
use crate::kernel;
use crate::plan::datapath::refusal;
use crate::plan::intent::Intent;
use crate::plan::sets::states::{Event, ResolvedNames};
use crate::plan::{Plan, Planner, RouteChanges, Sets};
use crate::proxy::{ListenFailure, Obstacle};
use crate::route::object::{Key, Object};
use crate::route::problem::Problem;
use crate::route::source::state::StateFolder;
use crate::route::store::{Store, StoreChange};

/// What comes into force next.
struct Next {
    intent: Arc<Intent>,
    plan: Arc<Plan>,
    sets: Arc<Sets>,
    /// What is different from the plan in force.
    changes: Arc<RouteChanges>,
}

/// What came into force.
struct Advanced {
    /// What a person should know of how durable it is.
    caution: Option<String>,
    changes: Arc<RouteChanges>,
}

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum Unchanged {
    /// What is answered.
    Failed(ApiFailure),
    /// These listeners cannot be opened.
    Taken(Vec<ListenFailure>),
}

impl From<ApiFailure> for Unchanged {
    fn from(failure: ApiFailure) -> Self {
        Self::Failed(failure)
    }
}

impl App {
    /// Stores the objects of a request, all or none.
    pub(super) async fn apply(&mut self, request: ApplyRequest) -> Result<ChangeReply, Unchanged> {
        let ApplyRequest { documents, namespace, dry_run, force, strict } = request;
        let store = self.store.clone();
        let stored = move || request::stored(&store, &documents, namespace.as_deref(), force);
        let changed = self.beside.run(stored).await?;
        self.enforce(changed, dry_run, strict).await
    }

    /// Puts a change in force, or says what it would do. One that is guarded fails if more connections would be refused.
    pub(super) async fn enforce(
        &mut self,
        changed: Changed,
        dry_run: bool,
        is_guarded: bool,
    ) -> Result<ChangeReply, Unchanged> {
        let Changed { store, durable: (changed, _), mut reply } = changed;
        if dry_run {
            return Ok(self.foretell(store, changed, reply).await);
        }
        if !changed.is_empty() {
            let keys: HashSet<Key> = changed.iter().map(|object| object.key.clone()).collect();
            let (last, sets) = (Arc::clone(&self.plan.borrow()), Arc::clone(&self.sets));
            let were_down = self.down.reasons();
            let (before, after) = (self.store.clone(), store.clone());
            let Advanced { caution, changes } = self.advance(store, (changed, Vec::new()), is_guarded).await?;
            let (plan, new_sets) = (Arc::clone(&self.plan.borrow()), Arc::clone(&self.sets));
            let tell = move |ground: &mut Ground| {
                let cautions = cautions(&keys, (&last, &sets), (&plan, &new_sets), &changes);
                let cautions = cautions.into_iter().map(Problem::note);
                let silent = silent(&keys, &before, &after, ground);
                ground.follow(&after);
                silent.into_iter().chain(cautions).collect::<Vec<_>>()
            };
            reply.warnings.extend(self.ground.with(&self.beside, tell).await);
            let down = self.down.failures().filter(|failure| !were_down.contains_key(&failure.address));
            reply.warnings.extend(down.map(|failure| Problem::note(failure.to_string())));
            reply.warnings.extend(caution.map(Problem::note));
        }
        reply.generation = self.plan.borrow().generation;
        Ok(reply)
    }

    /// Removes the objects of a request, all or none.
    pub(super) async fn delete(&mut self, request: DeleteRequest) -> Result<ChangeReply, Unchanged> {
        let (last, is_guarded) = (self.store.clone(), !request.force);
        let Changed { store, durable, mut reply } = self.beside.run(move || request::deleted(&last, request)).await?;
        if !durable.1.is_empty() {
            reply.warnings.extend(self.advance(store, durable, is_guarded).await?.caution.map(Problem::note));
            let store = self.store.clone();
            self.ground.with(&self.beside, move |ground| ground.follow(&store)).await;
        }
        reply.generation = self.plan.borrow().generation;
        Ok(reply)
    }

    /// Puts a changed store in force and makes it durable, or leaves everything as it is.
    async fn advance(
        &mut self,
        store: Store,
        (stored, deleted): Durable,
        is_guarded: bool,
    ) -> Result<Advanced, Unchanged> {
        // Also once it has: whoever got through to this one finds the other by then.
        if self.handing_over {
            return Err(ApiFailure::new(FailureReason::Unavailable, succession::HANDING_OVER).into());
        }
        if self.draining {
            return Err(ApiFailure::new(FailureReason::Unavailable, "the agent is ending; nothing is changed").into());
        }
        let mut next = self.next(&store).await;
        let failures = self.proxy.open(&next.plan);
        let is_new = |failure: &&ListenFailure| !failure.is_passing() && !self.down.contains(failure.address);
        let new: Vec<ListenFailure> = failures.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            self.give_up().await;
            return Err(Unchanged::Taken(new));
        }
        self.withhold(&mut next, &failures).await;
        if is_guarded && let Err(failure) = self.guard(&next) {
            self.give_up().await;
            return Err(failure.into());
        }
        let prepared = match self.prepare(Prompt::Request, &next).await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.give_up().await;
                return Err(ApiFailure::new(FailureReason::Failed, format!("{error:#}; nothing is changed")).into());
            }
        };
        let version = store.version();
        let write = move |state: &mut StateFolder| state.write(&stored, &deleted, version);
        let caution = match self.state.with(&self.beside, write).await {
            Ok(caution) => caution,
            Err(error) => {
                self.give_up().await;
                return Err(ApiFailure::new(FailureReason::Failed, format!("{error:#}")).into());
            }
        };
        let changes = Arc::clone(&next.changes);
        self.publish(Some(store), next, prepared, failures).await;
        Ok(Advanced { caution, changes })
    }

    /// Fails if more connections would be refused.
    fn guard(&self, next: &Next) -> Result<(), ApiFailure> {
        let last = Arc::clone(&self.plan.borrow());
        let Next { plan, sets, changes, .. } = next;
        Guard { last: (&last, &self.sets), next: (plan, sets), changes, silent: &self.silent }.check()
    }

    /// Leaves nothing of the plan that was made last.
    async fn give_up(&mut self) {
        self.planner.memory.give_up();
        self.planner.forget();
        self.proxy.close_unused(&self.plan.borrow());
        // What is in force is remembered again, with the sets that it has.
        self.assemble(Arc::clone(&self.intent)).await;
    }

    /// Puts in force what the user's files say. What cannot be listened on is said, and tried again.
    pub(super) async fn follow(&mut self, store: Store) {
        let next = self.next(&store).await;
        self.put(Some(store), next).await;
    }

    /// Puts in force what the same objects come to on the host as it is now.
    pub(super) async fn reassemble(&mut self) {
        let next = self.assemble(Arc::clone(&self.intent)).await;
        self.put(None, next).await;
    }

    /// An event: DNS has other answers. Endpoint sets follow; a plan does only where it depends on what changed.
    pub(super) async fn answered(&mut self, answers: Arc<ResolvedNames>) {
        let event = self.planner.memory.states.answered(answers);
        self.happened(event).await;
    }

    /// Puts in force what an event about endpoints came to.
    pub(super) async fn happened(&mut self, event: Event) {
        if event.sets == 0 {
            self.settle();
            return;
        }
        if event.plan || event.here && self.planner.host.abilities.lookup.is_ok() {
            return self.reassemble().await;
        }
        let next = Next {
            intent: Arc::clone(&self.intent),
            plan: Arc::clone(&self.plan.borrow()),
            sets: Arc::new(self.planner.sets().clone()),
            changes: Arc::default(),
        };
        self.put(None, next).await;
    }

    async fn put(&mut self, store: Option<Store>, mut next: Next) {
        let failures = self.proxy.open(&next.plan);
        self.withhold(&mut next, &failures).await;
        let prepared = self.prepare(Prompt::Event, &next).await.unwrap_or_else(|error| {
            // Nobody asked, so nobody can be refused.
            log::error!("{error:#}");
            None
        });
        self.publish(store, next, prepared, failures).await;
    }

    /// Leaves the ports of listeners that are not served to whoever listens there. Where nobody does, programs go on handing
    /// connections over.
    async fn withhold(&mut self, next: &mut Next, failures: &[ListenFailure]) {
        let taken = failures.iter().filter(|failure| !failure.is_passing()).map(|failure| failure.address).collect();
        if self.planner.host.withheld != taken {
            self.planner.host.withheld = taken;
            *next = self.assemble(Arc::clone(&next.intent)).await;
        }
    }

    /// Makes the tables that programs need, if they decide and it is another plan or it has other sets.
    async fn prepare(&mut self, prompt: Prompt, next: &Next) -> anyhow::Result<Option<kernel::PreparedPlan>> {
        if self.is_in_force(&next.plan) && next.sets.version == self.sets.version {
            return Ok(None);
        }
        let (plan, sets) = (Arc::clone(&next.plan), Arc::clone(&next.sets));
        self.assignment.with(&self.beside, move |assigner| assigner.prepare(prompt, &plan, &sets)).await
    }

    /// Whether no connection would be decided differently by a plan.
    fn is_in_force(&self, plan: &Plan) -> bool {
        plan.generation == self.plan.borrow().generation
    }

    /// Tries again to listen where it was not possible.
    pub(super) async fn open_again(&mut self) {
        let plan = Arc::clone(&self.plan.borrow());
        let failures = self.proxy.open(&plan);
        let is_passing = |obstacle: &Obstacle| *obstacle == Obstacle::Connection;
        let has_changed = |failure: &ListenFailure| {
            self.down.obstacle(failure.address).is_none_or(|last| is_passing(last) != failure.is_passing())
        };
        let is_other = failures.len() < self.down.len() || failures.iter().any(has_changed);
        if failures.len() < self.down.len() {
            let opened = self.down.failures().map(|failure| failure.address);
            let opened = opened.filter(|address| self.proxy.is_open(*address));
            opened.for_each(|address| log::info!("listening on {address} now"));
            self.proxy.publish(plan, Arc::clone(&self.sets)).await;
        }
        self.down.set(failures);
        if is_other {
            // What was withheld from a listener can be had now, or the other way round.
            self.reassemble().await;
        }
    }

    /// What objects come to.
    async fn next(&mut self, store: &Store) -> Next {
        let (edits, store, last) = (self.edits(store), store.clone(), Arc::clone(&self.intent));
        let resolve = move |planner: &mut Planner| {
            let edited = edits.and_then(|edits| planner.edit(&last, &edits));
            edited.unwrap_or_else(|| planner.resolve(store.iter()))
        };
        let intent = self.planner.with(&self.beside, resolve).await;
        self.assemble(Arc::new(intent)).await
    }

    /// The objects of a draft that replace others, each with the one that it replaces, if that is all that is different.
    fn edits(&self, store: &Store) -> Option<Vec<(Arc<Object>, Arc<Object>)>> {
        let changes = self.store.changes(store);
        let edit = |change: StoreChange| match change {
            StoreChange::Modified(new) => Some((Arc::clone(self.store.get(&new.key)?), new)),
            StoreChange::Added(_) | StoreChange::Deleted(_) => None,
        };
        if changes.is_empty() { None } else { changes.into_iter().map(edit).collect() }
    }

    /// What an intent comes to on this host.
    async fn assemble(&mut self, intent: Arc<Intent>) -> Next {
        self.see(&intent);
        let (last, admin) = (Arc::clone(&self.plan.borrow()), self.admin.clone());
        let assemble = move |planner: &mut Planner| {
            planner.host.own_sockets = own_sockets(&intent, &admin);
            let plan = Arc::new(planner.assemble(&intent, &last));
            let changes = Arc::new(RouteChanges::between(&last, &plan));
            Next { intent, plan, sets: Arc::new(planner.sets().clone()), changes }
        };
        self.planner.with(&self.beside, assemble).await
    }

    async fn publish(
        &mut self,
        store: Option<Store>,
        next: Next,
        prepared: Option<kernel::PreparedPlan>,
        failures: Vec<ListenFailure>,
    ) {
        let Next { intent, plan, sets, changes } = next;
        if let Some(store) = store {
            let changes = self.store.changes(&store);
            let watchers = self.watchers.clone();
            let mut watchers = watchers.lock();
            watchers.record(&changes, store.version());
            self.store = store;
            self.show();
        }
        self.resolver.want(&intent.names);
        self.intent = intent;
        self.down.set(failures);
        let last = Arc::clone(&self.plan.borrow());
        let is_in_force = self.is_in_force(&plan);
        let has_other_sets = sets.version != self.sets.version;
        self.sets = sets;
        if is_in_force {
            self.reset_fresh(plan.generation);
            if has_other_sets {
                // Workers first: they find what a program still chooses of the sets before, or choose another endpoint. The other
                // way round, the first endpoint of a set would be refused by a worker that does not know it yet.
                self.proxy.replace(&self.sets).await;
                Box::pin(self.obey(prepared)).await;
            }
            // Its digest may be another one.
            self.plan.send_replace(plan);
            self.sweep();
            self.show();
            return;
        }
        self.reset_fresh(plan.generation);
        mark(&self.connections, &changes);
        self.proxy.announce(Arc::clone(&plan), Arc::clone(&self.sets));
        Box::pin(self.obey(prepared)).await;
        self.proxy.publish(Arc::clone(&plan), Arc::clone(&self.sets)).await;
        self.narrow(&plan);
        let known: HashSet<&String> = last.notes.iter().collect();
        plan.notes.iter().filter(|note| !known.contains(note)).for_each(|note| log::warn!("{note}"));
        let known: HashSet<String> = changes.gone.iter().filter_map(|route| refusal(route)).collect();
        let refused = changes.new.iter().filter_map(|route| refusal(route));
        refused.filter(|said| !known.contains(said)).for_each(|said| log::warn!("{said}"));
        let listeners = plan.listeners.len() - self.down.len();
        let s = if listeners == 1 { "" } else { "s" };
        log::info!("generation {} is in force: {listeners} listener{s}", plan.generation);
        self.retire(&changes);
        drop((changes, last));
        self.plan.send_replace(plan);
        self.settle();
        self.sweep();
        self.show();
    }

    /// Has programs obey what was prepared for them.
    async fn obey(&mut self, prepared: Option<kernel::PreparedPlan>) {
        if prepared.is_some() {
            self.assignment.with(&self.beside, move |assigner| assigner.publish(prepared)).await;
        }
    }
}

/// Counts the share of a route anew where its weights changed.
fn mark(connections: &Connections, changes: &RouteChanges) {
    let before: HashMap<u32, _> = changes.gone.iter().map(|route| (route.number, route)).collect();
    for route in &changes.new {
        let same = before.get(&route.number).is_some_and(|last| last.table == route.table && last.steer == route.steer);
        if !same {
            let numbers = route.destinations.iter().map(|destination| destination.number);
            numbers.for_each(|number| connections.mark(number));
        }
    }
}
