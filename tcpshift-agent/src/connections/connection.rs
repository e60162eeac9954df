//! One live connection: the decision it was given, and the counters that count it while it lives.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::{ConnectionFailure, Connections, Ended};

/// The decision a connection keeps for its whole life, in stable numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptDecision {
    /// Of the plan that decided.
    pub generation: u64,
    /// Where it came in.
    pub listener: u32,
    /// The route it fell to.
    pub route: u32,
    /// The destination that has its slot.
    pub destination: u32,
    /// The slot, of 10,000.
    pub slot: u32,
}

/// A live connection. Dropping it takes it out of the counters.
#[derive(Debug)]
pub struct Connection {
    connections: Arc<Connections>,
    decided: KeptDecision,
    /// The host's subset and port that it is carried to.
    target: Option<u32>,
    /// The endpoint it is attached to.
    endpoint: Option<u32>,
}

impl Connection {
    /// Counts a new connection in, as its destination's.
    pub(super) fn new(connections: Arc<Connections>, decided: KeptDecision) -> Self {
        connections.live.fetch_add(1, SeqCst);
        let count = connections.destinations.get(decided.destination);
        count.opened.fetch_add(1, Relaxed);
        count.active.fetch_add(1, Relaxed);
        Self { connections, decided, target: None, endpoint: None }
    }

    /// What was decided for it.
    pub fn decided(&self) -> KeptDecision {
        self.decided
    }

    /// Makes it one of those that are carried to a host's subset and port, unless as many are as may be: `most`, of all
    /// routes that lead there. To be called once at most.
    #[must_use]
    pub fn enter(&mut self, target: u32, most: Option<u32>) -> bool {
        let room = |carried: u64| most.is_none_or(|most| carried < u64::from(most)).then_some(carried + 1);
        let entered = self.connections.targets.get(target).fetch_update(Relaxed, Relaxed, room).is_ok();
        self.target = entered.then_some(target);
        entered
    }

    /// The endpoint it is attached to.
    pub fn endpoint(&self) -> Option<u32> {
        self.endpoint
    }

    /// Makes it one of an endpoint's connections, and its load, before the endpoint has answered.
    pub fn attach(&mut self, endpoint: u32) {
        self.detach();
        let count = self.connections.endpoints.get(endpoint);
        count.opened.fetch_add(1, Relaxed);
        count.active.fetch_add(1, Relaxed);
        self.endpoint = Some(endpoint);
    }

    /// The endpoint did not take it: counts that, and detaches it.
    pub fn miss(&mut self, reason: ConnectionFailure) {
        if let Some(endpoint) = self.endpoint {
            let count = self.connections.endpoints.get(endpoint);
            count.failed.fetch_add(1, Relaxed);
            count.last_failure.note(reason);
        }
        self.detach();
    }

    /// It could not be served. To be called once at most.
    pub fn fail(&self, reason: ConnectionFailure) {
        self.connections.destinations.get(self.decided.destination).fail(reason);
    }

    /// It was served, and the agent ended it. To be called once at most.
    pub fn end(&self, reason: Ended) {
        self.connections.destinations.get(self.decided.destination).end(reason);
    }

    fn detach(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            self.connections.endpoints.get(endpoint).active.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.detach();
        if let Some(target) = self.target {
            self.connections.targets.get(target).fetch_sub(1, Relaxed);
        }
        self.connections.destinations.get(self.decided.destination).active.fetch_sub(1, Relaxed);
        if self.connections.live.fetch_sub(1, SeqCst) == 1 {
            self.connections.ended.notify_waiters();
        }
    }
}
