//! From a rule of an object to what it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use tcpshift_common::decide::{Steer, steer};

use super::Resolver;
use crate::plan::OnEmpty;
use crate::plan::intent::{Backend, RouteIntent};
use crate::route::annotations::{Annotations, SteerBy};
use crate::route::model::{TcpRule, VirtualService, gateway_api};
use crate::route::object::{Key, Object};

/// Where a rule of a VirtualService is served.
#[derive(Clone, Copy)]
pub(super) struct Site {
    /// Port that clients connect to.
    pub(super) port: u16,
    /// Whether clients inside a mesh meet it, and not those of a gateway.
    pub(super) in_mesh: bool,
}

impl<'a> Resolver<'a, '_> {
    /// A rule of a VirtualService.
    pub(super) fn route(
        &mut self,
        site: Site,
        object: &'a Object,
        service: &'a VirtualService,
        index: usize,
        rule: &'a TcpRule,
    ) -> Arc<RouteIntent> {
        let destinations = rule
            .route
            .iter()
            .map(|destination| (self.backend(site, &object.key.namespace, destination), u64::from(destination.weight)));
        let destinations: Vec<_> = destinations.collect();
        route(&object.key, index, service.steering, &destinations)
    }

    /// The rule of a TCPRoute.
    pub(super) fn tcp_route(
        &mut self,
        port: u16,
        object: &'a Object,
        route: &'a gateway_api::TcpRoute,
        rule: &'a gateway_api::tcp_route::TcpRouteRule,
    ) -> Arc<RouteIntent> {
        let destinations =
            rule.backends.iter().map(|backend| (self.reference(object, port, backend), u64::from(backend.weight)));
        let destinations: Vec<_> = destinations.collect();
        self::route(&object.key, 0, route.steering, &destinations)
    }
}

fn route(key: &Key, rule: usize, steering: Annotations, destinations: &[(Arc<Backend>, u64)]) -> Arc<RouteIntent> {
    let mut limits = destinations.first().map(|(first, _)| first.limits).unwrap_or_default();
    limits.half_closed_timeout = steering.half_closed_timeout;
    Arc::new(RouteIntent {
        kind: key.kind,
        namespace: key.namespace.clone(),
        object: key.name.clone(),
        rule,
        steer: steer(steering.by),
        on_empty: if steering.redistribute { OnEmpty::Redistribute } else { OnEmpty::Refuse },
        limits,
        asked: steering.asked,
        destinations: summed(destinations),
    })
}

/// The same destination twice adds up.
fn summed(destinations: &[(Arc<Backend>, u64)]) -> Vec<(Arc<Backend>, u64)> {
    let mut indices: HashMap<&str, usize> = HashMap::new();
    let mut sums: Vec<(Arc<Backend>, u64)> = Vec::new();
    for (backend, weight) in destinations {
        let index = *indices.entry(&backend.name).or_insert(sums.len());
        match sums.get_mut(index) {
            Some((_, sum)) => *sum += weight,
            None => sums.push((Arc::clone(backend), *weight)),
        }
    }
    sums
}

fn steer(by: SteerBy) -> Steer {
    match by {
        SteerBy::Connection => Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        SteerBy::Sequence => Steer { by: steer::SEQUENCE, v4_bits: 0, v6_bits: 0 },
        SteerBy::Source { v4_bits, v6_bits } => Steer { by: steer::SOURCE, v4_bits, v6_bits },
    }
}
