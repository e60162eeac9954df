//! Counts as one agent tells them to the next in a takeover: by name, since numbers are each agent's own.
//!
//! A row has a subject and words with numbers. Most numbers are what was counted since the row was told last, so that the new
//! agent adds them to its own. Some say how something is now: `Word::is_state`. A subject or word that the other agent
//! does not know is passed over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hasher;
use std::sync::atomic::Ordering::Relaxed;

use tcpshift_common::layout::SumRow;

use super::DatedFailure;
use crate::connections::{ConnectionFailure, Connections, Ended, LastFailure};
use crate::plan::{Destination, Endpoint, Plan, Route, Sets};

/// The most that is added at once: sums of what another agent says do not overflow.
const MOST: u64 = 1 << 48;

/// A subject, and what is told of it.
pub type ToldRow = (String, BTreeMap<String, u64>);

/// What is counted of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Accepted,
    Unrouted,
    /// Numbers given out, of the sequence of a route or of the turns of a destination.
    Given,
    Opened,
    /// Of those, since the weights changed last.
    SinceChange,
    /// Which weights these are.
    Weights,
    Failed(ConnectionFailure),
    /// Of an endpoint, whatever the reason.
    Missed,
    Ended(Ended),
    /// When something failed last for this reason, if that is the last failure.
    Last(ConnectionFailure),
    /// Bytes of carried connections, from clients and to them.
    Sent,
    Received,
    /// Microseconds that endpoints took to take connections.
    Connecting,
    /// Connections that the agent carries now.
    Carried,
    Steered,
    SteeredFailed,
    SteeredRefused,
    SteeredClosed,
    SteeredSent,
    SteeredReceived,
    SteeredRoundTrips,
}

/// Whom rows are about, in the numbers of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Listener(u32),
    Route(u32),
    Destination(u32),
    Endpoint(u32),
}

type Counted = Vec<(Word, u64)>;

/// What was told until now.
#[derive(Debug, Default)]
pub struct Ledger {
    told: HashMap<Subject, Counted>,
}

/// Who is meant by a subject in the plan of the agent that is told.
#[derive(Debug, Default)]
pub struct Index {
    subjects: HashMap<String, Subject>,
    /// Which weights the route of a destination has.
    weights: HashMap<u32, u64>,
}

impl Word {
    /// Every word.
    fn all() -> impl Iterator<Item = Self> {
        let failed = ConnectionFailure::ALL.into_iter().map(Self::Failed);
        let ended = Ended::ALL.into_iter().map(Self::Ended);
        [
            Self::Accepted,
            Self::Unrouted,
            Self::Given,
            Self::Opened,
            Self::SinceChange,
            Self::Weights,
            Self::Missed,
            Self::Sent,
            Self::Received,
            Self::Connecting,
            Self::Carried,
            Self::Steered,
            Self::SteeredFailed,
            Self::SteeredRefused,
            Self::SteeredClosed,
            Self::SteeredSent,
            Self::SteeredReceived,
            Self::SteeredRoundTrips,
        ]
        .into_iter()
        .chain(failed)
        .chain(ended)
        .chain(ConnectionFailure::ALL.into_iter().map(Self::Last))
    }

    /// Whether its number says how something is now, and is not to be added.
    fn is_state(self) -> bool {
        matches!(self, Self::Weights | Self::Last(_) | Self::Carried)
    }

    fn written(self) -> String {
        format!("{self:?}")
    }
}

impl Ledger {
    /// Rows of all that has changed since this was asked last.
    pub fn tell(&mut self, plan: &Plan, sets: &Sets, connections: &Connections) -> Vec<ToldRow> {
        let (mut rows, mut visited) = (Vec::new(), HashSet::new());
        each(plan, sets, |subject, name, of| {
            if !visited.insert(subject) {
                return;
            }
            let now = counted(subject, of, connections);
            let last = self.told.get(&subject).map(Vec::as_slice).unwrap_or_default();
            if last == now {
                return;
            }
            let before = |word| last.iter().find(|(other, _)| *other == word).map_or(0, |(_, count)| *count);
            let grown = now
                .iter()
                .map(|&(word, count)| (word, if word.is_state() { count } else { count.saturating_sub(before(word)) }));
            let words = grown.filter(|(word, count)| *count > 0 || *word == Word::Carried);
            rows.push((name(), words.map(|(word, count)| (word.written(), count)).collect()));
            self.told.insert(subject, now);
        });
        rows
    }
}

