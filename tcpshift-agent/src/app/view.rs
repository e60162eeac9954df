//! View: what is in force, as readers are told it.
//!
//! The view is replaced whole after each change. So objects and status are read at any time, also while a change is made
//! that takes long: readers wait for nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::beside::SideThread;
use super::health::Ejections;
use super::{App, request};
use crate::admin::api::{
    ApiFailure, AssignmentStatus, FailureReason, GetReply, GetRequest, Item, StatusReply, WatchFilter, WatchReply,
    WatchRequest,
};
use crate::admin::connections::Directory;
use crate::admin::status::{self, Knowledge};
use crate::admin::watch::Watchers;
use crate::connections::Connections;
use crate::kernel::SteeredReader;
use crate::logging;
use crate::observe::{Before, History, Sample};
use crate::plan::{Plan, Route, Sets};
use crate::proxy::Carried;
use crate::route::object::{Key, Object};
use crate::route::store::{Refusal, Store};

/// What is in force.
#[derive(Clone, Debug)]
pub(super) struct ReadersView {
    store: Store,
    plan: Arc<Plan>,
    sets: Arc<Sets>,
    labels: BTreeMap<String, String>,
    /// Why listeners are not served.
    down: BTreeMap<SocketAddr, String>,
    /// Endpoints of this host at which nobody listens.
    silent: Arc<BTreeSet<SocketAddr>>,
    /// Endpoints that are ejected.
    ejected: Arc<Ejections>,
    /// Who decides, and why; without counts.
    assignment: AssignmentStatus,
    draining: bool,
    /// Numbers of destinations that are gone, and may have connections.
    retired: Vec<u32>,
    /// Routes of such destinations, for their names.
    former: Vec<Arc<Route>>,
    /// Endpoints that are in no set and may have connections, by number, with their names.
    left: Vec<(u32, Arc<str>)>,
    /// Beside those of the plan and the store.
    notes: Vec<String>,
}

impl ReadersView {
    /// The plan and the endpoint sets in force.
    pub(super) fn in_force(&self) -> (Arc<Plan>, Arc<Sets>) {
        (Arc::clone(&self.plan), Arc::clone(&self.sets))
    }

    /// Of an agent that has read nothing yet.
    pub(super) fn empty(seed: u64) -> Self {
        Self {
            store: Store::default(),
            plan: Arc::new(Plan::empty(seed)),
            sets: Arc::default(),
            labels: BTreeMap::new(),
            down: BTreeMap::new(),
            silent: Arc::default(),
            ejected: Arc::default(),
            assignment: AssignmentStatus::default(),
            draining: false,
            retired: Vec::new(),
            former: Vec::new(),
            left: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What numbers of connections are called.
    pub(super) fn directory(&self, connections: &Connections) -> Directory<'_> {
        Directory::new((&self.plan, &self.sets), &self.former, &self.left, connections)
    }
}

/// Where live connections are asked for.
#[derive(Clone, Debug)]
pub(super) struct LiveSources {
    /// Where the kernel's list is read.
    pub(super) beside: Arc<SideThread>,
    /// Those that programs steer, if any does.
    pub(super) steered: Option<SteeredReader>,
    /// Those that the agent carries.
    pub(super) carried: Carried,
}

/// What readers have in common.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    view: watch::Receiver<Arc<ReadersView>>,
    watchers: SharedWatchers,
    pub(super) connections: Arc<Connections>,
    /// Where live connections are asked for.
    pub(super) live: LiveSources,
    started: Instant,
    /// What the agent before this one told last, while it is there.
    before: watch::Receiver<Option<Arc<Before>>>,
}

/// Who watches objects. It is locked while a view with other objects is put in the place of another one, so that nobody who
/// begins to watch misses a change.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedWatchers(Arc<Mutex<Watchers>>);

impl SharedWatchers {
    pub(super) fn lock(&self) -> MutexGuard<'_, Watchers> {
        // A panic leaves a list of whole events.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// What is in force now.
    pub(super) fn view(&self) -> ReadersView {
        let plan = Arc::clone(&self.plan.borrow());
        ReadersView {
            store: self.store.clone(),
            sets: Arc::clone(&self.sets),
            labels: self.planner.scope.labels.clone(),
            down: self.down.reasons(),
            silent: Arc::clone(&self.silent),
            ejected: Arc::clone(&self.ejections),
            assignment: self.assignment.status(),
            draining: self.draining,
            retired: self.planner.memory.register.destinations.retired().collect(),
            former: self.former.named.clone(),
            left: self.planner.memory.states.left(),
            notes: self.files.errors().map(ToString::to_string).chain(self.missing.notes()).collect(),
            plan,
        }
    }

