//! Counters that decisions read, by stable number: in memory of the agent's own, or in memory that kernel programs share.

use std::fmt;
use std::sync::atomic::AtomicU64;

use super::Cells;

/// Memory that others count in too.
pub type Shared = Box<dyn AsRef<[AtomicU64]> + Send + Sync>;

/// Counters by number.
#[derive(Default)]
pub struct Counters {
    own: Cells<Padded>,
    shared: Option<Shared>,
}

/// A cache line of its own, since two workers often count on neighbours.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(AtomicU64);

impl Counters {
    /// Counts in shared memory; a number that it has no room for is counted by the agent alone.
    pub fn shared(shared: Shared) -> Self {
        Self { own: Cells::default(), shared: Some(shared) }
    }

    /// The counter of a number.
    pub fn get(&self, number: u32) -> &AtomicU64 {
        let shared = self.shared.as_ref().and_then(|shared| (**shared).as_ref().get(number as usize));
        shared.unwrap_or_else(|| &self.own.get(number).0)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").field("is_shared", &self.shared.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn beyond_shared_memory_the_agent_counts_alone() {
        let words = Counters::shared(Box::new(vec![AtomicU64::new(7), AtomicU64::new(0)]));
        assert_eq!(words.get(0).fetch_add(1, Relaxed), 7);
        assert_eq!(words.get(1).load(Relaxed), 0);
        assert_eq!(words.get(2).fetch_add(1, Relaxed), 0);
        assert_eq!((words.get(0).load(Relaxed), words.get(2).load(Relaxed)), (8, 1));
    }
}
