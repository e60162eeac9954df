//! How one generation follows another: a store becomes a plan, its sockets are opened, it is made durable,
//! and only then every worker obeys it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use super::request::{Changed, Durable};
use super::{App, succession};
use crate::admin::api::{ApiFailure, ApplyRequest, ChangeReply, DeleteRequest, FailureReason};
use crate::analyze::{self, Finding, code};
use crate::connections::Connections;
use crate::kernel;
use crate::plan::choice::{refusals, withhold};
use crate::plan::compile::{Memory, compile};
use crate::plan::{Plan, Route};
use crate::proxy::{ListenFailure, Obstacle};
use crate::route::object::Key;
use crate::route::problem::Problem;
use crate::route::store::Store;

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
        let ApplyRequest { documents, namespace, dry_run, force } = request;
        let changed = self.stored(&documents, namespace.as_deref(), force)?;
        self.enforce(changed, dry_run).await
    }

    /// Puts a change in force, or says what it would do.
    pub(super) async fn enforce(&mut self, changed: Changed, dry_run: bool) -> Result<ChangeReply, Unchanged> {
        let Changed { store, durable: (changed, _), mut reply } = changed;
        if dry_run {
            return Ok(self.foretell(&store, &changed, reply));
        }
        if !changed.is_empty() {
            let keys: HashSet<Key> = changed.iter().map(|object| object.key.clone()).collect();
            let last = Arc::clone(&self.plan.borrow());
            let were_down = self.down.reasons();
            reply.warnings.extend(silent(&keys, &self.store, &store));
            let caution = self.advance(store, (changed, Vec::new())).await?;
            reply.warnings.extend(cautions(&keys, &last, &self.plan.borrow()).into_iter().map(Problem::note));
            let down = self.down.failures().filter(|failure| !were_down.contains_key(&failure.address));
            reply.warnings.extend(down.map(|failure| Problem::note(failure.to_string())));
            reply.warnings.extend(caution.map(Problem::note));
        }
        reply.generation = self.plan.borrow().generation;
        Ok(reply)
    }

    /// Removes the objects of a request, all or none.
    pub(super) async fn delete(&mut self, request: DeleteRequest) -> Result<ChangeReply, Unchanged> {
        let Changed { store, durable, mut reply } = self.deleted(request)?;
        if !durable.1.is_empty() {
            reply.warnings.extend(self.advance(store, durable).await?.map(Problem::note));
        }
        reply.generation = self.plan.borrow().generation;
        Ok(reply)
    }

    /// Puts a changed store in force and makes it durable, or leaves everything as it is. The text is what a person should
    /// know of how durable it is.
    async fn advance(&mut self, store: Store, (stored, deleted): Durable) -> Result<Option<String>, Unchanged> {
        // Also once it has: whoever got through to this one finds the other by then.
        if self.handing_over {
            return Err(ApiFailure::new(FailureReason::Unavailable, succession::HANDING_OVER).into());
        }
        if self.draining {
            return Err(ApiFailure::new(FailureReason::Unavailable, "the agent is ending; nothing is changed").into());
        }
        let mut plan = self.compile(&store);
        let failures = self.proxy.open(&plan);
        let is_new = |failure: &&ListenFailure| !failure.is_passing() && !self.down.contains(failure.address);
        let new: Vec<ListenFailure> = failures.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            self.give_up();
            return Err(Unchanged::Taken(new));
        }
        leave(&mut plan, &failures);
        let prepared = match self.prepare(&plan) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.give_up();
                return Err(ApiFailure::new(FailureReason::Failed, format!("{error:#}; nothing is changed")).into());
            }
        };
        let caution = match self.state.write(&stored, &deleted, store.version()) {
            Ok(caution) => caution,
            Err(error) => {
                self.give_up();
                return Err(ApiFailure::new(FailureReason::Failed, format!("{error:#}")).into());
            }
        };
        self.publish(store, plan, prepared, failures).await;
        Ok(caution)
    }

    /// Leaves nothing of the plan that was compiled last.
    fn give_up(&mut self) {
        self.memory.give_up();
        self.proxy.close_unused(&self.plan.borrow());
    }

    /// Puts in force what the user's files say. What cannot be listened on is said, and tried again.
    pub(super) async fn follow(&mut self, store: Store) {
        let mut plan = self.compile(&store);
        let failures = self.proxy.open(&plan);
        leave(&mut plan, &failures);
        let prepared = self.prepare(&plan).unwrap_or_else(|error| {
            self.assignment.fall_behind(&error);
            None
        });
        self.publish(store, plan, prepared, failures).await;
    }

    /// Makes the tables that programs need for a plan, if they decide and it is another plan.
    fn prepare(&mut self, plan: &Plan) -> anyhow::Result<Option<kernel::PreparedPlan>> {
        if self.is_in_force(plan) { Ok(None) } else { self.assignment.prepare(plan) }
    }

    /// Whether no connection would be decided differently by a plan.
    fn is_in_force(&self, plan: &Plan) -> bool {
        let last = self.plan.borrow();
        last.generation > 0 && plan.is_like(&last)
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
            self.proxy.publish(plan).await;
        }
        self.down.set(failures);
        if is_other {
            // What was withheld from a listener can be had now, or the other way round.
            self.follow(self.store.clone()).await;
        }
    }

    fn compile(&mut self, store: &Store) -> Plan {
        let last = Arc::clone(&self.plan.borrow());
        self.identity.room = self.assignment.routes();
        let mut plan = compile(store.iter(), &self.identity, &mut self.memory, &last);
        self.could_steer = self.assignment.steers().is_ok();
        self.note_own_socket(&mut plan);
        self.want(&plan);
        self.choose(&mut plan);
        plan
    }

    async fn publish(
        &mut self,
        store: Store,
        plan: Plan,
        prepared: Option<kernel::PreparedPlan>,
        failures: Vec<ListenFailure>,
    ) {
        let last = Arc::clone(&self.plan.borrow());
        let changes = self.store.changes(&store);
        self.watchers.record(&changes, store.version());
        self.store = store;
        self.resolver.want(&plan.names);
        self.down.set(failures);
        if self.is_in_force(&plan) {
            return;
        }
        let plan = Arc::new(plan);
        let Self { memory: Memory { register, .. }, connections, .. } = self;
        register.listeners.take_fresh().into_iter().for_each(|number| connections.listeners.get(number).reset());
        register.routes.take_fresh().into_iter().for_each(|number| connections.sequences.get(number).store(0, Relaxed));
        register.destinations.take_fresh().into_iter().for_each(|number| {
            connections.reset_destination(number, plan.generation);
            connections.turns.get(number).store(0, Relaxed);
        });
        // Nobody is carried there yet.
        drop(register.targets.take_fresh());
        register.endpoints.take_fresh().into_iter().for_each(|number| connections.endpoints.get(number).reset());
        mark(connections, &last, &plan);
        self.proxy.announce(Arc::clone(&plan));
        self.assignment.publish(prepared);
        self.proxy.publish(Arc::clone(&plan)).await;
        self.narrow(&plan);
        let known: HashSet<&String> = last.notes.iter().collect();
        plan.notes.iter().filter(|note| !known.contains(note)).for_each(|note| log::warn!("{note}"));
        let known: HashSet<String> = refusals(&last).map(|(_, said)| said).collect();
        refusals(&plan).filter(|(_, said)| !known.contains(said)).for_each(|(_, said)| log::warn!("{said}"));
        let listeners = plan.listeners.len() - self.down.len();
        let s = if listeners == 1 { "" } else { "s" };
        log::info!("generation {} is in force: {listeners} listener{s}", plan.generation);
        self.retired.extend(last.routes_beside(&plan).into_iter().map(Arc::downgrade));
        drop(last);
        self.plan.send_replace(plan);
        self.settle();
        self.sweep();
    }

    /// Frees the numbers that nothing holds any more. A connection that is being opened holds its route, since
    /// it may try any endpoint of it.
    fn sweep(&mut self) {
        let Self { memory: Memory { register, .. }, connections, retired, .. } = self;
        retired.retain(|route| route.strong_count() > 0);
        let (mut held, mut led_to) = (HashSet::new(), HashSet::new());
        for route in retired.iter().filter_map(Weak::upgrade) {
            let endpoints = route.destinations.iter().flat_map(|destination| destination.endpoints.iter());
            held.extend(endpoints.map(|endpoint| endpoint.decides.number));
            led_to.extend(route.destinations.iter().map(|destination| destination.target));
        }
        register.listeners.sweep(|_| false);
        register.routes.sweep(|_| false);
        register.destinations.sweep(|number| connections.active_of(number) > 0);
        let is_carried = |number: u32| connections.targets.get(number).load(Relaxed) > 0;
        register.targets.sweep(|number| led_to.contains(&number) || is_carried(number));
        register.endpoints.sweep(|number| held.contains(&number) || connections.loads.get(number).load(Relaxed) > 0);
    }
}

