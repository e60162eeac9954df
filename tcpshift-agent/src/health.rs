//! Health: which endpoints take no connections, found by those that failed, and confirmed by the agent's own.
//!
//! A failure that a connection met only raises suspicion, since a client may have caused it: the agent dials the endpoint
//! itself before it ejects it, and again before it lets it back. Nobody is dialled whom nobody failed to reach. Whoever owns a
//! [`Health`] looks often, and carries out what it finds.

mod dial;
mod rule;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::connections::{ConnectionFailure, Connections};
use crate::plan::sets::States;
use crate::plan::{EndpointAddress, Sets};
use rule::Rule;

/// Dials at once.
const MOST: usize = 64;
/// Who has been well for so long is ejected as for the first time.
const FORGIVEN: Duration = Duration::from_mins(5);
/// How long the agent waits for an endpoint, however long a connection would.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the endpoints of a plan.
#[derive(Debug)]
pub struct Health {
    endpoints: HashMap<u32, EndpointHealth>,
    /// When what is known of them was looked at, as [`States::now`] counts.
    followed: Option<u64>,
    /// How many are being dialled.
    dialling: usize,
    told: mpsc::UnboundedSender<DialReport>,
    dialled: mpsc::UnboundedReceiver<DialReport>,
}

/// One endpoint.
#[derive(Debug)]
struct EndpointHealth {
    address: EndpointAddress,
    /// The first destination that has it.
    destination: String,
    rule: Rule,
    patience: Duration,
    /// Connections that had failed when it was looked at last.
    failed: u64,
    /// Those that failed since somebody was seen to connect.
    failures: u32,
    /// When the last of them was seen.
    last: Instant,
    /// Whether nobody was seen to listen there since then.
    is_silent: bool,
    /// How often in a row it was ejected.
    times: u32,
    /// When it took connections again.
    returned: Option<Instant>,
    is_dialled: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Used,
    Ejected {
        since: Instant,
        /// When it is dialled next.
        again: Instant,
    },
}

/// What came of dialling an endpoint; none if this host could not.
#[derive(Debug)]
pub struct DialReport {
    endpoint: u32,
    outcome: Option<Result<(), ConnectionFailure>>,
}

/// What is to be done about an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes no connections, and is to be ejected.
    Eject {
        /// Why the agent's own connection failed.
        reason: ConnectionFailure,
        /// How many others did.
        failures: u32,
        /// Whether nobody was seen to listen there.
        is_silent: bool,
    },
    /// It takes connections again after so long.
    Return {
        /// How long it was ejected.
        after: Duration,
    },
}

impl Default for Health {
    fn default() -> Self {
        let (told, dialled) = mpsc::unbounded_channel();
        Self { endpoints: HashMap::new(), followed: None, dialling: 0, told, dialled }
    }
}

impl Health {
    /// Follows what is in force: endpoints that are there no more are forgotten, and those that are there are ejected if their sets
    /// say so. Returns whether anything is different.
    pub fn follow(&mut self, states: &States, connections: &Connections, now: Instant) -> bool {
        // Not the version of the sets: another rule makes no other set.
        if self.followed == Some(states.now()) {
            return false;
        }
        self.followed = Some(states.now());
        let mut last = std::mem::take(&mut self.endpoints);
        for (backend, set) in states.known() {
            let rule = Rule::of(backend.ejection.as_ref());
            for endpoint in set.all() {
                let number = endpoint.decides.number;
                if self.endpoints.contains_key(&number) {
                    continue;
                }
                let known = last.remove(&number).filter(|known| known.address == endpoint.address);
                let patience = backend.settings.connect_timeout.min(PATIENCE);
                let known = match known {
                    Some(known) => {
                        let state = if states.is_ejected(number) { known.state } else { State::Used };
                        EndpointHealth { rule, patience, state, ..known }
                    }
                    None => EndpointHealth {
                        address: endpoint.address.clone(),
                        destination: backend.name.clone(),
                        rule,
                        patience,
                        failed: connections.endpoints.get(number).failed.load(Relaxed),
                        failures: 0,
                        last: now,
                        is_silent: false,
                        times: 0,
                        returned: None,
                        is_dialled: false,
                        state: State::Used,
                    },
                };
                self.endpoints.insert(number, known);
            }
        }
        true
    }