    /// Tells readers what is in force now.
    pub(super) fn show(&self) {
        self.view.send_replace(Arc::new(self.view()));
    }

    /// For whoever answers readers.
    pub(super) fn readers(&self) -> Readers {
        Readers {
            view: self.view.subscribe(),
            watchers: self.watchers.clone(),
            connections: Arc::clone(&self.connections),
            live: LiveSources {
                beside: Arc::clone(&self.readers_beside),
                steered: self.assignment.steered(),
                carried: self.proxy.carried(),
            },
            started: self.started,
            before: self.before.subscribe(),
        }
    }
}

impl Readers {
    pub(super) fn view(&self) -> Arc<ReadersView> {
        Arc::clone(&self.view.borrow())
    }

    /// Objects.
    pub(super) fn get(&self, request: &GetRequest) -> Result<GetReply, ApiFailure> {
        let view = self.view();
        let objects = select(&view.store, &request.kind, request.namespace.as_deref(), request.name.as_deref())?;
        let items =
            objects.into_iter().map(|object| Item { object: object.document(), origin: object.origin.to_string() });
        Ok(GetReply {
            items: items.collect(),
            resource_version: view.store.version().to_string(),
            digest: view.plan.digest.to_string(),
        })
    }

    /// Objects, and what becomes of them.
    pub(super) fn watch(&self, request: WatchRequest) -> Result<WatchReply, ApiFailure> {
        let WatchRequest { kind, namespace, name, resource_version } = request;
        let kinds = request::kinds(&kind)?;
        let [kind] = kinds[..] else {
            let words: Vec<_> = kinds.iter().map(|kind| kind.qualified()).collect();
            return Err(ApiFailure::new(
                FailureReason::BadRequest,
                format!("say which kind is meant: {}", words.join(" or ")),
            ));
        };
        let watchers = self.watchers.lock();
        let view = self.view();
        let present = view.store.of_kind(kind);
        let filter = WatchFilter { kind: kind.qualified(), namespace, name };
        watchers.start(filter, resource_version.as_deref(), &present, view.store.version())
    }

    /// Looks how counts have grown. To be called once a second.
    pub(super) fn look(&self, history: &mut History) {
        let view = self.view();
        history.look(&view.plan, &view.sets, &self.connections);
    }

    /// All that is in force and counted, as one value.
    fn sample(&self, view: &ReadersView, history: &History) -> Sample {
        let before = self.before.borrow().clone();
        Sample::take((&view.plan, &view.sets), &view.retired, &self.connections, history, before)
    }

    /// The plan in force and what became of it.
    pub(super) fn status(&self, history: &History) -> StatusReply {
        let view = self.view();
        let sample = self.sample(&view, history);
        let ReadersView { store, plan, sets, labels, down, silent, ejected, assignment, draining, notes, .. } = &*view;
        let lost = ("lines of the agent's log lost, since nobody reads its standard error", logging::lost());
        StatusReply {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            generation: plan.generation,
            digest: plan.digest.to_string(),
            sets: sets.version,
            seed: plan.seed,
            datapath: status::datapaths(plan),
            assignment: status::counted(assignment.clone(), &sample),
            draining: *draining,
            labels: labels.clone(),
            objects: store.len() as u64,
            listeners: status::listeners(&sample, Knowledge { down, silent, ejected }),
            retired_active: sample.retired_active,
            before: status::before(&sample),
            trouble: status::troubles(&sample, &[lost]),
            notes: plan.notes.iter().cloned().chain(store.hidden()).chain(notes.iter().cloned()).collect(),
        }
    }
}

fn select<'a>(
    store: &'a Store,
    kind: &str,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<&'a Arc<Object>>, ApiFailure> {
    let kinds = request::kinds(kind)?;
    let objects = kinds.iter().flat_map(|kind| store.of_kind(*kind)).filter(|object| {
        namespace.is_none_or(|namespace| object.key.namespace == namespace)
            && name.is_none_or(|name| object.key.name == name)
    });
    let objects: Vec<_> = objects.collect();
    match name {
        Some(name) if objects.is_empty() => {
            let namespace = namespace.unwrap_or_default().to_owned();
            let key = Key { kind: kinds[0], namespace, name: name.to_owned() };
            Err(ApiFailure::new(FailureReason::NotFound, Refusal::NotFound(key).to_string()))
        }
        _ => Ok(objects),
    }
}