/// What goes wrong in silence with objects that were applied, or since they were.
pub(super) fn silent(keys: &HashSet<Key>, last: &Store, store: &Store) -> Vec<Problem> {
    let found = |store: &Store| analyze::told_everywhere(store.iter().map(|object| &**object).collect(), keys);
    let mut findings = found(store);
    // Refused shares are said of the plan.
    findings.retain(|finding| finding.code != code::NO_ADDRESS);
    let is_applied = |finding: &Finding| finding.key.as_ref().is_some_and(|key| keys.contains(key));
    if !findings.iter().all(is_applied) {
        let known = found(last);
        let is_new = |finding: &Finding| {
            !known.iter().any(|other| (&other.key, &other.message) == (&finding.key, &finding.message))
        };
        findings.retain(|finding| is_applied(finding) || is_new(finding));
    }
    findings.into_iter().map(Finding::into_warning).collect()
}

/// What somebody who has just applied objects should know: what is new among the notes of the plan and among
/// the routes and shares that are refused, and which of the routes applied are.
pub(super) fn cautions(keys: &HashSet<Key>, last: &Plan, plan: &Plan) -> Vec<String> {
    let refused = |plan: &Plan, wanted: &dyn Fn(&Route) -> bool| {
        let without = refusals(plan).filter(|(route, _)| wanted(route)).map(|(_, said)| said);
        let routes = plan.routes().filter(|route| wanted(route));
        let unusable = routes.flat_map(|route| {
            let destinations = route.destinations.iter().filter(|destination| destination.slots > 0);
            destinations.filter_map(|destination| {
                let (reason, name) = (destination.unusable.as_ref()?, &destination.name);
                Some(format!("{} {}: {name}: {reason}; its share is refused", route.kind.name(), route.name()))
            })
        });
        without.chain(unusable).collect::<Vec<_>>()
    };
    let applied = |route: &Route| {
        let (namespace, name) = (route.namespace.clone(), route.object.clone());
        keys.contains(&Key { kind: route.kind, namespace, name })
    };
    let mut known: HashSet<String> = last.notes.iter().cloned().chain(refused(last, &|_| true)).collect();
    let new = plan.notes.iter().cloned().chain(refused(plan, &|_| true)).filter(|caution| !known.contains(caution));
    let mut cautions: Vec<String> = new.chain(refused(plan, &applied)).collect();
    known.clear();
    // A rule may be served at several addresses.
    cautions.retain(|caution| known.insert(caution.clone()));
    cautions
}

/// Counts the share of a route anew where its weights changed.
fn mark(connections: &Connections, last: &Plan, next: &Plan) {
    let before: HashMap<u32, _> = last.routes_beside(next).into_iter().map(|route| (route.number, route)).collect();
    for route in next.routes_beside(last) {
        let same = before.get(&route.number).is_some_and(|last| last.table == route.table && last.steer == route.steer);
        if !same {
            let numbers = route.destinations.iter().map(|destination| destination.decides.number);
            numbers.for_each(|number| connections.mark(number));
        }
    }
}

/// Leaves the ports of listeners that are not served to whoever listens there. Where nobody does, programs go on handing
/// connections over.
fn leave(plan: &mut Plan, failures: &[ListenFailure]) {
    for failure in failures.iter().filter(|failure| !failure.is_passing()) {
        withhold(plan, failure.address);
    }
}
