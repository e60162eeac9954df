//! What a decision asks for beside the plan: counters of the connections room, and random words of the worker.
//!
//! It must not decide anything.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::{decide, hash};

use crate::connections::Connections;

/// Random words of one worker: a counter of odd step, mixed. Good for spreading load, not for secrets.
#[derive(Debug)]
pub(super) struct Random {
    state: Cell<u64>,
}

impl Random {
    /// Seeded by the operating system, by way of the standard library's hash keys.
    pub(super) fn new() -> Self {
        Self { state: Cell::new(RandomState::new().hash_one(0_u64)) }
    }

    fn word(&self) -> u32 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        (hash::mix(state) >> 32) as u32
    }
}

/// The inputs of one decision.
pub(super) struct WorkerInputs<'a> {
    pub(super) connections: &'a Connections,
    pub(super) random: &'a Random,
    /// Number of the route.
    pub(super) route: u32,
}

impl decide::Inputs for WorkerInputs<'_> {
    fn sequence(&mut self) -> u64 {
        self.connections.sequences.get(self.route).fetch_add(1, Relaxed)
    }

    fn turn(&mut self, destination: u32) -> u64 {
        self.connections.turns.get(destination).fetch_add(1, Relaxed)
    }

    fn random(&mut self) -> u32 {
        self.random.word()
    }

    fn load(&self, endpoint: u32) -> u32 {
        self.connections.endpoints.load(endpoint) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_words_are_even() {
        let random = Random::new();
        let ones: u32 = (0..10_000).map(|_| random.word().count_ones()).sum();
        // 320,000 bits: half of them within six standard deviations (283 each).
        assert!((158_300..161_700).contains(&ones), "{ones}");
    }
}
