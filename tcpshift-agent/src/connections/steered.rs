//! What kernel programs count of connections that they steer, by the number of a destination: memory that they share.
//!
//! Other than what the agent counts itself, connections here may outlive the agent. It must not know how they are steered.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::layout::{SUM_WORDS, SumRow};

use super::words::Shared;

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
        let Some([opened, active, failed, refused, closed, sent, received, rtt]) = words else {
            return SumRow::default();
        };
        SumRow { opened, active, failed, refused, closed, sent, received, rtt }
    }

    /// Starts from zero, live connections aside.
    pub fn reset(&self, destination: u32) {
        if let Some([opened, _, failed, refused, closed, sent, received, rtt]) = self.words(destination) {
            for word in [opened, failed, refused, closed, sent, received, rtt] {
                word.store(0, Relaxed);
            }
        }
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
        let steered = Steered::shared(Box::new((0..24).map(AtomicU64::new).collect::<Vec<_>>()));
        let row = SumRow { opened: 8, active: 9, failed: 10, refused: 11, closed: 12, sent: 13, received: 14, rtt: 15 };
        assert_eq!(steered.get(1), row);
        steered.reset(1);
        assert_eq!(steered.get(1), SumRow { active: 9, ..SumRow::default() });
        assert_eq!(steered.get(2).opened, 16);
        assert_eq!(steered.get(3), SumRow::default());
        assert_eq!(Steered::default().get(0), SumRow::default());
    }
}
