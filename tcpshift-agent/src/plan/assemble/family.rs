//! A route as clients with addresses of one family have it. Nobody stands between them and an endpoint: from an
//! IPv4 socket only IPv4 endpoints can be reached, from an IPv6 socket those of both families, and from neither a
//! unix socket.

use std::sync::Arc;

use tcpshift_common::address::family;
use tcpshift_common::destination;

use super::Compiler;
use super::rule;
use crate::plan::{Destination, EndpointAddress, OnEmpty, Route, Unusable, endpoints};

impl Compiler<'_> {
    /// A route without what clients of a family cannot reach. `at` says where it is served, and to which family. If
    /// they can reach everything, it is the same route.
    pub(super) fn for_family(&mut self, route: &Arc<Route>, at: &str, family: u32) -> Arc<Route> {
        let reaches = |address: &EndpointAddress| is_reached(address, family);
        let all = route.destinations.iter().flat_map(|destination| &*destination.endpoints);
        if all.map(|endpoint| &endpoint.address).all(reaches) {
            return Arc::clone(route);
        }
        let mut variant = Route::clone(route);
        let Route { kind, namespace, object, id, .. } = &**route;
        variant.number = self.memory.register.routes.number(&rule::name(*kind, namespace, object, *id, at));
        for destination in &mut variant.destinations {
            if destination.endpoints.iter().any(|endpoint| !reaches(&endpoint.address)) {
                self.keep(destination, reaches);
            }
        }
        if variant.on_empty == OnEmpty::Redistribute {
            let weights = variant.destinations.iter();
            let weights = weights.map(|one| (one.name.as_str(), one.weight, one.unusable.is_none()));
            variant.table = rule::table(*kind, &weights.collect::<Vec<_>>(), variant.steer, variant.on_empty);
            for (destination, slots) in variant.destinations.iter_mut().zip(variant.table.shares()) {
                destination.slots = slots;
            }
        }
        let previous = self.previous.get(&variant.number).copied();
        if let Some(previous) = previous {
            if **previous == variant {
                return Arc::clone(previous);
            }
            // What is filled in already need not be filled in again.
            if previous.table == variant.table {
                variant.table = previous.table.clone();
            }
        }
        Arc::new(variant)
    }

    /// Leaves a destination those of its endpoints that can be reached. They keep their numbers, and it its own: its
    /// connections are counted together, whoever the clients are.
    fn keep(&mut self, destination: &mut Destination, reaches: impl Fn(&EndpointAddress) -> bool) {
        let choice = endpoints::choice(destination);
        let all = Arc::clone(&destination.endpoints);
        let left = all.iter().filter(|endpoint| reaches(&endpoint.address));
        let left: Vec<_> = left.map(|endpoint| (endpoint.address.clone(), endpoint.decides.weight)).collect();
        let number = |address: &EndpointAddress| {
            // Endpoints are in the order of their addresses.
            let at = all.binary_search_by(|endpoint| endpoint.address.cmp(address));
            at.map_or(u32::MAX, |at| all[at].decides.number)
        };
        let (decides, endpoints, hashing) = endpoints::weigh(choice, left, self.lookup.shelf(self.last), number);
        destination.unusable = endpoints.is_empty().then_some(Unusable::OtherFamily);
        destination.decides = destination::DestinationFacts { number: destination.decides.number, ..decides };
        destination.endpoints = endpoints.into();
        destination.hashing = hashing;
    }
}

/// Whether clients of a family can reach some endpoint of a route.
pub(super) fn reaches_any(route: &Route, family: u32) -> bool {
    let mut all = route.destinations.iter().flat_map(|destination| &*destination.endpoints);
    all.any(|endpoint| is_reached(&endpoint.address, family))
}

fn is_reached(address: &EndpointAddress, family: u32) -> bool {
    match address {
        EndpointAddress::Tcp(address) => family == family::V6 || address.ip().to_canonical().is_ipv4(),
        EndpointAddress::Unix(_) => false,
        EndpointAddress::Original(_) => true,
    }
}
