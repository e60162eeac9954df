//! What is found of the health of endpoints, put in force: an endpoint that takes no connections is left out of its sets, and comes
//! back when it does. Each change is said once.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::App;
use crate::connections::ConnectionFailure;
use crate::health::{DialReport, Verdict};
use crate::plan::sets::states::Event;

/// How often failures are looked for: where programs count them or an endpoint is ejected, and else. Of a failure of a carried
/// connection the loop is told, and looks after [`GATHER`].
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// How long failures are left to gather.
pub(super) const GATHER: Duration = Duration::from_millis(50);

/// Endpoints that are ejected, by number, and why.
pub(super) type Ejections = HashMap<u32, ConnectionFailure>;

impl App {
    /// How long until failures are looked for again.
    pub(super) fn next_look(&self) -> Duration {
        let programs_count = self.assignment.connects().is_ok() || self.assignment.hands_over().is_ok();
        if programs_count || !self.ejections.is_empty() { LOOK.0 } else { LOOK.1 }
    }

    /// Looks for endpoints that connections failed to reach.
    pub(super) fn look_for_failures(&mut self) {
        let now = Instant::now();
        if self.health.follow(&self.planner.memory.states, &self.connections, now) {
            let is_gone = |number: &u32| !self.health.is_ejected(*number);
            if self.ejections.keys().any(is_gone) {
                Arc::make_mut(&mut self.ejections).retain(|number, _| !is_gone(number));
            }
        }
        self.health.look(&self.connections, now);
    }

    /// Nobody listens any more at some endpoints of this host, or somebody does at others.
    pub(super) fn heard(&mut self, last: &BTreeSet<SocketAddr>, silent: &BTreeSet<SocketAddr>) {
        let (gone, back) = (silent - last, last - silent);
        self.health.heard(&gone, &back, Instant::now());
        self.look_for_failures();
    }

    /// Follows what came of dialling endpoints: all that is known by now at once.
    pub(super) async fn dialled(&mut self, first: DialReport) {
        let (now, mut event, mut next) = (Instant::now(), Event::default(), Some(first));
        while let Some(dialled) = next {
            if let Some((endpoint, verdict)) = self.health.judge(&dialled, now) {
                event += self.carry_out(endpoint, &verdict, now);
            }
            next = self.health.dialled_too();
        }
        self.happened(event).await;
    }

    fn carry_out(&mut self, endpoint: u32, verdict: &Verdict, now: Instant) -> Event {
        match verdict {
            Verdict::Eject { reason, failures, is_silent } => {
                if !self.may_eject(endpoint) {
                    return Event::default();
                }
                self.health.ejected(endpoint, now);
                Arc::make_mut(&mut self.ejections).insert(endpoint, *reason);
                let event = self.planner.memory.states.ejected(endpoint, true);
                let why = if *is_silent {
                    "nobody listens there".to_owned()
                } else {
                    format!("{failures} connections to it failed")
                };
                log::warn!("{} is ejected: {why}, and the agent's own failed ({reason})", self.said_of(endpoint));
                event
            }
            Verdict::Return { after } => {
                Arc::make_mut(&mut self.ejections).remove(&endpoint);
                let event = self.planner.memory.states.ejected(endpoint, false);
                log::info!("{} takes connections again, after {:.1} s", self.said_of(endpoint), after.as_secs_f64());
                event
            }
        }
    }

    /// Whether its rule permits it, and no route loses the last of its destinations that has endpoints.
    fn may_eject(&self, endpoint: u32) -> bool {
        let states = &self.planner.memory.states;
        let sets = states.sets();
        if !states.having(endpoint).all(|set| self.health.permits(endpoint, sets, set)) {
            return false;
        }
        let emptied: BTreeSet<u32> =
            states.having(endpoint).filter(|set| sets.get(*set).endpoints.len() == 1).collect();
        let plan = self.plan.borrow();
        emptied.is_empty()
            || plan.routes().all(|route| {
                let all = &route.destinations;
                let is_emptied = all.iter().any(|one| emptied.contains(&one.set));
                let others = || all.iter().filter(|one| one.weight > 0 && !emptied.contains(&one.set));
                !is_emptied || others().any(|one| !sets.of(one).endpoints.is_empty())
            })
    }

    /// Where an endpoint is, of which destination, and how many of its endpoints are used.
    fn said_of(&self, endpoint: u32) -> String {
        let states = &self.planner.memory.states;
        let set = states.having(endpoint).next().map(|set| states.sets().get(set));
        let count = set.map_or(String::new(), |set| {
            format!(" ({} of {} endpoints are used)", set.endpoints.len(), set.all().count())
        });
        match self.health.name(endpoint) {
            Some((address, destination)) => format!("endpoint {address} of {destination}{count}"),
            None => format!("endpoint {endpoint}{count}"),
        }
    }
}
