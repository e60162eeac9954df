//! One live connection: the decision it was given, its row, and the counters that count it while it lives.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::{ConnectionFailure, Connections, Ended, KeptDecision, LiveRow, LiveSlab};

/// What came of a try at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The endpoint took the connection.
    Taken,
    /// It did not.
    Failed(ConnectionFailure),
    /// It was not to blame: nobody waits for it any more, or this host could not try.
    Abandoned,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the endpoint.
    Forth,
    /// From the endpoint to the client.
    Back,
}

/// A live connection. Dropping it takes it out of the counters and out of its slab.
#[derive(Debug)]
pub struct Connection {
    slab: Rc<LiveSlab>,
    row: Rc<LiveRow>,
    /// The host's subset and port that it is carried to.
    target: Cell<Option<u32>>,
}

impl LiveSlab {
    /// Counts a new connection in, and gives it a row. Both end when the guard is dropped.
    pub fn open(self: &Rc<Self>, decided: KeptDecision, client: SocketAddr) -> Connection {
        Connection::new(Rc::clone(self), self.insert(decided, client))
    }
}

impl Connection {
    /// Counts a new connection in, as its destination's.
    fn new(slab: Rc<LiveSlab>, row: Rc<LiveRow>) -> Self {
        slab.connections.live.fetch_add(1, SeqCst);
        let count = slab.connections.destinations.get(row.decided.destination);
        count.opened.fetch_add(1, Relaxed);
        count.active.fetch_add(1, Relaxed);
        Self { slab, row, target: Cell::new(None) }
    }

    fn connections(&self) -> &Connections {
        &self.slab.connections
    }

    /// What was decided for it.
    pub fn decided(&self) -> KeptDecision {
        self.row.decided
    }

    /// What others see of it.
    pub fn row(&self) -> &LiveRow {
        &self.row
    }

    /// Makes it one of those that are carried to a host's subset and port, unless as many are as may be: `most`, of all
    /// routes that lead there. To be called once at most.
    #[must_use]
    pub fn enter(&self, target: u32, most: Option<u32>) -> bool {
        let room = |carried: u64| most.is_none_or(|most| carried < u64::from(most)).then_some(carried + 1);
        let entered = self.connections().targets.get(target).fetch_update(Relaxed, Relaxed, room).is_ok();
        self.target.set(entered.then_some(target));
        entered
    }

    /// Makes it one of an endpoint's connections, and its load, before the endpoint has answered.
    pub fn attach(&self, endpoint: u32) {
        self.detach();
        let count = self.connections().endpoints.get(endpoint);
        count.opened.fetch_add(1, Relaxed);
        count.active.fetch_add(1, Relaxed);
        self.row.endpoint.set(Some(endpoint));
        self.row.touch();
    }

    /// Tells what came of trying the endpoint that it is attached to. One that did not take it has it no longer.
    pub fn attempted(&self, outcome: AttemptOutcome) {
        let Some(endpoint) = self.row.endpoint.get() else { return };
        match outcome {
            AttemptOutcome::Taken => {
                let micros = self.row.idle().as_micros() as u64;
                self.connections().destinations.get(self.row.decided.destination).connecting.fetch_add(micros, Relaxed);
            }
            AttemptOutcome::Failed(reason) => {
                let count = self.connections().endpoints.get(endpoint);
                count.failed.fetch_add(1, Relaxed);
                count.last_failure.note(reason);
                self.connections().untaken.notify_one();
                self.detach();
            }
            AttemptOutcome::Abandoned => self.detach(),
        }
    }

    /// Bytes have been written.
    pub fn moved(&self, direction: Direction, bytes: usize) {
        let count = self.connections().destinations.get(self.row.decided.destination);
        let total = match direction {
            Direction::Forth => &count.sent,
            Direction::Back => &count.received,
        };
        total.fetch_add(bytes as u64, Relaxed);
        let own = &self.row.bytes[direction as usize];
        own.set(own.get() + bytes as u64);
    }

    /// It could not be served. To be called once at most.
    pub fn fail(&self, reason: ConnectionFailure) {
        self.connections().destinations.get(self.row.decided.destination).fail(reason);
    }

    /// It was served, and the agent ended it. To be called once at most.
    pub fn end(&self, reason: Ended) {
        self.connections().destinations.get(self.row.decided.destination).end(reason);
    }

    fn detach(&self) {
        if let Some(endpoint) = self.row.endpoint.take() {
            self.connections().endpoints.get(endpoint).active.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.detach();
        self.slab.remove(&self.row);
        let connections = self.connections();
        if let Some(target) = self.target.get() {
            connections.targets.get(target).fetch_sub(1, Relaxed);
        }
        connections.destinations.get(self.row.decided.destination).active.fetch_sub(1, Relaxed);
        if connections.live.fetch_sub(1, SeqCst) == 1 {
            connections.ended.notify_waiters();
        }
    }
}
