//! The state of endpoints, changed by events, and the sets that follow from it.
//!
//! A set is a pure function of a backend and of what is known: DNS answers, the listeners of this agent, the addresses of
//! this host. An index leads from a host name to the sets that its addresses are in. An event makes no plan; it says
//! whether a plan depends on what it changed. Whatever else comes to be known of endpoints, such as what health checks find, is
//! an event beside [`States::answered`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::{Arc, Weak};

use tcpshift_common::address::family;

pub use super::located::ResolvedNames;
use super::located::{Own, are_too_few, located};
use super::numbers::EndpointNumbers;
use super::{EndpointSet, FreshEndpoints, Sets, endpoint_name};
use crate::plan::EndpointAddress;
use crate::plan::hashing::Shelf;
use crate::plan::host::Host;
use crate::plan::intent::Backend;
use crate::plan::register::Space;

/// What is known of endpoints, and the sets made of it.
#[derive(Clone, Debug, Default)]
pub struct States {
    answers: Arc<ResolvedNames>,
    own: Own,
    /// By number of the set.
    entries: Vec<Option<Entry>>,
    /// From a host name to the sets with its addresses.
    by_name: HashMap<String, BTreeSet<u32>>,
    /// From the number of an endpoint to the sets that have it.
    by_endpoint: HashMap<u32, BTreeSet<u32>>,
    /// Numbers of endpoints that are ejected.
    ejected: HashSet<u32>,
    /// Numbers of sets.
    numbers: Space,
    /// Numbers of endpoints.
    endpoints: EndpointNumbers,
    /// Sets that were replaced, as long as a connection may still try their endpoints.
    replaced: Vec<Weak<EndpointSet>>,
    shelf: Shelf,
    sets: Sets,
    /// Counts assemblies and events.
    clock: u64,
    /// When the last assembly began.
    begun: u64,
    /// When a set was replaced or given up last.
    changed: u64,
}

/// One set, and what it is made of.
#[derive(Clone, Debug)]
struct Entry {
    backend: Arc<Backend>,
    /// Clients who reach its endpoints: one of [`family`].
    family: u32,
    set: Arc<EndpointSet>,
    /// When the set was replaced last.
    changed: u64,
    /// When it was asked for last.
    asked: u64,
}

impl States {
    /// Begins an assembly: sets that are not asked for until its end are given up. `listeners` are the addresses that
    /// this agent serves.
    pub(in crate::plan) fn begin(&mut self, listeners: BTreeSet<SocketAddr>, host: &Host) {
        self.clock += 1;
        self.begun = self.clock;
        self.numbers.begin();
        let own = Own { listeners, networks: host.networks.clone() };
        if own != self.own {
            self.own = own;
            for number in 0..self.entries.len() {
                self.refresh(number as u32);
            }
        }
    }

    /// The number of the set of a backend's endpoints that clients of a family reach.
    pub(in crate::plan) fn number(&mut self, backend: &Arc<Backend>, family: u32) -> u32 {
        let number = match family {
            family::ANY => self.numbers.number(&backend.id),
            family => self.numbers.number(&format!("{} {family}", backend.id)),
        };
        let clock = self.clock;
        let Some(entry) = self.entry_mut(number) else {
            self.begin_set(number, backend, family);
            return number;
        };
        entry.asked = clock;
        if !Arc::ptr_eq(&entry.backend, backend) {
            let same = entry.backend == *backend;
            let last = std::mem::replace(&mut entry.backend, Arc::clone(backend));
            if !same {
                self.index(number, &last, false);
                self.index(number, backend, true);
                self.refresh(number);
            }
        }
        number
    }

    /// Makes the first set of a number.
    fn begin_set(&mut self, number: u32, backend: &Arc<Backend>, family: u32) {
        let (changed, asked, backend) = (self.clock, self.clock, Arc::clone(backend));
        self.changed = changed;
        self.index(number, &backend, true);
        let index = number as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        self.entries[index] = Some(Entry { backend, family, set: Arc::default(), changed, asked });
        self.refresh(number);
    }

    /// Asks for a set again that was asked for in the assembly before.
    pub(in crate::plan) fn keep(&mut self, number: u32) {
        self.numbers.keep(number);
        let clock = self.clock;
        if let Some(entry) = self.entry_mut(number) {
            entry.asked = clock;
        }
    }

    /// When a set was replaced last; compared with [`States::now`].
    pub(in crate::plan) fn changed(&self, number: u32) -> u64 {
        self.entry(number).map_or(u64::MAX, |entry| entry.changed)
    }

    /// When any set was replaced or given up last.
    pub(in crate::plan) fn changed_last(&self) -> u64 {
        self.changed
    }

