//! Endpoint sets: which endpoints of a destination may be chosen now. A plan names them by number.
//!
//! What changes often is here and in no plan: an event about one endpoint replaces the sets that it is in, and nothing
//! else. [`Sets`] is a value that is never changed once it is handed out; [`states`] makes the next one.

mod located;
pub mod numbers;
pub mod states;
mod sums;

use std::sync::{Arc, LazyLock};

use tcpshift_common::decide::RouteTables;
use tcpshift_common::destination;

pub use self::numbers::FreshEndpoints;
pub use self::states::States;
use super::hashing::Shelf;
use super::intent::Backend;
use super::{Destination, Endpoint, EndpointAddress, HashTable, Route, Unusable};
use crate::route::model::LoadBalancer;

/// Sets that are copied together when one of them is replaced.
const CHUNK: usize = 64;

/// The endpoints of a destination that may be chosen now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSet {
    /// Policy and sums, as the decision reads them; the number is the destination's.
    pub decides: destination::DestinationFacts,
    /// By address.
    pub endpoints: Arc<[Endpoint]>,
    /// Those that are left out for now, since they took no connections; by address.
    pub ejected: Arc<[Endpoint]>,
    /// Which endpoint a client's hash leads to, if the policy is to choose by it.
    pub hashing: Option<HashTable>,
    /// Why nothing can be served; there are no endpoints then.
    pub unusable: Option<Unusable>,
}

/// Every set in force, by number.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    /// Counts the replacements, of one agent.
    pub version: u64,
    chunks: Vec<Arc<Vec<Arc<EndpointSet>>>>,
}

static NONE: LazyLock<EndpointSet> =
    LazyLock::new(|| EndpointSet { unusable: Some(Unusable::NoEndpoint), ..EndpointSet::default() });

/// Numbered from 0.
impl FromIterator<EndpointSet> for Sets {
    fn from_iter<T: IntoIterator<Item = EndpointSet>>(all: T) -> Self {
        let mut sets = Self::default();
        (0..).zip(all).for_each(|(number, set)| sets.put(number, Arc::new(set)));
        sets
    }
}

impl Sets {
    /// A set; one without endpoints for a number that no set has.
    pub fn get(&self, number: u32) -> &EndpointSet {
        self.shared(number).map_or(&NONE, |set| set)
    }

    /// The set of a destination.
    pub fn of(&self, destination: &Destination) -> &EndpointSet {
        self.get(destination.set)
    }

    /// As [`Sets::get`], to be kept.
    pub fn shared(&self, number: u32) -> Option<&Arc<EndpointSet>> {
        self.chunks.get(number as usize / CHUNK)?.get(number as usize % CHUNK)
    }

    /// Numbers of sets that took the place of others since, or were made.
    pub fn replaced<'a>(&'a self, last: &'a Self) -> impl Iterator<Item = u32> + 'a {
        let chunks = self.chunks.iter().enumerate();
        let chunks = chunks.filter(|(at, chunk)| last.chunks.get(*at).is_none_or(|last| !Arc::ptr_eq(last, chunk)));
        let numbers = chunks.flat_map(|(at, chunk)| (at * CHUNK..).zip(&**chunk));
        let numbers = numbers.map(|(number, set)| (number as u32, set));
        numbers
            .filter(|(number, set)| last.shared(*number).is_none_or(|last| !Arc::ptr_eq(last, set)))
            .map(|(number, _)| number)
    }

    /// What the decision reads of a route.
    pub fn table<'a>(&'a self, route: &'a Route) -> RouteTable<'a> {
        RouteTable { route, sets: self }
    }

    /// Replaces a set.
    pub(super) fn put(&mut self, number: u32, set: Arc<EndpointSet>) {
        let (chunk, index) = (number as usize / CHUNK, number as usize % CHUNK);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, Arc::default);
        }
        let sets = Arc::make_mut(&mut self.chunks[chunk]);
        if sets.len() <= index {
            sets.resize_with(index + 1, Arc::default);
        }
        sets[index] = set;
        self.version += 1;
    }
}

