//! One look at all that an agent does: the plan and the states of endpoints, with what is counted of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::layout::SumRow;

use super::{Before, DatedFailure, FailureCause, History, Rates};
use crate::connections::{Connections, Ended};
use crate::plan::{Destination, Plan, Route, Sets};

/// What was in force, and what had become of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// The endpoint sets in force.
    pub sets: Arc<Sets>,
    listeners: Numbered<ListenerSample>,
    destinations: Numbered<DestinationSample>,
    endpoints: Numbered<EndpointSample>,
    /// Connections that went as a kernel program had decided.
    pub obeyed: u64,
    /// Connections that the agent decided for, though programs decide.
    pub decided: u64,
    /// Connections that programs steered or refused, of the destinations of the plan.
    pub steered: u64,
    /// Live connections of destinations that the plan does not name any more.
    pub retired_active: u64,
    /// Trouble that is no single route's, and how often.
    pub troubles: Vec<(&'static str, u64)>,
    /// The agent before this one, while it carries connections.
    pub before: Option<Arc<Before>>,
}

/// A listener.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListenerSample {
    /// Connections that no rule fits.
    pub unrouted: u64,
}

/// A destination.
#[derive(Clone, Debug, Default)]
pub struct DestinationSample {
    /// Connections decided for it.
    pub opened: u64,
    /// Of those, since the weights changed last.
    pub opened_since_change: u64,
    /// Live ones.
    pub active: u64,
    /// Those that could not be served, each cause that there was and how often.
    pub failures: Vec<(FailureCause, u64)>,
    /// Those that were served and the agent ended, each reason that there was and how often.
    pub ended: Vec<(Ended, u64)>,
    /// What programs count.
    pub steered: SumRow,
    /// Connections that are carried to its host's subset and port, of all routes.
    pub target_active: u64,
    /// Bytes that clients sent and that they received: of carried connections as they pass, of steered ones once they are closed.
    pub bytes: [u64; 2],
    /// How fast its counts grow.
    pub rates: Rates,
    /// The last one that could not be served.
    pub last_failure: Option<DatedFailure>,
    /// Connections that the agent before this one still carries there.
    pub before: u64,
}

/// An endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointSample {
    /// Connections begun to it.
    pub opened: u64,
    /// Those of them that it did not take.
    pub failed: u64,
    /// Those being opened or open.
    pub active: u64,
    /// How fast its counts grow.
    pub rates: Rates,
    /// The last one that it did not take.
    pub last_failure: Option<DatedFailure>,
}

/// Values by stable number.
#[derive(Clone, Debug)]
struct Numbered<T>(Vec<Option<T>>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone + Default> Numbered<T> {
    /// Makes the value of a number, unless it is there.
    fn make(&mut self, number: u32, make: impl FnOnce() -> T) {
        let index = number as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index].get_or_insert_with(make);
    }

    fn get(&self, number: u32) -> T {
        self.0.get(number as usize).cloned().flatten().unwrap_or_default()
    }
}

impl Sample {
    /// Reads everything that a plan and its sets name. `retired` are destinations that are gone and may have connections.
    pub fn take(
        (plan, sets): (&Arc<Plan>, &Arc<Sets>),
        retired: &[u32],
        connections: &Connections,
        history: &History,
        before: Option<Arc<Before>>,
    ) -> Self {
        let mut sample = Self {
            plan: Arc::clone(plan),
            sets: Arc::clone(sets),
            listeners: Numbered::default(),
            destinations: Numbered::default(),
            endpoints: Numbered::default(),
            obeyed: connections.obeyed.load(Relaxed),
            decided: connections.decided.load(Relaxed),
            steered: 0,
            retired_active: retired.iter().map(|number| connections.active_of(*number)).sum(),
            troubles: connections.troubles().collect(),
            before,
        };
        for listener in &plan.listeners {
            let count = connections.listeners.get(listener.number);
            let unrouted = count.unrouted.load(Relaxed);
            sample.listeners.make(listener.number, || ListenerSample { unrouted });
        }
        let mut seen = BTreeSet::new();
        for destination in plan.routes().flat_map(|route| &route.destinations) {
            let before = sample.before.as_ref();
            let before = before.and_then(|before| before.destinations.get(&destination.number)).copied();
            let Self { destinations, endpoints, .. } = &mut sample;
            let take = || of_destination(destination, connections, history, before.unwrap_or_default());
            destinations.make(destination.number, take);
            // Many destinations may have one set.
            if seen.insert(destination.set) {
                for endpoint in sets.of(destination).all() {
                    let number = endpoint.decides.number;
                    endpoints.make(number, || of_endpoint(number, connections, history));
                }
            }
        }
        let steered = |destination: &DestinationSample| destination.steered.opened + destination.steered.refused;
        sample.steered = sample.destinations.0.iter().flatten().map(steered).sum();
        sample
    }

