//! From a rule to its route. A route that comes out as it was in the last plan is that one: neither its
//! destinations nor its table are made again.

use std::collections::HashMap;
use std::sync::Arc;

use tcpshift_common::decide::{Steer, steer};

use super::Compiler;
use super::target::Target;
use crate::plan::weigh::Layout;
use crate::plan::{Limits, OnEmpty, Route, WeightTable};
use crate::route::annotations::{Annotations, SteerBy};
use crate::route::kind::Kind;
use crate::route::model::{TcpRule, VirtualService, gateway_api};
use crate::route::object::{Key, Object};

/// Where a rule of a VirtualService is served.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    /// A name for it, which numbers of routes belong to.
    pub(super) at: &'a str,
    /// Port that clients connect to.
    pub(super) port: u16,
    /// Whether clients inside a mesh meet it, and not those of a gateway.
    pub(super) in_mesh: bool,
}

/// A rule, or a service that none fits, whose destinations are found, but not weighed.
pub(super) struct Found<'a> {
    /// Of its object.
    pub(super) key: &'a Key,
    /// Index of the rule.
    pub(super) rule: usize,
    /// Who the rule is among those of the object.
    pub(super) id: u32,
    pub(super) steering: Annotations,
    pub(super) limits: Limits,
    /// With the weights that the rule gives them.
    pub(super) targets: Vec<(Arc<Target>, u64)>,
}

impl<'a> Compiler<'a> {
    /// The route of a rule of a VirtualService.
    pub(super) fn route(
        &mut self,
        site: Site<'_>,
        object: &'a Object,
        service: &'a VirtualService,
        index: usize,
        rule: &'a TcpRule,
    ) -> Arc<Route> {
        let targets = rule
            .route
            .iter()
            .map(|destination| (self.target(site, &object.key.namespace, destination), u64::from(destination.weight)));
        let targets: Vec<_> = targets.collect();
        let limits = targets.first().map(|(first, _)| first.limits).unwrap_or_default();
        let last = self.lineage.take(index, &targets).map(|last| last.id);
        let id = last.unwrap_or_else(|| self.memory.register.new_rule());
        let key = &object.key;
        self.finish(site.at, Found { key, rule: index, id, steering: service.steering, limits, targets })
    }

    /// The route of the rule of a TCPRoute.
    pub(super) fn tcp_route(
        &mut self,
        at: &str,
        port: u16,
        object: &'a Object,
        route: &'a gateway_api::TcpRoute,
        rule: &'a gateway_api::tcp_route::TcpRouteRule,
    ) -> Arc<Route> {
        let targets =
            rule.backends.iter().map(|backend| (self.backend(object, port, backend), u64::from(backend.weight)));
        let targets: Vec<_> = targets.collect();
        let limits = targets.first().map(|(first, _)| first.limits).unwrap_or_default();
        let steering = Annotations { asked: route.asked, ..Annotations::default() };
        self.finish(at, Found { key: &object.key, rule: 0, id: 0, steering, limits, targets })
    }

    /// Weighs the destinations of a route, if anything about it is new.
    pub(super) fn finish(&mut self, at: &str, found: Found<'_>) -> Arc<Route> {
        let Found { key, rule, id, steering, limits, targets } = found;
        let targets = summed(&targets);
        let Key { kind, namespace, name } = key;
        let name = self::name(*kind, namespace, name, id, at);
        let number = self.memory.register.routes.number(&name);
        let steer = steer(steering.by);
        let on_empty = if steering.redistribute { OnEmpty::Redistribute } else { OnEmpty::Refuse };
        let previous = self.previous.get(&number).copied();
        let same =
            |previous: &&Arc<Route>| {
                (previous.rule, previous.steer, previous.on_empty, previous.limits, previous.asked)
                    == (rule, steer, on_empty, limits, steering.asked)
                    && previous.destinations.len() == targets.len()
                    && previous.destinations.iter().zip(&targets).all(|(destination, (target, weight))| {
                        destination.weight == *weight && target.is_of(destination)
                    })
            };
        if let Some(previous) = previous.filter(same) {
            let numbers = previous.destinations.iter().map(|destination| destination.decides.number);
            numbers.for_each(|number| self.memory.register.destinations.keep(number));
            return Arc::clone(previous);
        }
        let weights: Vec<_> =
            targets.iter().map(|(target, weight)| (target.name.as_str(), *weight, target.unusable.is_none())).collect();
        let table = table(*kind, &weights, steer, on_empty);
        let table = previous.map(|previous| &previous.table).filter(|last| **last == table).cloned().unwrap_or(table);
        let destinations = targets.iter().zip(table.shares()).map(|((target, weight), slots)| {
            let number = self.memory.register.destinations.number(&format!("{name}>{}", target.name));
            target.destination(number, *weight, slots)
        });
        Arc::new(Route {
            number,
            kind: key.kind,
            namespace: key.namespace.clone(),
            object: key.name.clone(),
            rule,
            id,
            steer,
            on_empty,
            limits,
            asked: steering.asked,
            destinations: destinations.collect(),
            table,
        })
    }
}

/// The name that a route's number belongs to.
pub(super) fn name(kind: Kind, namespace: &str, name: &str, id: u32, at: &str) -> String {
    match kind {
        Kind::VirtualService => format!("{namespace}/{name}#{id}@{at}"),
        kind => format!("{} {namespace}/{name}@{at}", kind.name()),
    }
}

/// The same destination twice adds up.
fn summed(targets: &[(Arc<Target>, u64)]) -> Vec<(Arc<Target>, u64)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut sums: Vec<(Arc<Target>, u64)> = Vec::new();
    for (target, weight) in targets {
        let place = *places.entry(&target.name).or_insert(sums.len());
        match sums.get_mut(place) {
            Some((_, sum)) => *sum += weight,
            None => sums.push((Arc::clone(target), *weight)),
        }
    }
    sums
}

/// Weighs destinations, each with its name, its weight, and whether it can serve anything.
pub(super) fn table(kind: Kind, targets: &[(&str, u64, bool)], steer: Steer, on_empty: OnEmpty) -> WeightTable {
    // The only destination of a VirtualService or a service gets everything, even with weight 0; that of a TCPRoute does not.
    let sole = targets.len() == 1 && kind != Kind::TcpRoute;
    let weight = |weight: u64| if sole { 1 } else { weight };
    let mut weights: Vec<(String, u64)> =
        targets.iter().map(|(name, own, _)| ((*name).to_owned(), weight(*own))).collect();
    let serves = |place: usize, weight: u64| targets[place].2 && weight > 0;
    let any_serves = weights.iter().enumerate().any(|(place, (_, weight))| serves(place, *weight));
    if on_empty == OnEmpty::Redistribute && any_serves {
        for (place, (_, weight)) in weights.iter_mut().enumerate() {
            if !serves(place, *weight) {
                *weight = 0;
            }
        }
    }
    let layout = if steer.by == steer::SEQUENCE { Layout::Sorted } else { Layout::Scattered };
    WeightTable::new(layout, &weights)
}

fn steer(by: SteerBy) -> Steer {
    match by {
        SteerBy::Connection => Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        SteerBy::Sequence => Steer { by: steer::SEQUENCE, v4_bits: 0, v6_bits: 0 },
        SteerBy::Source { v4_bits, v6_bits } => Steer { by: steer::SOURCE, v4_bits, v6_bits },
    }
}
