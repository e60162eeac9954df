//! The state of endpoints, changed by events, and the sets that follow from it.
//!
//! A set is a pure function of a backend and of what is known: DNS answers, the listeners of this agent, the addresses of
//! this host. An index leads from a host name to the sets that its addresses are in. An event makes no plan; it says
//! whether a plan depends on what it changed. Whatever else comes to be known of endpoints, such as what health checks find, is
//! an event beside [`States::answered`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

use tcpshift_common::address::family;

use super::numbers::EndpointNumbers;
use super::{EndpointSet, FreshEndpoints, Sets, endpoint_name};
use crate::plan::hashing::Shelf;
use crate::plan::host::Host;
use crate::plan::intent::{Backend, Written, WrittenAt};
use crate::plan::register::Space;
use crate::plan::{EndpointAddress, Unusable};

/// Addresses by host name in lower case, in the order of DNS; none is empty.
pub type ResolvedNames = HashMap<String, Vec<IpAddr>>;

/// What is known of endpoints, and the sets made of it.
#[derive(Clone, Debug, Default)]
pub struct States {
    answers: Arc<ResolvedNames>,
    own: Own,
    /// By number of the set.
    entries: Vec<Option<Entry>>,
    /// From a host name to the sets with its addresses.
    by_name: HashMap<String, BTreeSet<u32>>,
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

/// Where this agent listens: an endpoint there would send connections round for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Own {
    listeners: BTreeSet<SocketAddr>,
    networks: Vec<ipnet::IpNet>,
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
    pub(in crate::plan) fn now(&self) -> u64 {
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
        let Self { endpoints, shelf, .. } = self;
        let set = EndpointSet::new(backend.choice, found, shelf, |address| {
            endpoints.number(&endpoint_name(&backend, address))
        });
        if *last == set {
            return false;
        }
        for endpoint in &*set.endpoints {
            endpoints.enter(endpoint.decides.number);
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
        for endpoint in &*set.endpoints {
            self.endpoints.leave(endpoint.decides.number);
        }
        if !set.endpoints.is_empty() {
            self.replaced.push(Arc::downgrade(set));
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

impl Own {
    /// Whether this agent listens at an address.
    fn has(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let at = |ip: IpAddr| self.listeners.contains(&SocketAddr::new(ip, address.port()));
        let everywhere = at(Ipv6Addr::UNSPECIFIED.into()) || (address.is_ipv4() && at(Ipv4Addr::UNSPECIFIED.into()));
        at(address.ip()) || (everywhere && self.is_local(ip))
    }

    /// Whether an address is one of this host.
    fn is_local(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// Address and weight of each endpoint that clients of a family reach.
fn located(
    backend: &Backend,
    family: u32,
    answers: &ResolvedNames,
    own: &Own,
) -> Result<Vec<(EndpointAddress, u32)>, Unusable> {
    let written = backend.endpoints.as_ref().map_err(Clone::clone)?;
    let mut endpoints = Vec::new();
    for Written { at, weight } in written {
        match at {
            WrittenAt::Address(address) => endpoints.push((address.clone(), *weight)),
            WrittenAt::Name { name, port, only_first } => {
                let most = if *only_first { 1 } else { usize::MAX };
                let addresses = answers.get(name).into_iter().flatten().take(most);
                endpoints.extend(addresses.map(|ip| (SocketAddr::new(*ip, *port).into(), *weight)));
            }
        }
    }
    if endpoints.is_empty() {
        return Err(Unusable::Unresolved);
    }
    endpoints.retain(|(address, _)| !matches!(address, EndpointAddress::Tcp(address) if own.has(*address)));
    if endpoints.is_empty() {
        return Err(Unusable::OwnListener);
    }
    endpoints.retain(|(address, _)| is_reached(address, family));
    if endpoints.is_empty() { Err(Unusable::OtherFamily) } else { Ok(endpoints) }
}

/// Whether clients of a family reach an endpoint: from an IPv4 socket only IPv4 endpoints, from an IPv6 socket those of both
/// families, from neither a unix socket.
pub(in crate::plan) fn is_reached(address: &EndpointAddress, family: u32) -> bool {
    match (family, address) {
        (family::ANY, _) | (_, EndpointAddress::Original(_)) => true,
        (_, EndpointAddress::Unix(_)) => false,
        (family, EndpointAddress::Tcp(address)) => family == family::V6 || address.ip().to_canonical().is_ipv4(),
    }
}
