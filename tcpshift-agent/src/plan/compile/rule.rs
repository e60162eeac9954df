//! From a rule to its route. A route that comes out as it was in the last plan is that one: neither its
//! destinations nor its table are made again.

use std::collections::HashMap;
use std::sync::Arc;

use tcpshift_common::decide::{Steer, steer};

use super::Compiler;
use super::target::Target;
use crate::plan::weigh::Layout;
use crate::plan::{Limits, OnEmpty, Route, WeightTable};
use crate::route::annotations::{SteerBy, Steering};
use crate::route::kind::Kind;
use crate::route::model::{TcpRoute, VirtualService, gateway_api};
use crate::route::object::{Key, Object};

/// A rule whose destinations are found, but not weighed.
struct Found<'a> {
    object: &'a Object,
    /// Index of the rule.
    rule: usize,
    /// Who the rule is among those of the object.
    id: u32,
    steering: Steering,
    limits: Limits,
    /// With the weights that the rule gives them.
    targets: Vec<(Arc<Target>, u64)>,
}

impl<'a> Compiler<'a> {
    /// The route of a rule of a VirtualService; `at` says where it is served.
    pub(super) fn route(
        &mut self,
        at: &str,
        port: u16,
        object: &'a Object,
        service: &'a VirtualService,
        index: usize,
        rule: &'a TcpRoute,
    ) -> Arc<Route> {
        let targets = rule
            .route
            .iter()
            .map(|destination| (self.target(&object.key.namespace, port, destination), u64::from(destination.weight)));
        let targets: Vec<_> = targets.collect();
        let limits = targets.first().map(|(first, _)| first.limits).unwrap_or_default();
        let last = self.lineage.take(index, &targets).map(|last| last.id);
        let id = last.unwrap_or_else(|| self.memory.register.new_rule());
        self.finish(at, Found { object, rule: index, id, steering: service.steering, limits, targets })
    }

    /// The route of the rule of a TCPRoute.
    pub(super) fn tcp_route(
        &mut self,
        at: &str,
        port: u16,
        object: &'a Object,
        route: &'a gateway_api::TcpRoute,
        rule: &'a gateway_api::tcp_route::Rule,
    ) -> Arc<Route> {
        let targets =
            rule.backends.iter().map(|backend| (self.backend(object, port, backend), u64::from(backend.weight)));
        let targets: Vec<_> = targets.collect();
        let limits = targets.first().map(|(first, _)| first.limits).unwrap_or_default();
        let steering = Steering { asked: route.asked, ..Steering::default() };
        self.finish(at, Found { object, rule: 0, id: 0, steering, limits, targets })
    }

    /// Weighs the destinations of a route, if anything about it is new.
    fn finish(&mut self, at: &str, found: Found<'_>) -> Arc<Route> {
        let Found { object, rule, id, steering, limits, targets } = found;
        let targets = summed(&targets);
        let Key { kind, namespace, name } = &object.key;
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
            kind: object.key.kind,
            namespace: object.key.namespace.clone(),
            object: object.key.name.clone(),
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
        Kind::TcpRoute => format!("TCPRoute {namespace}/{name}@{at}"),
        _ => format!("{namespace}/{name}#{id}@{at}"),
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
    // The only destination of a VirtualService gets everything, even with weight 0; that of a TCPRoute does not.
    let sole = targets.len() == 1 && kind == Kind::VirtualService;
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