impl Index {
    /// Of a plan and its sets.
    pub fn new(plan: &Plan, sets: &Sets) -> Self {
        let mut index = Self::default();
        each(plan, sets, |subject, name, of| {
            index.subjects.entry(name()).or_insert(subject);
            if let (Subject::Destination(number), Some(route)) = (subject, of) {
                index.weights.insert(number, weights(route));
            }
        });
        index
    }

    /// Adds what another agent has counted. Returns how many connections that agent carries now, by the number of a destination:
    /// of those that the rows speak of.
    pub fn add(&self, rows: &[ToldRow], connections: &Connections) -> Vec<(u32, u64)> {
        let known: HashMap<String, Word> = Word::all().map(|word| (word.written(), word)).collect();
        let mut carried = Vec::new();
        for (subject, words) in rows {
            let Some(&subject) = self.subjects.get(subject) else { continue };
            let bounded = |word: Word, count: u64| if word == Word::Weights { count } else { count.min(MOST) };
            let words = words.iter().filter_map(|(word, count)| Some((*known.get(word)?, *count)));
            let words: Counted = words.map(|(word, count)| (word, bounded(word, count))).collect();
            let told = |word: Word| words.iter().find(|(other, _)| *other == word).map_or(0, |(_, count)| *count);
            match subject {
                Subject::Listener(number) => {
                    let count = connections.listeners.get(number);
                    count.accepted.fetch_add(told(Word::Accepted), Relaxed);
                    count.unrouted.fetch_add(told(Word::Unrouted), Relaxed);
                }
                Subject::Route(number) => {
                    connections.sequences.get(number).fetch_add(told(Word::Given), Relaxed);
                }
                Subject::Destination(number) => {
                    let is_same = self.weights.get(&number) == Some(&told(Word::Weights));
                    let since_change = if is_same { told(Word::SinceChange) } else { 0 };
                    add_to_destination(number, &words, since_change, connections);
                    carried
                        .extend(words.iter().find(|(word, _)| *word == Word::Carried).map(|(_, now)| (number, *now)));
                }
                Subject::Endpoint(number) => {
                    let count = connections.endpoints.get(number);
                    count.opened.fetch_add(told(Word::Opened), Relaxed);
                    count.failed.fetch_add(told(Word::Missed), Relaxed);
                    merge(&words, count.last_failure);
                }
            }
        }
        carried
    }
}

/// Calls for everybody of a plan whom rows are about, with a name for both agents. Of destinations and routes the route is given.
fn each<'a>(plan: &'a Plan, sets: &'a Sets, mut call: impl FnMut(Subject, &dyn Fn() -> String, Option<&'a Route>)) {
    let listeners = plan.listeners.iter().map(|one| (one.number, format!("{} {}", one.name, one.address), &one.routes));
    let mesh = plan.mesh.iter().map(|one| (one.number, one.name(), &one.routes));
    for (number, at, routes) in listeners.chain(mesh) {
        call(Subject::Listener(number), &|| format!("listener {at}"), None);
        for route in routes {
            let name = || format!("route {at} {}", route.name());
            call(Subject::Route(route.number), &name, Some(route));
            for destination in &route.destinations {
                let to = || format!("destination {at} {} {}", route.name(), destination.name);
                call(Subject::Destination(destination.number), &to, Some(route));
                for endpoint in sets.of(destination).all() {
                    call(Subject::Endpoint(endpoint.decides.number), &|| endpoint_name(destination, endpoint), None);
                }
            }
        }
    }
}

fn endpoint_name(destination: &Destination, endpoint: &Endpoint) -> String {
    format!("endpoint {}:{}@{}", destination.host, destination.port, endpoint.address)
}

/// What is counted of a subject. A destination that nobody was sent to has nothing to tell.
fn counted(subject: Subject, route: Option<&Route>, connections: &Connections) -> Counted {
    let mut words = match subject {
        Subject::Listener(number) => {
            let count = connections.listeners.get(number);
            vec![(Word::Accepted, count.accepted.load(Relaxed)), (Word::Unrouted, count.unrouted.load(Relaxed))]
        }
        Subject::Route(number) => vec![(Word::Given, connections.sequences.get(number).load(Relaxed))],
        Subject::Destination(number) => of_destination(number, connections),
        Subject::Endpoint(number) => {
            let count = connections.endpoints.get(number);
            let mut words =
                vec![(Word::Missed, count.failed.load(Relaxed)), (Word::Opened, count.opened.load(Relaxed))];
            words.extend(noted(count.last_failure));
            words
        }
    };
    words.retain(|(_, count)| *count > 0);
    if let (Subject::Destination(_), Some(route), false) = (subject, route, words.is_empty()) {
        words.push((Word::Weights, weights(route)));
        if !words.iter().any(|(word, _)| *word == Word::Carried) {
            words.push((Word::Carried, 0));
        }
    }
    words
}

