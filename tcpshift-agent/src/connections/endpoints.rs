//! What is counted of endpoints, by stable number: in memory of the agent's own, or in memory that kernel programs share.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::layout::ENDPOINT_SUM_WORDS;

use super::counters::Shared;
use super::{Cells, LastFailure};

/// Words of a row.
const WORDS: usize = ENDPOINT_SUM_WORDS as usize;

/// The counters of all endpoints. Those of one are neighbours, since a connection counts in several.
#[derive(Default)]
pub struct Endpoints {
    own: Cells<OwnRow>,
    shared: Option<Shared>,
    last_failures: Cells<LastFailure>,
}

/// A cache line of its own, since two workers often count on neighbours.
#[derive(Debug, Default)]
#[repr(align(64))]
struct OwnRow([AtomicU64; WORDS]);

/// Counters of one endpoint, of carried connections, and of steered ones if programs share them.
#[derive(Clone, Copy, Debug)]
pub struct EndpointCount<'a> {
    /// Connections begun to it, those included that were refused elsewhere before.
    pub opened: &'a AtomicU64,
    /// Those of them that it did not take.
    pub failed: &'a AtomicU64,
    /// Those of them that are being opened or are open: its load.
    pub active: &'a AtomicU64,
    /// When the number became this endpoint's, in nanoseconds of the monotonic clock.
    since: &'a AtomicU64,
    /// When it did not take a carried connection last, and why.
    pub last_failure: &'a LastFailure,
}

impl Endpoints {
    /// Counts in shared memory; an endpoint whose number it has no room for is counted by the agent alone.
    pub(super) fn shared(shared: Shared) -> Self {
        Self { shared: Some(shared), ..Self::default() }
    }

    /// The counters of a number.
    pub fn get(&self, number: u32) -> EndpointCount<'_> {
        let [opened, failed, active, since] = self.words(number).unwrap_or_else(|| &self.own.get(number).0);
        EndpointCount { opened, failed, active, since, last_failure: self.last_failures.get(number) }
    }

    /// Connections that an endpoint has, or that are being opened to it.
    pub fn load(&self, number: u32) -> u64 {
        self.get(number).active.load(Relaxed)
    }

    /// In the order of an `EndpointSumRow`.
    fn words(&self, number: u32) -> Option<&[AtomicU64; WORDS]> {
        let first = number as usize * WORDS;
        (**self.shared.as_ref()?).as_ref().get(first..first + WORDS)?.try_into().ok()
    }
}

impl EndpointCount<'_> {
    /// Begins anew for another endpoint, which has the number from now on, in nanoseconds of the monotonic clock: what was decided
    /// for the endpoint before is not counted. Who lives counts itself out.
    pub fn renew(&self, now: u64) {
        self.since.store(now, Relaxed);
        self.reset();
    }

    /// Starts from zero, live connections aside.
    pub fn reset(&self) {
        self.opened.store(0, Relaxed);
        self.failed.store(0, Relaxed);
        self.last_failure.reset();
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").field("is_shared", &self.shared.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tcpshift_common::layout::EndpointSumRow;

    use super::*;

    fn row(count: EndpointCount<'_>) -> EndpointSumRow {
        let [opened, failed, active, since] =
            [count.opened, count.failed, count.active, count.since].map(|word| word.load(Relaxed));
        EndpointSumRow { opened, failed, active, since }
    }

    #[test]
    fn words_are_those_of_the_row() {
        let endpoints = Endpoints::shared(Box::new((0..10).map(AtomicU64::new).collect::<Vec<_>>()));
        assert_eq!(row(endpoints.get(1)), EndpointSumRow { opened: 4, failed: 5, active: 6, since: 7 });
        endpoints.get(1).reset();
        assert_eq!(row(endpoints.get(1)), EndpointSumRow { active: 6, since: 7, ..EndpointSumRow::default() });
        endpoints.get(1).renew(99);
        assert_eq!(row(endpoints.get(1)), EndpointSumRow { active: 6, since: 99, ..EndpointSumRow::default() });
        assert_eq!(row(endpoints.get(0)), EndpointSumRow { opened: 0, failed: 1, active: 2, since: 3 });
    }

    #[test]
    fn beyond_shared_memory_the_agent_counts_alone() {
        let endpoints = Endpoints::shared(Box::new((0..10).map(AtomicU64::new).collect::<Vec<_>>()));
        endpoints.get(2).opened.fetch_add(1, Relaxed);
        endpoints.get(3).active.fetch_add(1, Relaxed);
        assert_eq!(row(endpoints.get(2)), EndpointSumRow { opened: 1, ..EndpointSumRow::default() });
        assert_eq!((endpoints.load(2), endpoints.load(3)), (0, 1));
    }
}
