//! The live connections of one worker, each with a row that its owner writes and others copy or close by.
//!
//! A slab belongs to one thread. A row stays at its index for life, so that a walk in parts sees each row that lives all
//! the while exactly once.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use super::Waiter;
use super::{Connections, KeptDecision, LiveConnection, LiveFilter, LiveStage};

/// The rows of one worker.
#[derive(Debug)]
pub struct LiveSlab {
    pub(super) connections: Arc<Connections>,
    rows: RefCell<Vec<Option<Rc<LiveRow>>>>,
    free: RefCell<Vec<u32>>,
}

/// What is known of one live connection.
#[derive(Debug)]
pub struct LiveRow {
    index: u32,
    pub(super) decided: KeptDecision,
    client: SocketAddr,
    since: Instant,
    /// When its last byte passed, or when it began to wait for one.
    last: Cell<Instant>,
    /// Bytes to the endpoint and to the client.
    pub(super) bytes: [Cell<u64>; 2],
    /// The endpoint it is attached to.
    pub(super) endpoint: Cell<Option<u32>>,
    stage: Cell<LiveStage>,
    /// When somebody asked for its end.
    closing: Cell<Option<Instant>>,
    /// Who is to know when somebody does.
    waiter: Waiter,
}

impl LiveSlab {
    /// Without a row yet.
    pub fn new(connections: Arc<Connections>) -> Rc<Self> {
        Rc::new(Self { connections, rows: RefCell::default(), free: RefCell::default() })
    }

    /// Gives a new connection a row.
    pub(super) fn insert(&self, decided: KeptDecision, client: SocketAddr) -> Rc<LiveRow> {
        let mut rows = self.rows.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or(rows.len() as u32);
        let now = Instant::now();
        let row = Rc::new(LiveRow {
            index,
            decided,
            client,
            since: now,
            last: Cell::new(now),
            bytes: Default::default(),
            endpoint: Cell::default(),
            stage: Cell::new(LiveStage::Dialling),
            closing: Cell::default(),
            waiter: Waiter::default(),
        });
        match rows.get_mut(index as usize) {
            Some(cell) => *cell = Some(Rc::clone(&row)),
            None => rows.push(Some(Rc::clone(&row))),
        }
        row
    }

    /// Takes out the row of a connection that is over.
    pub(super) fn remove(&self, row: &LiveRow) {
        let mut rows = self.rows.borrow_mut();
        if let Some(cell) = rows.get_mut(row.index as usize) {
            *cell = None;
            self.free.borrow_mut().push(row.index);
        }
        // What thousands needed is given back when none is left.
        if self.free.borrow().len() == rows.len() && rows.len() > KEPT {
            *rows = Vec::new();
            *self.free.borrow_mut() = Vec::new();
        }
    }

    /// Copies the rows that are meant, of `most` cells from index `from` on, and says where to go on, if anywhere.
    pub fn list(&self, filter: &LiveFilter, from: usize, most: usize) -> (Vec<LiveConnection>, Option<usize>) {
        let rows = self.rows.borrow();
        let now = Instant::now();
        let part = rows.get(from..).unwrap_or_default();
        let part = &part[..most.min(part.len())];
        let meant = part.iter().flatten().filter(|row| row.fits(filter));
        let listed = meant.map(|row| row.shown(now)).collect();
        let next = from.saturating_add(most);
        (listed, (next < rows.len()).then_some(next))
    }

    /// Asks for the end of at most `most` connections that are meant and are not being ended yet; how many that were.
    pub fn close(&self, filter: &LiveFilter, most: usize) -> usize {
        let now = Instant::now();
        let rows = self.rows.borrow();
        let open = rows.iter().flatten().filter(|row| row.closing.get().is_none() && row.fits(filter));
        open.take(most).map(|row| row.close(now)).count()
    }
}

/// Cells that are kept though none is in use.
const KEPT: usize = 1024;