fn of_destination(number: u32, connections: &Connections) -> Counted {
    let (count, steered) = (connections.destinations.get(number), connections.steered.get(number));
    // Failures before what was opened: nobody fails who was not opened.
    let failures = count.failures().map(|(reason, count)| (Word::Failed(reason), count));
    let ended = count.ended().map(|(reason, count)| (Word::Ended(reason), count));
    let mut words: Counted = failures.chain(ended).collect();
    words.extend(noted(&count.last_failure));
    words.extend([
        (Word::SinceChange, connections.opened_since_mark(number)),
        (Word::Opened, count.opened.load(Relaxed)),
        (Word::Given, connections.turns.get(number).load(Relaxed)),
        (Word::Sent, count.sent.load(Relaxed)),
        (Word::Received, count.received.load(Relaxed)),
        (Word::Connecting, count.connecting.load(Relaxed)),
        (Word::Carried, count.active.load(Relaxed)),
        (Word::Steered, steered.opened),
        (Word::SteeredFailed, steered.failed),
        (Word::SteeredRefused, steered.refused),
        (Word::SteeredClosed, steered.closed),
        (Word::SteeredSent, steered.sent),
        (Word::SteeredReceived, steered.received),
        (Word::SteeredRoundTrips, steered.rtt),
    ]);
    words
}

fn add_to_destination(number: u32, words: &Counted, since_change: u64, connections: &Connections) {
    let count = connections.destinations.get(number);
    let (mut steered, mut opened) = (SumRow::default(), 0);
    for &(word, told) in words {
        match word {
            Word::Opened => opened = told,
            Word::Given => drop(connections.turns.get(number).fetch_add(told, Relaxed)),
            Word::Sent => drop(count.sent.fetch_add(told, Relaxed)),
            Word::Received => drop(count.received.fetch_add(told, Relaxed)),
            Word::Connecting => drop(count.connecting.fetch_add(told, Relaxed)),
            Word::Failed(reason) => count.add_failures(reason, told),
            Word::Ended(reason) => count.add_ends(reason, told),
            Word::Steered => steered.opened = told,
            Word::SteeredFailed => steered.failed = told,
            Word::SteeredRefused => steered.refused = told,
            Word::SteeredClosed => steered.closed = told,
            Word::SteeredSent => steered.sent = told,
            Word::SteeredReceived => steered.received = told,
            Word::SteeredRoundTrips => steered.rtt = told,
            _ => {}
        }
    }
    merge(words, &count.last_failure);
    let all = opened.saturating_add(steered.opened).saturating_add(steered.refused);
    count.opened.fetch_add(opened, Relaxed);
    count.baseline.fetch_add(all.saturating_sub(since_change), Relaxed);
    if !connections.steered.add(number, &steered) {
        // No program of this agent steers, so the agent itself has the counts.
        count.opened.fetch_add(steered.opened.saturating_add(steered.refused), Relaxed);
        count.add_failures(ConnectionFailure::NoEndpoint, steered.refused);
        count.add_failures(ConnectionFailure::ConnectFailed, steered.failed);
    }
}

/// When the agent noted a failure last, in milliseconds since 1970.
fn noted(last: &LastFailure) -> Option<(Word, u64)> {
    let (_, reason) = last.get()?;
    DatedFailure::noted(last).map(|failure| (Word::Last(reason), failure.milliseconds()))
}

fn merge(words: &Counted, last: &LastFailure) {
    for &(word, at) in words {
        if let Word::Last(reason) = word {
            last.merge(at, reason);
        }
    }
}

/// A number for the weights that a route has: shares that were achieved by other weights are not gone on with.
fn weights(route: &Route) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    for destination in &route.destinations {
        hash.write(destination.name.as_bytes());
        hash.write_u8(0);
        hash.write(&destination.slots.to_be_bytes());
    }
    hash.write(&route.steer.by.to_be_bytes());
    hash.finish()
}

/// FNV-1a: the same number in each release.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
