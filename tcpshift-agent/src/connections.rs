//! The connections room: who lives now, and what has been counted, by the plan's stable numbers.
//!
//! Workers reach counters without lock or map. A [`Connection`] is the guard of one live connection and closes its
//! record on drop. Each worker has a [`LiveSlab`], in which the guard has a row that others see.

pub mod cells;
pub mod connection;
pub mod counters;
pub mod counts;
pub mod ended;
pub mod endpoints;
pub mod failure;
pub mod kept_decision;
pub mod last_failure;
pub mod live;
pub mod slab;
pub mod steered;
mod waiter;

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use tokio::sync::Notify;

pub use cells::Cells;
pub use connection::{AttemptOutcome, Connection, Direction};
pub use counters::Counters;
pub use counts::{DestinationCount, ListenerCount};
pub use ended::Ended;
pub use endpoints::{EndpointCount, Endpoints};
pub use failure::ConnectionFailure;
pub use kept_decision::KeptDecision;
pub use last_failure::LastFailure;
pub use live::{LiveConnection, LiveFilter, LiveStage};
pub use slab::{LiveRow, LiveSlab};
pub use steered::Steered;
pub(crate) use waiter::Waiter;

/// Everything that is counted, for the life of the process.
#[derive(Debug, Default)]
pub struct Connections {
    /// By number of the listener.
    pub listeners: Cells<ListenerCount>,
    /// Numbers of its sequence given out, by number of the route.
    pub sequences: Counters,
    /// Turns of its `ROUND_ROBIN` given out, by number of the destination.
    pub turns: Counters,
    /// Connections that are carried now, by number of the host's subset and port: what a limit of connections is for.
    pub targets: Counters,
    /// What kernel programs count of connections that they steer.
    pub steered: Steered,
    /// By number of the destination.
    pub destinations: Cells<DestinationCount>,
    /// By number of the endpoint: carried connections, and steered ones if programs share the counters.
    pub endpoints: Endpoints,
    /// Connections that went as a kernel program had decided.
    pub obeyed: AtomicU64,
    /// Connections that the agent decided for, though programs decide.
    pub decided: AtomicU64,
    /// Times that nothing could be accepted for want of descriptors or memory.
    pub accept_exhausted: AtomicU64,
    /// Connections that were refused since those that are open hold all the memory that they may.
    pub out_of_memory: AtomicU64,
    /// Connections that were gone or broken when they were accepted.
    pub accept_failed: AtomicU64,
    live: AtomicU64,
    ended: Notify,
    /// Told when an endpoint did not take a carried connection.
    pub untaken: Notify,
}

impl Connections {
    /// With counters that kernel programs share: sequences, turns, those of endpoints, and what they count of what they steer.
    pub fn sharing([sequences, turns, endpoints, sums]: [counters::Shared; 4]) -> Self {
        let [sequences, turns] = [sequences, turns].map(Counters::shared);
        let (endpoints, steered) = (Endpoints::shared(endpoints), Steered::shared(sums));
        Self { sequences, turns, steered, endpoints, ..Self::default() }
    }

    /// Connections that the agent carries now.
    pub fn active(&self) -> u64 {
        self.live.load(SeqCst)
    }

    /// Connections decided for a destination, by the agent or by kernel programs.
    pub fn opened(&self, destination: u32) -> u64 {
        self.destinations.get(destination).opened.load(Relaxed) + self.steered_to(destination)
    }

    /// Of those, decided by kernel programs that steer: the agent never saw them.
    pub fn steered_to(&self, destination: u32) -> u64 {
        let steered = self.steered.get(destination);
        steered.opened + steered.refused
    }

    /// Of those, decided since the weights changed last.
    pub fn opened_since_mark(&self, destination: u32) -> u64 {
        self.opened(destination).saturating_sub(self.destinations.get(destination).baseline.load(Relaxed))
    }

    /// Counts from here on towards the share that a destination achieves: the weights changed.
    pub fn mark(&self, destination: u32) {
        self.destinations.get(destination).baseline.store(self.opened(destination), Relaxed);
    }

    /// Live connections of a destination.
    pub fn active_of(&self, destination: u32) -> u64 {
        self.destinations.get(destination).active.load(Relaxed) + self.steered.get(destination).active
    }

    /// Starts the counters of a destination from zero, live connections aside. Its number is new in a generation.
    pub fn reset_destination(&self, destination: u32, generation: u64) {
        self.destinations.get(destination).reset();
        self.steered.reset(destination, generation);
    }

    /// Waits until no connection lives. New ones may begin at any time: close the listeners first.
    pub async fn ended(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Listen before looking, so that an end between the two is not missed.
            ended.as_mut().enable();
            if self.active() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Trouble that is no single route's: in words, and how often. None that never happened.
    pub fn troubles(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("accept stopped for want of descriptors or memory", self.accept_exhausted.load(Relaxed)),
            ("connection refused for want of memory (--max-memory)", self.out_of_memory.load(Relaxed)),
            ("connection broken before it was accepted", self.accept_failed.load(Relaxed)),
        ]
        .into_iter()
        .filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn open(connections: &Arc<Connections>) -> Connection {
        LiveSlab::new(Arc::clone(connections)).open(DECIDED, ([192, 0, 2, 1], 1000).into())
    }

    const DECIDED: KeptDecision = KeptDecision { generation: 1, listener: 0, route: 1, destination: 2, slot: 3 };

    #[test]
    fn a_guard_counts_in_and_out() {
        let connections = Arc::new(Connections::default());
        let connection = open(&connections);
        let destination = connections.destinations.get(2);
        assert_eq!((connections.active(), destination.active.load(Relaxed)), (1, 1));

        connection.attach(7);
        connection.attempted(AttemptOutcome::Failed(ConnectionFailure::ConnectRefused));
        let endpoint = |number| {
            let count = connections.endpoints.get(number);
            [count.opened, count.failed, count.active].map(|counter| counter.load(Relaxed))
        };
        assert_eq!(endpoint(7), [1, 1, 0]);
        connection.attach(8);
        assert_eq!(endpoint(8), [1, 0, 1]);
        connection.fail(ConnectionFailure::NoPorts);
        drop(connection);

        assert_eq!((connections.active(), destination.active.load(Relaxed)), (0, 0));
        assert_eq!((endpoint(7), endpoint(8)), ([1, 1, 0], [1, 0, 0]));
        let last = |failure: &LastFailure| failure.get().map(|(_, reason)| reason);
        assert_eq!(last(connections.endpoints.get(7).last_failure), Some(ConnectionFailure::ConnectRefused));
        assert_eq!(last(connections.endpoints.get(8).last_failure), None);
        assert_eq!(last(&destination.last_failure), Some(ConnectionFailure::NoPorts));
        assert_eq!(destination.failures().collect::<Vec<_>>(), [(ConnectionFailure::NoPorts, 1)]);
    }

    #[test]
    fn a_reset_keeps_who_lives() {
        let connections = Arc::new(Connections::default());
        let connection = open(&connections);
        let destination = connections.destinations.get(2);
        destination.reset();
        assert_eq!((destination.opened.load(Relaxed), destination.active.load(Relaxed)), (0, 1));
        drop(connection);
        assert_eq!(destination.active.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn the_end_of_the_last_is_seen() {
        let connections = Arc::new(Connections::default());
        connections.ended().await;
        let guards: Vec<_> = (0..10).map(|_| open(&connections)).collect();
        let waiter = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.ended().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(guards);
        tokio::time::timeout(Duration::from_secs(5), waiter).await.unwrap().unwrap();
    }
}