    /// The time, counted in assemblies and events.
    pub fn now(&self) -> u64 {
        self.clock
    }

    /// The sets as they are now.
    pub fn sets(&self) -> &Sets {
        &self.sets
    }

    /// The answers of DNS, as they are known now.
    pub fn answers(&self) -> &Arc<ResolvedNames> {
        &self.answers
    }

    /// An event: DNS has other answers. Sets with addresses of names whose answers are different are replaced. Returns
    /// what a plan may depend on of it: whether a set has endpoints, of which families, and whether all are on this host.
    pub fn answered(&mut self, answers: Arc<ResolvedNames>) -> Event {
        let last = std::mem::replace(&mut self.answers, answers);
        let different = |name: &&String| last.get(*name) != self.answers.get(*name);
        let names: BTreeSet<&String> = last.keys().chain(self.answers.keys()).filter(different).collect();
        let numbers: BTreeSet<u32> =
            names.into_iter().filter_map(|name| self.by_name.get(name)).flatten().copied().collect();
        self.replace(numbers)
    }

    /// An event: an endpoint is ejected, or is not any more. The sets that it is in are replaced. Returns what a plan may depend on of
    /// it, as [`States::answered`] does.
    pub fn ejected(&mut self, endpoint: u32, is_ejected: bool) -> Event {
        let is_other = if is_ejected { self.ejected.insert(endpoint) } else { self.ejected.remove(&endpoint) };
        if !is_other {
            return Event::default();
        }
        let numbers = self.by_endpoint.get(&endpoint).cloned().unwrap_or_default();
        self.replace(numbers)
    }

    /// Whether an endpoint is ejected.
    pub fn is_ejected(&self, endpoint: u32) -> bool {
        self.ejected.contains(&endpoint)
    }

    /// Every set with the backend that it is made of.
    pub fn known(&self) -> impl Iterator<Item = (&Backend, &EndpointSet)> {
        self.entries.iter().flatten().map(|entry| (&*entry.backend, &*entry.set))
    }

    /// The sets that have an endpoint.
    pub fn having(&self, endpoint: u32) -> impl Iterator<Item = u32> {
        self.by_endpoint.get(&endpoint).into_iter().flatten().copied()
    }

    /// Makes sets anew, and says what came of it.
    fn replace(&mut self, numbers: BTreeSet<u32>) -> Event {
        self.clock += 1;
        let mut event = Event::default();
        for number in numbers {
            let before = (self.sets.get(number).nature(), self.is_here(number));
            if self.refresh(number) {
                event.sets += 1;
                event.plan |= self.sets.get(number).nature() != before.0;
                event.here |= before.1 || self.is_here(number);
            }
        }
        event
    }

    /// Whether all endpoints of a set are on this host, if there are any.
    fn is_here(&self, number: u32) -> bool {
        let endpoints = &self.sets.get(number).endpoints;
        let is_local =
            |address: &EndpointAddress| matches!(address, EndpointAddress::Tcp(at) if self.own.is_local(at.ip()));
        !endpoints.is_empty() && endpoints.iter().all(|endpoint| is_local(&endpoint.address))
    }

    /// The assembly was given up: frees what was given out for it. The next one has to ask for everything that is in force.
    pub(in crate::plan) fn give_up(&mut self) {
        self.numbers.give_up();
        self.endpoints.give_up();
        self.changed = self.clock;
        // Those that are in force are.
        let entries = std::mem::take(&mut self.entries);
        let held = entries.iter().flatten().filter(|entry| !entry.set.endpoints.is_empty());
        self.replaced.extend(held.map(|entry| Arc::downgrade(&entry.set)));
        self.by_name.clear();
        self.by_endpoint.clear();
    }

    /// Says for how many endpoints the kernel has rows.
    pub fn limit(&mut self, endpoints: usize) {
        self.endpoints.limit(endpoints);
    }

    /// Numbers of endpoints that were given out since this was asked last: their counters have to start from zero.
    pub fn take_fresh(&mut self) -> FreshEndpoints {
        drop(self.numbers.take_fresh());
        self.endpoints.take_fresh()
    }

    /// Ends an assembly whose plan is in force: forgets the sets that were not asked for. Numbers are free when they have rested
    /// after nobody holds them: `is_held` says so of an endpoint, and `now` is the time in nanoseconds.
    pub fn sweep(&mut self, now: u64, is_held: impl Fn(u32) -> bool) {
        let begun = self.begun;
        let gone: Vec<u32> = (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.as_ref().is_some_and(|entry| entry.asked < begun))
            .map(|(number, _)| number)
            .collect();
        for number in gone {
            self.changed = self.clock;
            let Some(entry) = self.entries[number as usize].take() else { continue };
            self.index(number, &entry.backend, false);
            entry.set.all().for_each(|endpoint| self.forget_in(endpoint.decides.number, number));
            self.release(&entry.set);
            self.sets.put(number, Arc::default());
        }
        self.numbers.sweep(|_| false);
        self.settle(now, is_held);
    }