    /// A listener by its number.
    pub fn listener(&self, number: u32) -> ListenerSample {
        self.listeners.get(number)
    }

    /// A destination by its number.
    pub fn destination(&self, number: u32) -> DestinationSample {
        self.destinations.get(number)
    }

    /// An endpoint by its number.
    pub fn endpoint(&self, number: u32) -> EndpointSample {
        self.endpoints.get(number)
    }

    /// Connections of a route since its weights changed last.
    pub fn opened_since_change(&self, route: &Route) -> u64 {
        route.destinations.iter().map(|one| self.destination(one.number).opened_since_change).sum()
    }
}

impl DestinationSample {
    /// Connections that could not be served.
    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|(_, count)| count).sum()
    }
}

fn of_destination(
    destination: &Destination,
    connections: &Connections,
    history: &History,
    before: u64,
) -> DestinationSample {
    let number = destination.number;
    let (count, steered) = (connections.destinations.get(number), connections.steered.get(number));
    // In the order in which they grow, read the other way round: no connection has failed that was not opened.
    let carried = count.failures().map(|(reason, count)| (FailureCause::Carried(reason), count));
    let unserved = [(FailureCause::Refused, steered.refused), (FailureCause::NotEstablished, steered.failed)];
    let failures = carried.chain(unserved.into_iter().filter(|(_, count)| *count > 0)).collect();
    let ended = count.ended().collect();
    let active = count.active.load(Relaxed) + steered.active;
    let opened = count.opened.load(Relaxed) + steered.opened + steered.refused;
    DestinationSample {
        opened,
        opened_since_change: opened.saturating_sub(count.baseline.load(Relaxed)),
        active,
        failures,
        ended,
        steered,
        target_active: connections.targets.get(destination.target).load(Relaxed),
        bytes: [
            count.sent.load(Relaxed).saturating_add(steered.sent),
            count.received.load(Relaxed).saturating_add(steered.received),
        ],
        rates: history.rates_of_destination(number),
        last_failure: history.last_failure_of_destination(number, connections),
        before,
    }
}

fn of_endpoint(number: u32, connections: &Connections, history: &History) -> EndpointSample {
    let count = connections.endpoints.get(number);
    let [active, failed, opened] = [count.active, count.failed, count.opened].map(|counter| counter.load(Relaxed));
    EndpointSample {
        opened,
        failed,
        active,
        rates: history.rates_of_endpoint(number),
        last_failure: history.last_failure_of_endpoint(number, connections),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::{AttemptOutcome, ConnectionFailure, Direction, KeptDecision, LiveSlab};
    use crate::observe::example::{ONE, TWO, plan};

    #[test]
    fn what_is_counted_is_in_a_sample_by_destination_and_endpoint() {
        let connections = Arc::new(Connections::default());
        let slab = LiveSlab::new(Arc::clone(&connections));
        let client = ([192, 0, 2, 1], 1000);
        let decided = |destination| KeptDecision { generation: 1, listener: 0, route: 0, destination, slot: 0 };
        let held = slab.open(decided(ONE), client.into());
        held.attach(5);
        let failed = slab.open(decided(ONE), client.into());
        failed.attach(5);
        failed.attempted(AttemptOutcome::Failed(ConnectionFailure::ConnectRefused));
        failed.fail(ConnectionFailure::ConnectRefused);
        drop(failed);
        let elsewhere = slab.open(decided(7), client.into());
        held.moved(Direction::Forth, 100);
        held.moved(Direction::Back, 7);
        let (plan, sets) = plan();
        let mut before = Before::default();
        before.told(4, [(ONE, 3), (TWO, 0)]);
        let before = Some(Arc::new(before));
        let sample = Sample::take((&plan, &sets), &[7], &connections, &History::default(), before);
        let one = sample.destination(ONE);
        assert_eq!((one.opened, one.active, one.failed(), one.before, one.bytes), (2, 1, 1, 3, [100, 7]));
        assert_eq!(one.last_failure.unwrap().cause, FailureCause::Carried(ConnectionFailure::ConnectRefused));
        let endpoint = sample.endpoint(5);
        assert_eq!((endpoint.opened, endpoint.active, endpoint.failed), (2, 1, 1));
        assert!(endpoint.last_failure.is_some() && sample.endpoint(99).last_failure.is_none());
        assert_eq!((sample.destination(TWO).opened, sample.destination(TWO).before), (0, 0));
        assert_eq!(sample.opened_since_change(&plan.listeners[0].routes[0]), 2);
        assert_eq!(sample.retired_active, 1);
        drop((held, elsewhere));
    }
}
