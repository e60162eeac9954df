//! What counters alone do not say: how fast they grow, and when something failed last that only the kernel saw.
//!
//! One owner looks once a second. A look goes through the plan and touches what has grown. What did not grow for a minute keeps
//! its last counts alone, so memory is bounded by the numbers that there are.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime};

use super::trail::{Looks, Rates, Trail};
use super::{DatedFailure, FailureCause};
use crate::connections::Connections;
use crate::plan::{Destination, Plan, Sets};

/// Looks between two searches for trails that are over.
const TIDY: u64 = 60;

/// What was seen at each look.
#[derive(Debug, Default)]
pub struct History {
    looks: Looks,
    /// When the last look was.
    looked: Option<Instant>,
    /// When it was, by the clock that failures are dated by.
    looked_at: Option<SystemTime>,
    /// By number.
    destinations: Vec<Seen>,
    /// By number.
    endpoints: Vec<Seen>,
}

/// What was seen of a number.
#[derive(Debug, Default)]
struct Seen {
    /// Whose number it is: differs for another owner.
    owner: u64,
    /// New connections and failures, at the last look.
    last: [u64; 2],
    /// Those refused and those never established, of connections that programs steer.
    steered: [u64; 2],
    /// The last failure that was found by its count alone.
    found: Option<DatedFailure>,
    /// If it has grown in the last minute.
    trail: Option<Box<Trail>>,
}

impl History {
    /// Looks at what a plan and its sets name.
    pub fn look(&mut self, plan: &Plan, sets: &Sets, connections: &Connections) {
        self.look_at(Instant::now(), plan, sets, connections);
    }

    fn look_at(&mut self, now: Instant, plan: &Plan, sets: &Sets, connections: &Connections) {
        let before = self.looked_at.replace(SystemTime::now());
        // The first look finds out where counts are: nothing has grown yet.
        let look = match self.looked.replace(now) {
            Some(last) => Some(self.looks.next(now.saturating_duration_since(last).as_secs_f64())),
            None => None,
        };
        let mut seen = BTreeSet::new();
        for destination in plan.routes().flat_map(|route| &route.destinations) {
            self.destination(look, destination, connections);
            // Many destinations may have one set.
            if seen.insert(destination.set) {
                for endpoint in sets.of(destination).all() {
                    self.endpoint(look, before, endpoint.decides.number, connections);
                }
            }
        }
        if let Some(look) = look.filter(|look| look.is_multiple_of(TIDY)) {
            for seen in self.destinations.iter_mut().chain(&mut self.endpoints) {
                seen.trail.take_if(|trail| trail.is_over(look));
            }
        }
    }

    fn destination(&mut self, look: Option<u64>, destination: &Destination, connections: &Connections) {
        let number = destination.number;
        let (count, steered) = (connections.destinations.get(number), connections.steered.get(number));
        let owner = count.resets.load(Relaxed);
        let unserved = [steered.refused, steered.failed];
        let failed = count.failures().map(|(_, count)| count).sum::<u64>() + unserved.iter().sum::<u64>();
        let seen = seen(&mut self.destinations, number, owner);
        if look.is_some() {
            let cause = match (steered.refused > seen.steered[0], steered.failed > seen.steered[1]) {
                (_, true) => Some(FailureCause::NotEstablished),
                (true, false) => Some(FailureCause::Refused),
                (false, false) => None,
            };
            seen.found = cause.map(DatedFailure::now).or(seen.found);
        }
        seen.steered = unserved;
        seen.grow(look, [connections.opened(number), failed]);
    }

    fn endpoint(&mut self, look: Option<u64>, before: Option<SystemTime>, number: u32, connections: &Connections) {
        let count = connections.endpoints.get(number);
        let [failed, opened] = [count.failed, count.opened].map(|word| word.load(Relaxed));
        let seen = seen(&mut self.endpoints, number, count.since());
        // The agent notes what it counts itself.
        let is_noted =
            || DatedFailure::noted(count.last_failure).is_some_and(|noted| before.is_none_or(|at| noted.at >= at));
        if look.is_some() && failed > seen.last[1] && !is_noted() {
            seen.found = Some(DatedFailure::now(FailureCause::NotEstablished));
        }
        seen.grow(look, [opened, failed]);
    }

    /// Rates of a destination.
    pub fn rates_of_destination(&self, number: u32) -> Rates {
        self.rates(&self.destinations, number)
    }

    /// Rates of an endpoint.
    pub fn rates_of_endpoint(&self, number: u32) -> Rates {
        self.rates(&self.endpoints, number)
    }

    fn rates(&self, all: &[Seen], number: u32) -> Rates {
        let trail = all.get(number as usize).and_then(|seen| seen.trail.as_deref());
        trail.map_or_else(Rates::default, |trail| trail.rates(&self.looks))
    }

    /// The last connection to a destination that was not served.
    pub fn last_failure_of_destination(&self, number: u32, connections: &Connections) -> Option<DatedFailure> {
        let noted = DatedFailure::noted(&connections.destinations.get(number).last_failure);
        noted.max(self.destinations.get(number as usize).and_then(|seen| seen.found))
    }

    /// The last connection that an endpoint did not take.
    pub fn last_failure_of_endpoint(&self, number: u32, connections: &Connections) -> Option<DatedFailure> {
        let noted = DatedFailure::noted(connections.endpoints.get(number).last_failure);
        noted.max(self.endpoints.get(number as usize).and_then(|seen| seen.found))
    }
}