    /// Somebody came to listen at addresses of this host, or nobody does any more: that raises suspicion, or hope.
    pub fn heard(&mut self, silent: &BTreeSet<SocketAddr>, listening: &BTreeSet<SocketAddr>, now: Instant) {
        for known in self.endpoints.values_mut() {
            let EndpointAddress::Tcp(address) = &known.address else { continue };
            match &mut known.state {
                State::Used if silent.contains(address) => known.is_silent = true,
                State::Ejected { again, .. } if listening.contains(address) => *again = now,
                _ => {}
            }
        }
    }

    /// Looks whose connections have failed, and begins to dial those who are suspect, and those whose ejection is over. Must be
    /// called within a runtime.
    pub fn look(&mut self, connections: &Connections, now: Instant) {
        let Self { endpoints, dialling, told, .. } = self;
        for (&number, known) in endpoints {
            let failed = connections.endpoints.get(number).failed.load(Relaxed);
            // Less than before: they were counted anew.
            let more = failed.checked_sub(known.failed).unwrap_or(failed);
            known.failed = failed;
            if known.is_due(more, now) && *dialling < MOST && !known.is_dialled {
                known.is_dialled = true;
                *dialling += 1;
                let (address, patience, told) = (known.address.clone(), known.patience, told.clone());
                tokio::spawn(async move {
                    let outcome = dial::dial(&address, patience).await;
                    // Who asked may be gone.
                    told.send(DialReport { endpoint: number, outcome }).ok();
                });
            }
        }
    }

