//! What is counted of listeners and destinations.
//!
//! Counters only ever grow, but for `active`, which is what lives now. `reset` starts a number that was given to a new
//! name from zero; it leaves `active` alone, since each live connection counts itself out when it ends.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{ConnectionFailure, Ended, LastFailure};

/// Counters of one listener.
#[derive(Debug, Default)]
pub struct ListenerCount {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Of those, connections that no route is for; they were reset.
    pub unrouted: AtomicU64,
}

impl ListenerCount {
    /// Starts from zero.
    pub fn reset(&self) {
        self.accepted.store(0, Relaxed);
        self.unrouted.store(0, Relaxed);
    }
}

/// Counters of one destination. A cache line of its own, since two workers often count on neighbours.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct DestinationCount {
    /// Connections decided for it.
    pub opened: AtomicU64,
    /// How many had been decided for it, steered ones too, when the weights changed last.
    pub baseline: AtomicU64,
    /// Live connections.
    pub active: AtomicU64,
    /// Bytes that clients sent and that were written to its endpoints.
    pub sent: AtomicU64,
    /// Bytes that its endpoints sent and that were written to clients.
    pub received: AtomicU64,
    /// Microseconds that its endpoints took to take connections, all together.
    pub connecting: AtomicU64,
    /// The last connection that could not be served.
    pub last_failure: LastFailure,
    failed: [AtomicU64; ConnectionFailure::COUNT],
    ended: [AtomicU64; Ended::COUNT],
}

impl DestinationCount {
    /// Counts one connection that could not be served.
    pub fn fail(&self, reason: ConnectionFailure) {
        self.failed[reason as usize].fetch_add(1, Relaxed);
        self.last_failure.note(reason);
    }

    /// Connections that could not be served for this reason.
    pub fn failed(&self, reason: ConnectionFailure) -> u64 {
        self.failed[reason as usize].load(Relaxed)
    }

    /// Connections that could not be served, each reason that there was and how often.
    pub fn failures(&self) -> impl Iterator<Item = (ConnectionFailure, u64)> + '_ {
        ConnectionFailure::ALL.into_iter().map(|reason| (reason, self.failed(reason))).filter(|&(_, count)| count > 0)
    }

    /// Counts one connection that the agent ended.
    pub fn end(&self, reason: Ended) {
        self.ended[reason as usize].fetch_add(1, Relaxed);
    }

    /// Connections that the agent ended after they were served, each reason that there was and how often.
    pub fn ended(&self) -> impl Iterator<Item = (Ended, u64)> + '_ {
        let counted = |reason: Ended| (reason, self.ended[reason as usize].load(Relaxed));
        Ended::ALL.into_iter().map(counted).filter(|&(_, count)| count > 0)
    }

    /// Starts from zero, live connections aside.
    pub fn reset(&self) {
        let counters = [&self.opened, &self.baseline, &self.sent, &self.received, &self.connecting];
        for counter in counters.into_iter().chain(&self.failed).chain(&self.ended) {
            counter.store(0, Relaxed);
        }
        self.last_failure.reset();
    }
}