/// A route with the sets of its destinations, as the decision reads them.
#[derive(Clone, Copy, Debug)]
pub struct RouteTable<'a> {
    route: &'a Route,
    sets: &'a Sets,
}

impl<'a> RouteTable<'a> {
    fn set(&self, place: u32) -> Option<(&'a Destination, &'a EndpointSet)> {
        let destination = self.route.destinations.get(place as usize)?;
        Some((destination, self.sets.of(destination)))
    }
}

impl RouteTables for RouteTable<'_> {
    fn slot(&self, slot: u32) -> Option<u32> {
        self.route.table.place(slot)
    }

    fn destination(&self, place: u32) -> Option<destination::DestinationFacts> {
        let (destination, set) = self.set(place)?;
        Some(set.decides(destination))
    }

    fn endpoint(&self, place: u32, index: u32) -> Option<destination::EndpointFacts> {
        Some(self.set(place)?.1.endpoints.get(index as usize)?.decides)
    }

    fn hashed(&self, place: u32, at: u32) -> Option<u32> {
        self.set(place)?.1.hashing.as_ref()?.endpoint(at)
    }
}

impl EndpointSet {
    /// As the decision reads it for one of the destinations that have this set.
    pub fn decides(&self, destination: &Destination) -> destination::DestinationFacts {
        destination::DestinationFacts { number: destination.number, ..self.decides }
    }

    /// The endpoints of a backend at these addresses, each with its weight and its number, or why there are none.
    pub fn new(
        choice: LoadBalancer,
        endpoints: Result<Vec<(EndpointAddress, u32, u32)>, Unusable>,
        shelf: &mut Shelf,
        is_ejected: impl Fn(u32) -> bool,
    ) -> Self {
        let (endpoints, mut unusable) = match endpoints {
            Ok(endpoints) => (endpoints, None),
            Err(unusable) => (Vec::new(), Some(unusable)),
        };
        let (out, used): (Vec<_>, Vec<_>) = endpoints.into_iter().partition(|(.., number)| is_ejected(*number));
        if used.is_empty() && !out.is_empty() {
            unusable = Some(Unusable::Ejected);
        }
        let (_, ejected, _) = sums::weigh(LoadBalancer::Random, out, shelf);
        let (decides, endpoints, hashing) = sums::weigh(choice, used, shelf);
        Self { decides, endpoints: endpoints.into(), ejected: ejected.into(), hashing, unusable }
    }

    /// Its endpoints, with those that are ejected.
    pub fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().chain(&*self.ejected)
    }

    /// The kinds of endpoints that it has. One that is ejected counts: where connections go does not change by that.
    pub(super) fn nature(&self) -> Nature {
        let mut nature = Nature { serves: self.unusable.is_none(), ..Nature::default() };
        for endpoint in self.all() {
            match &endpoint.address {
                EndpointAddress::Tcp(address) if address.ip().to_canonical().is_ipv4() => nature.v4 = true,
                EndpointAddress::Tcp(_) => nature.v6 = true,
                EndpointAddress::Unix(_) => nature.unix = true,
                EndpointAddress::Original(_) => nature.original = true,
            }
        }
        nature
    }
}

/// Kinds of endpoints that a set has, and whether any may be chosen: what a plan may depend on.
#[allow(clippy::struct_excessive_bools, reason = "each kind is there or not")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nature {
    pub(super) serves: bool,
    pub(super) v4: bool,
    pub(super) v6: bool,
    pub(super) unix: bool,
    pub(super) original: bool,
}

/// Names of a backend's endpoint in the register.
fn endpoint_name(backend: &Backend, address: &EndpointAddress) -> String {
    format!("{}:{}@{address}", backend.host, backend.port)
}