    /// Endpoints that are in no set and may have connections: number and name.
    pub fn left(&self) -> Vec<(u32, Arc<str>)> {
        self.endpoints.left().map(|(number, name)| (number, Arc::clone(name))).collect()
    }

    /// Has the numbers of endpoints rest that are in no set and that nobody holds, and frees those that have rested.
    pub fn settle(&mut self, now: u64, is_held: impl Fn(u32) -> bool) {
        self.shelf.tidy();
        let Self { endpoints, replaced, .. } = self;
        let mut tried = HashSet::new();
        replaced.retain(|set| {
            let Some(set) = set.upgrade() else { return false };
            tried.extend(set.endpoints.iter().map(|endpoint| endpoint.decides.number));
            true
        });
        endpoints.settle(now, |number| tried.contains(&number) || is_held(number));
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get(number as usize)?.as_ref()
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.get_mut(number as usize)?.as_mut()
    }

    /// Makes a set anew. Returns whether it is another one.
    fn refresh(&mut self, number: u32) -> bool {
        let Some(entry) = self.entry(number) else { return false };
        let (backend, family, last) = (Arc::clone(&entry.backend), entry.family, Arc::clone(&entry.set));
        let found = located(&backend, family, &self.answers, &self.own);
        let Self { endpoints, shelf, ejected, .. } = self;
        let numbered = |(address, weight): (EndpointAddress, u32)| {
            let number = endpoints.number(&endpoint_name(&backend, &address));
            (address, weight, number)
        };
        let found = found.map(|found| found.into_iter().map(numbered).collect::<Vec<_>>());
        let percent = backend.ejection.map_or(0, |rule| rule.min_health_percent);
        let all_are_used = found.as_ref().is_ok_and(|found| are_too_few(found, percent, ejected));
        let is_ejected = |number: u32| !all_are_used && ejected.contains(&number);
        let set = EndpointSet::new(backend.choice, found, shelf, is_ejected);
        if *last == set {
            return false;
        }
        let numbers = |set: &EndpointSet| set.all().map(|one| one.decides.number).collect::<HashSet<_>>();
        let (before, after) = (numbers(&last), numbers(&set));
        set.all().for_each(|endpoint| self.endpoints.enter(endpoint.decides.number));
        for new in after.difference(&before) {
            self.by_endpoint.entry(*new).or_default().insert(number);
        }
        for gone in before.difference(&after) {
            self.forget_in(*gone, number);
        }
        self.release(&last);
        let set = Arc::new(set);
        let clock = self.clock;
        self.changed = clock;
        if let Some(entry) = self.entry_mut(number) {
            (entry.set, entry.changed) = (Arc::clone(&set), clock);
        }
        self.sets.put(number, set);
        true
    }

    /// A set is no longer in force.
    fn release(&mut self, set: &Arc<EndpointSet>) {
        for endpoint in set.all() {
            self.endpoints.leave(endpoint.decides.number);
        }
        if !set.endpoints.is_empty() {
            self.replaced.push(Arc::downgrade(set));
        }
    }

    /// A set has an endpoint no longer. One that no set has is not ejected either: it is another one when it comes back.
    fn forget_in(&mut self, endpoint: u32, set: u32) {
        if let Some(sets) = self.by_endpoint.get_mut(&endpoint) {
            sets.remove(&set);
            if sets.is_empty() {
                self.by_endpoint.remove(&endpoint);
                self.ejected.remove(&endpoint);
            }
        }
    }

    /// Puts the names of a backend into the index, or takes them out.
    fn index(&mut self, number: u32, backend: &Backend, put: bool) {
        for name in backend.names() {
            if put {
                self.by_name.entry(name.to_owned()).or_default().insert(number);
            } else if let Some(sets) = self.by_name.get_mut(name) {
                sets.remove(&number);
                if sets.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
    }
}

/// What an event came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Sets that were replaced.
    pub sets: usize,
    /// Whether any plan may depend on it.
    pub plan: bool,
    /// Whether a plan may depend on it where connections are handed over: all endpoints of a set were on this host, or are.
    pub here: bool,
}

impl AddAssign for Event {
    fn add_assign(&mut self, other: Self) {
        self.sets += other.sets;
        self.plan |= other.plan;
        self.here |= other.here;
    }
}