    /// Waits for the outcome of a dial.
    pub async fn dialled(&mut self) -> DialReport {
        match self.dialled.recv().await {
            Some(dialled) => dialled,
            // It holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Another outcome that is there already.
    pub fn dialled_too(&mut self) -> Option<DialReport> {
        self.dialled.try_recv().ok()
    }

    /// What is to be done after a dial; none if nothing changes.
    pub fn judge(&mut self, DialReport { endpoint, outcome }: &DialReport, now: Instant) -> Option<(u32, Verdict)> {
        self.dialling -= 1;
        let known = self.endpoints.get_mut(endpoint)?;
        known.is_dialled = false;
        let verdict = known.judge((*outcome)?, now)?;
        Some((*endpoint, verdict))
    }

    /// It is ejected.
    pub fn ejected(&mut self, endpoint: u32, now: Instant) {
        if let Some(known) = self.endpoints.get_mut(&endpoint) {
            known.eject(now);
        }
    }

    /// Whether the rule of an endpoint permits to eject it beside those of its set that are.
    pub fn permits(&self, endpoint: u32, sets: &Sets, set: u32) -> bool {
        let set = sets.get(set);
        self.endpoints.get(&endpoint).is_some_and(|known| known.rule.permits(set.ejected.len(), set.all().count()))
    }

    /// Where an endpoint is, and of which destination.
    pub fn name(&self, endpoint: u32) -> Option<(&EndpointAddress, &str)> {
        self.endpoints.get(&endpoint).map(|known| (&known.address, &*known.destination))
    }

    /// Whether an endpoint is ejected.
    pub fn is_ejected(&self, endpoint: u32) -> bool {
        self.endpoints.get(&endpoint).is_some_and(|known| matches!(known.state, State::Ejected { .. }))
    }
}

impl EndpointHealth {
    /// Takes note of connections that failed; whether it is to be dialled.
    fn is_due(&mut self, more: u64, now: Instant) -> bool {
        match self.state {
            State::Ejected { again, .. } => again <= now,
            State::Used => {
                if more > 0 {
                    if now.saturating_duration_since(self.last) > self.rule.within {
                        self.failures = 0;
                    }
                    self.failures = self.failures.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
                    self.last = now;
                }
                self.rule.failures > 0 && (self.is_silent || self.failures >= self.rule.failures)
            }
        }
    }

    fn eject(&mut self, now: Instant) {
        if self.returned.is_some_and(|returned| now.saturating_duration_since(returned) > FORGIVEN) {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.failures = 0;
        self.state = State::Ejected { since: now, again: now + self.rule.rest(self.times) };
    }

    fn judge(&mut self, outcome: Result<(), ConnectionFailure>, now: Instant) -> Option<Verdict> {
        let (failures, is_silent) = (self.failures, std::mem::take(&mut self.is_silent));
        match (self.state, outcome) {
            (State::Used, Ok(())) => {
                self.failures = 0;
                None
            }
            (State::Used, Err(reason)) => Some(Verdict::Eject { reason, failures, is_silent }),
            (State::Ejected { since, .. }, Ok(())) => {
                self.state = State::Used;
                self.failures = 0;
                self.returned = Some(now);
                Some(Verdict::Return { after: now.saturating_duration_since(since) })
            }
            (State::Ejected { since, .. }, Err(_)) => {
                self.times = self.times.saturating_add(1);
                self.state = State::Ejected { since, again: now + self.rule.rest(self.times) };
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::model::OutlierDetection;

    const REFUSED: ConnectionFailure = ConnectionFailure::ConnectRefused;

    fn endpoint(rule: Option<&OutlierDetection>, now: Instant) -> EndpointHealth {
        EndpointHealth {
            address: "192.0.2.1:9000".parse::<std::net::SocketAddr>().unwrap().into(),
            destination: "echo:9000".to_owned(),
            rule: Rule::of(rule),
            patience: PATIENCE,
            failed: 0,
            failures: 0,
            last: now,
            is_silent: false,
            times: 0,
            is_dialled: false,
            returned: None,
            state: State::Used,
        }
    }

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn three_failures_within_ten_seconds_raise_suspicion_and_the_agents_own_decides() {
        let now = Instant::now();
        let mut one = endpoint(None, now);
        assert!(!one.is_due(2, now));
        assert!(!one.is_due(1, after(now, 11)), "the others are long ago");
        assert!(!one.is_due(1, after(now, 12)) && one.is_due(1, after(now, 13)));
        assert_eq!(one.judge(Ok(()), after(now, 13)), None, "a client may have caused them");
        assert!(!one.is_due(2, after(now, 14)) && one.is_due(1, after(now, 14)));
        assert_eq!(
            one.judge(Err(REFUSED), now),
            Some(Verdict::Eject { reason: REFUSED, failures: 3, is_silent: false })
        );
    }

    #[test]
    fn one_that_is_ejected_is_dialled_until_it_takes_a_connection() {
        let now = Instant::now();
        let mut one = endpoint(None, now);
        one.eject(now);
        assert!(!one.is_due(5, now) && one.is_due(0, after(now, 1)));
        assert_eq!(one.judge(Err(REFUSED), after(now, 1)), None);
        assert!(!one.is_due(0, after(now, 1)) && one.is_due(0, after(now, 2)));
        let back = one.judge(Ok(()), after(now, 2));
        assert_eq!(back, Some(Verdict::Return { after: Duration::from_secs(2) }));
        assert!(!one.is_due(0, after(now, 60)), "nobody who is well is dialled");
    }

    #[test]
    fn each_ejection_by_a_rule_is_longer_until_it_has_been_well_for_long() {
        let now = Instant::now();
        let rule = OutlierDetection {
            consecutive_5xx_errors: 1,
            consecutive_gateway_errors: 0,
            consecutive_local_origin_failures: None,
            interval: Duration::from_secs(1),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 100,
            min_health_percent: 0,
        };
        let mut one = endpoint(Some(&rule), now);
        one.eject(now);
        assert!(!one.is_due(0, after(now, 29)) && one.is_due(0, after(now, 30)));
        one.judge(Ok(()), after(now, 30));
        one.eject(after(now, 40));
        assert!(!one.is_due(0, after(now, 99)) && one.is_due(0, after(now, 100)), "twice as long");
        one.judge(Ok(()), after(now, 100));
        one.eject(after(now, 1000));
        assert!(one.is_due(0, after(now, 1030)));
    }
}