/// What was seen of a number of this owner's.
fn seen(all: &mut Vec<Seen>, number: u32, owner: u64) -> &mut Seen {
    let index = number as usize;
    if all.len() <= index {
        all.resize_with(index + 1, Seen::default);
    }
    let seen = &mut all[index];
    if seen.owner != owner {
        *seen = Seen { owner, ..Seen::default() };
    }
    seen
}

impl Seen {
    fn grow(&mut self, look: Option<u64>, now: [u64; 2]) {
        let last = std::mem::replace(&mut self.last, now);
        if let Some(look) = look.filter(|_| now != last) {
            // What is below what it was has begun from zero.
            let grown = |at: usize| now[at].checked_sub(last[at]).unwrap_or(now[at]);
            self.trail.get_or_insert_default().add(look, [grown(0), grown(1)]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these rates are exact")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use tcpshift_common::layout::{ENDPOINT_SUM_WORDS, SUM_WORDS, SumRow};

    use super::*;
    use crate::connections::{ConnectionFailure, KeptDecision, LiveSlab};
    use crate::observe::example::{ONE, TWO, plan};

    const DECIDED: KeptDecision = KeptDecision { generation: 1, listener: 0, route: 0, destination: ONE, slot: 0 };

    const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 1], 1000);

    struct World {
        connections: Arc<Connections>,
        slab: std::rc::Rc<LiveSlab>,
        history: History,
        now: Instant,
    }

    impl World {
        /// What programs count is shared with them.
        fn new() -> Self {
            let words = |count: u32| Box::new((0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
            let shared = [words(8), words(8), words(8 * ENDPOINT_SUM_WORDS), words(8 * SUM_WORDS)];
            let connections = Arc::new(Connections::sharing(shared.map(|words| words as _)));
            Self {
                slab: LiveSlab::new(Arc::clone(&connections)),
                connections,
                history: History::default(),
                now: Instant::now(),
            }
        }

        fn look(&mut self) {
            let (plan, sets) = plan();
            self.history.look_at(self.now, &plan, &sets, &self.connections);
            self.now += Duration::from_secs(1);
        }

        fn open(&self, count: usize) {
            for _ in 0..count {
                self.slab.open(DECIDED, CLIENT.into()).attach(5);
            }
        }
    }

    #[test]
    fn the_first_look_is_no_burst() {
        let mut world = World::new();
        world.open(1_000);
        world.look();
        assert_eq!(world.history.rates_of_destination(ONE), Rates::default());
        world.open(6);
        world.look();
        world.look();
        let rates = world.history.rates_of_destination(ONE);
        assert_eq!((rates.opened, rates.failed), ([0.0, 3.0, 3.0], [0.0; 3]));
        assert_eq!(world.history.rates_of_endpoint(5).opened, [0.0, 3.0, 3.0]);
        assert_eq!(world.history.rates_of_destination(TWO), Rates::default());
    }

    #[test]
    fn failures_of_both_kinds_are_dated() {
        let mut world = World::new();
        world.look();
        let connection = world.slab.open(DECIDED, CLIENT.into());
        connection.fail(ConnectionFailure::ConnectTimeout);
        drop(connection);
        world.look();
        let last = |world: &World, number| {
            world.history.last_failure_of_destination(number, &world.connections).map(|last| last.cause)
        };
        assert_eq!(last(&world, ONE), Some(FailureCause::Carried(ConnectionFailure::ConnectTimeout)));
        assert_eq!(last(&world, TWO), None);
        let refused = SumRow { refused: 2, ..SumRow::default() };
        assert!(world.connections.steered.add(TWO, &refused));
        world.look();
        assert_eq!(last(&world, TWO), Some(FailureCause::Refused));
        assert_eq!(world.history.rates_of_destination(TWO).failed[0], 2.0);

        let endpoint =
            |world: &World| world.history.last_failure_of_endpoint(5, &world.connections).map(|last| last.cause);
        assert_eq!(endpoint(&world), None);
        world.connections.endpoints.get(5).failed.fetch_add(1, Relaxed);
        world.look();
        assert_eq!(endpoint(&world), Some(FailureCause::NotEstablished));
    }

    #[test]
    fn another_owner_of_a_number_begins_with_nothing() {
        let mut world = World::new();
        world.look();
        world.open(100);
        world.connections.steered.add(ONE, &SumRow { refused: 2, ..SumRow::default() });
        world.look();
        world.connections.reset_destination(ONE, 2);
        world.connections.endpoints.get(5).renew(77);
        world.open(300);
        world.look();
        assert_eq!(world.history.rates_of_destination(ONE).opened[..2], [300.0, 300.0 / 2.0]);
        assert_eq!(world.history.last_failure_of_destination(ONE, &world.connections), None);
    }

    #[test]
    fn what_is_over_is_given_back() {
        let mut world = World::new();
        world.look();
        world.open(1);
        (0..=2 * TIDY).for_each(|_| world.look());
        assert!(world.history.destinations[ONE as usize].trail.is_none());
        world.open(2);
        world.look();
        assert_eq!(world.history.rates_of_destination(ONE).opened[0], 2.0);
    }
}
