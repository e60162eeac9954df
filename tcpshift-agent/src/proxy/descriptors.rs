//! A worker's share of the descriptors that connections may take.
//!
//! The kernel gives each worker clients of its own. A worker that has the processor for a while longer would take every
//! descriptor that is free, and the clients of another one, who came earlier, would wait for connections to end. So a
//! worker that has its share leaves the others time before it takes more.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Connections that all workers carry.
#[derive(Debug)]
pub(super) struct All {
    carried: AtomicU64,
    workers: u64,
}

/// Connections that one worker carries, beside all.
#[derive(Debug)]
pub(super) struct WorkerShare {
    all: Arc<All>,
    own: Cell<u64>,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Rc<WorkerShare>);

impl All {
    /// None yet.
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { carried: AtomicU64::new(0), workers: workers.max(1) as u64 })
    }
}

impl WorkerShare {
    /// That of one worker.
    pub(super) fn new(all: Arc<All>) -> Rc<Self> {
        Rc::new(Self { all, own: Cell::default() })
    }

    /// Counts a connection.
    pub(super) fn count(self: &Rc<Self>) -> Counted {
        self.own.set(self.own.get() + 1);
        self.all.carried.fetch_add(1, Relaxed);
        Counted(Rc::clone(self))
    }

    /// Whether this worker has its share where so many descriptors are free, of which a connection takes two.
    pub(super) fn is_had(&self, free: u64) -> bool {
        let All { carried, workers } = &*self.all;
        self.own.get() > 0 && self.own.get() >= (carried.load(Relaxed) + free / 2) / workers
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let WorkerShare { all, own } = &*self.0;
        own.set(own.get() - 1);
        all.carried.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_has_its_share_when_the_others_could_have_no_more() {
        let all = All::new(2);
        let [one, other] = [0, 1].map(|_| WorkerShare::new(Arc::clone(&all)));
        // 20 descriptors for 10 connections.
        let mut counted = Vec::new();
        let mut free = 20;
        while !one.is_had(free) {
            counted.push(one.count());
            free -= 2;
        }
        assert_eq!((counted.len(), other.is_had(free)), (5, false));
        counted.extend((0..5).map(|_| other.count()));
        assert!(one.is_had(0) && other.is_had(0));
        counted.clear();
        assert!(!one.is_had(0), "who has nothing has no share");
        assert!(!one.is_had(20) && !other.is_had(20));
    }
}