impl LiveRow {
    fn fits(&self, filter: &LiveFilter) -> bool {
        filter.fits(&self.decided, self.endpoint.get())
    }

    fn shown(&self, now: Instant) -> LiveConnection {
        let ago = |then: Instant| Some(now.saturating_duration_since(then));
        LiveConnection {
            decided: self.decided,
            client: Some(self.client),
            endpoint: self.endpoint.get(),
            stage: if self.closing.get().is_some() { LiveStage::Closing } else { self.stage.get() },
            age: ago(self.since),
            idle: ago(self.last.get()),
            bytes: Some([self.bytes[0].get(), self.bytes[1].get()]),
        }
    }

    fn close(&self, now: Instant) {
        self.closing.set(Some(now));
        self.waiter.wake();
    }

    /// When somebody asked for its end; else who polls is woken when somebody does.
    pub fn closing(&self, cx: &mut Context<'_>) -> Option<Instant> {
        let closing = self.closing.get();
        if closing.is_none() {
            self.waiter.wait(cx);
        }
        closing
    }

    /// It has come so far.
    pub fn reach(&self, stage: LiveStage) {
        self.stage.set(stage);
        self.touch();
    }

    /// A byte has passed, or it begins to wait for one.
    pub fn touch(&self) {
        self.last.set(Instant::now());
    }

    /// How far it has come, whether or not it is being ended.
    pub fn stage(&self) -> LiveStage {
        self.stage.get()
    }

    /// When its last byte passed.
    pub fn last(&self) -> Instant {
        self.last.get()
    }

    /// How long no byte has passed.
    pub fn idle(&self) -> Duration {
        self.last.get().elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::task::Waker;

    use super::*;

    fn decided(destination: u32) -> KeptDecision {
        KeptDecision { generation: 1, listener: 0, route: 0, destination, slot: 0 }
    }

    fn client() -> SocketAddr {
        "192.0.2.1:1000".parse().unwrap()
    }

    fn to(destination: u32) -> LiveFilter {
        LiveFilter { destinations: Some(BTreeSet::from([destination])), ..LiveFilter::default() }
    }

    #[test]
    fn a_walk_in_parts_sees_each_that_lives_once() {
        let slab = LiveSlab::new(Arc::default());
        let mut open: Vec<_> = (0..1000).map(|number| slab.open(decided(number), client())).collect();
        let (mut seen, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let (part, next) = slab.list(&LiveFilter::default(), at, 64);
            seen.extend(part.iter().map(|one| one.decided.destination));
            from = next;
            // Others come and go meanwhile.
            open.swap_remove(seen[seen.len() - 1] as usize % 3);
            open.push(slab.open(decided(5000), client()));
        }
        seen.retain(|destination| *destination != 5000);
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
        for one in open.iter().map(|one| one.decided().destination).filter(|destination| *destination < 1000) {
            assert!(seen.binary_search(&one).is_ok(), "{one} lived all the while");
        }
        drop(open);
        assert_eq!(slab.list(&LiveFilter::default(), 0, usize::MAX), (vec![], None));
    }

    #[test]
    fn only_those_that_are_meant_are_asked_to_end_and_only_once() {
        let slab = LiveSlab::new(Arc::default());
        let open: Vec<_> = (0..10).map(|number| slab.open(decided(number % 2), client())).collect();
        assert_eq!(slab.close(&to(1), 2), 2);
        assert_eq!(slab.close(&to(1), usize::MAX), 3);
        assert_eq!(slab.close(&to(1), usize::MAX), 0);
        let mut cx = Context::from_waker(Waker::noop());
        for one in &open {
            assert_eq!(one.row().closing(&mut cx).is_some(), one.decided().destination == 1);
        }
        let stages = slab.list(&to(1), 0, usize::MAX).0;
        assert!(stages.iter().all(|one| one.stage == LiveStage::Closing));
    }
}
