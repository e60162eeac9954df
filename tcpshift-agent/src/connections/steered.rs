//! What kernel programs count of connections that they steer, by the number of a destination: memory that they share.
//!
//! Other than what the agent counts itself, connections here may outlive the agent.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::layout::{SUM_WORDS, SumRow};

use super::counters::Shared;

/// The counters of all destinations; of none if no program steers.
#[derive(Default)]
pub struct Steered {
    shared: Option<Shared>,
}

impl Steered {
    /// Counters in shared memory.
    pub(super) fn shared(shared: Shared) -> Self {
        Self { shared: Some(shared) }
    }

    /// What has been counted of a destination.
    pub fn get(&self, destination: u32) -> SumRow {
        let words = self.words(destination).map(|words| words.each_ref().map(|word| word.load(Relaxed)));
        let Some([opened, active, failed, refused, closed, sent, received, rtt, since]) = words else {
            return SumRow::default();
        };
        SumRow { opened, active, failed, refused, closed, sent, received, rtt, since }
    }

    /// Starts the sums of a destination from zero, except for its live connections. `generation` is the first one in which the
    /// number is this destination's: connections that were decided for the destination that had the number before, and are
    /// not established yet, are not counted.
    pub fn reset(&self, destination: u32, generation: u64) {
        if let Some([opened, _, failed, refused, closed, sent, received, rtt, since]) = self.words(destination) {
            since.store(generation, Relaxed);
            for word in [opened, failed, refused, closed, sent, received, rtt] {
                word.store(0, Relaxed);
            }
        }
    }

    /// Adds what another agent's programs counted: live connections aside. False if no program steers here.
    pub fn add(&self, destination: u32, counted: &SumRow) -> bool {
        let Some([opened, _, failed, refused, closed, sent, received, rtt, _]) = self.words(destination) else {
            return false;
        };
        opened.fetch_add(counted.opened, Relaxed);
        failed.fetch_add(counted.failed, Relaxed);
        refused.fetch_add(counted.refused, Relaxed);
        // Sums before their divisor: a mean read in between is too large at most once.
        sent.fetch_add(counted.sent, Relaxed);
        received.fetch_add(counted.received, Relaxed);
        rtt.fetch_add(counted.rtt, Relaxed);
        closed.fetch_add(counted.closed, Relaxed);
        true
    }

    /// In the order of a [`SumRow`].
    fn words(&self, destination: u32) -> Option<&[std::sync::atomic::AtomicU64; SUM_WORDS as usize]> {
        let first = destination as usize * SUM_WORDS as usize;
        let words = (**self.shared.as_ref()?).as_ref();
        words.get(first..first + SUM_WORDS as usize)?.try_into().ok()
    }
}

impl fmt::Debug for Steered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steered").field("is_shared", &self.shared.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn words_are_those_of_the_row() {
        let steered = Steered::shared(Box::new((0..27).map(AtomicU64::new).collect::<Vec<_>>()));
        let [opened, active, failed, refused, closed, sent, received, rtt, since] = [9, 10, 11, 12, 13, 14, 15, 16, 17];
        let row = SumRow { opened, active, failed, refused, closed, sent, received, rtt, since };
        assert_eq!(steered.get(1), row);
        steered.reset(1, 5);
        assert_eq!(steered.get(1), SumRow { active: 10, since: 5, ..SumRow::default() });
        assert_eq!(steered.get(2).opened, 18);
        assert!(steered.add(1, &SumRow { opened: 3, closed: 1, rtt: 40, active: 9, since: 9, ..SumRow::default() }));
        assert_eq!(steered.get(1), SumRow { opened: 3, closed: 1, rtt: 40, active: 10, since: 5, ..SumRow::default() });
        assert!(!Steered::default().add(0, &row));
        assert_eq!(steered.get(3), SumRow::default());
        assert_eq!(Steered::default().get(0), SumRow::default());
    }
}
