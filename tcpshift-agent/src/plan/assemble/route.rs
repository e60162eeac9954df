//! From the intent of a rule to its route. A route that comes out as it was in the last plan is that one: neither its
//! destinations nor its table are made again.

use std::sync::Arc;

use tcpshift_common::address::family;
use tcpshift_common::decide::{Steer, steer};

use super::Assembler;
use crate::plan::datapath::{self, ServedAt};
use crate::plan::intent::{Backend, RouteIntent};
use crate::plan::weigh::Layout;
use crate::plan::{Chosen, Destination, Kind, Limits, OnEmpty, Route, WeightTable, Wish};

/// Whose route it is.
pub(super) struct Owner<'a> {
    pub(super) kind: Kind,
    pub(super) namespace: &'a str,
    pub(super) object: &'a str,
    /// Index of the rule.
    pub(super) rule: usize,
    /// Which rule it is among those that the object has or had.
    pub(super) id: u32,
}

/// What it does, beside where it leads.
pub(super) struct Conduct {
    pub(super) steer: Steer,
    pub(super) on_empty: OnEmpty,
    pub(super) limits: Limits,
    pub(super) asked: Wish,
}

impl Assembler<'_> {
    /// The route of a rule, for clients of a family. `at` says where it is served.
    pub(super) fn route(&mut self, at: &str, intent: &RouteIntent, family: u32, site: &ServedAt) -> Arc<Route> {
        let RouteIntent { kind, namespace, object, rule, steer, on_empty, limits, asked, destinations } = intent;
        let id = match kind {
            Kind::VirtualService => {
                let last = self.lineage.take(*rule, destinations).map(|last| last.id);
                last.unwrap_or_else(|| self.memory.register.new_rule())
            }
            _ => 0,
        };
        let owner = Owner { kind: *kind, namespace, object, rule: *rule, id };
        let conduct = Conduct { steer: *steer, on_empty: *on_empty, limits: *limits, asked: *asked };
        self.finish(at, &owner, &conduct, destinations, family, site)
    }

    /// Numbers and weighs a route, if anything about it is new.
    pub(super) fn finish(
        &mut self,
        at: &str,
        owner: &Owner<'_>,
        conduct: &Conduct,
        to: &[(Arc<Backend>, u64)],
        family: u32,
        site: &ServedAt,
    ) -> Arc<Route> {
        let Owner { kind, namespace, object, rule, id } = *owner;
        let name = self::name(kind, namespace, object, id, at);
        let number = self.memory.register.routes.number(&name);
        self.used.routes.push(number);
        let sets: Vec<u32> = to.iter().map(|(backend, _)| self.set(backend, family)).collect();
        let serves = |set: &u32| self.memory.states.sets().get(*set).unusable.is_none();
        let weights: Vec<_> = to
            .iter()
            .zip(&sets)
            .map(|((backend, weight), set)| (backend.name.as_str(), *weight, serves(set)))
            .collect();
        let previous = self.previous.get(&number).copied();
        let table = table(kind, &weights, conduct.steer, conduct.on_empty);
        // A table that is filled in already need not be filled in again.
        let table = previous.map(|previous| &previous.table).filter(|last| **last == table).cloned().unwrap_or(table);
        let destinations = to
            .iter()
            .zip(&sets)
            .zip(table.shares())
            .map(|(((backend, weight), set), slots)| self.destination(&name, backend, *weight, *set, slots));
        let mut route = Route {
            number,
            kind,
            namespace: namespace.to_owned(),
            object: object.to_owned(),
            rule,
            id,
            steer: conduct.steer,
            on_empty: conduct.on_empty,
            limits: conduct.limits,
            asked: conduct.asked,
            chosen: Chosen::default(),
            destinations: destinations.collect(),
            table,
        };
        route.chosen = datapath::choose(&route, self.memory.states.sets(), site, self.host);
        match previous {
            Some(previous) if **previous == route => Arc::clone(previous),
            _ => Arc::new(route),
        }
    }

    /// The number of the set of a backend.
    pub(super) fn set(&mut self, backend: &Arc<Backend>, family: u32) -> u32 {
        let number = self.memory.states.number(backend, family);
        self.used.sets.push(number);
        number
    }

    fn destination(&mut self, route: &str, backend: &Backend, weight: u64, set: u32, slots: u32) -> Destination {
        let Backend { name, host, subset, port, settings, choice, .. } = backend;
        let register = &mut self.memory.register;
        let number = register.destinations.number(&format!("{route}>{name}"));
        let target = register.targets.number(name);
        self.used.destinations.push(number);
        self.used.targets.push(target);
        Destination {
            name: name.clone(),
            host: host.clone(),
            subset: subset.clone(),
            port: *port,
            number,
            target,
            weight,
            slots,
            settings: *settings,
            choice: *choice,
            set,
        }
    }

    /// A route without what clients of a family cannot reach. `at` says where it is served, and to which family. If they
    /// reach everything, it is the same route.
    pub(super) fn for_family(
        &mut self,
        route: &Arc<Route>,
        to: &[(Arc<Backend>, u64)],
        at: &str,
        family: u32,
        site: &ServedAt,
    ) -> Arc<Route> {
        let reaches = |destination: &Destination| {
            let nature = self.memory.states.sets().of(destination).nature();
            !nature.unix && (family == family::V6 || !nature.v6)
        };
        let whole: Vec<bool> = route.destinations.iter().map(reaches).collect();
        if whole.iter().all(|whole| *whole) {
            return Arc::clone(route);
        }
        let Route { kind, namespace, object, id, steer, on_empty, .. } = &**route;
        let name = self::name(*kind, namespace, object, *id, at);
        let mut variant = Route::clone(route);
        variant.number = self.memory.register.routes.number(&name);
        self.used.routes.push(variant.number);
        for ((destination, (backend, _)), is_whole) in variant.destinations.iter_mut().zip(to).zip(whole) {
            // It keeps its number: its connections are counted together, whatever their clients' family.
            if !is_whole {
                destination.set = self.set(backend, family);
            }
        }
        if *on_empty == OnEmpty::Redistribute {
            let sets = self.memory.states.sets();
            let weights = variant.destinations.iter();
            let weights: Vec<_> =
                weights.map(|one| (one.name.as_str(), one.weight, sets.of(one).unusable.is_none())).collect();
            variant.table = table(*kind, &weights, *steer, *on_empty);
            for (destination, slots) in variant.destinations.iter_mut().zip(variant.table.shares()) {
                destination.slots = slots;
            }
        }
        variant.chosen = datapath::choose(&variant, self.memory.states.sets(), site, self.host);
        match self.previous.get(&variant.number).copied() {
            Some(previous) if **previous == variant => Arc::clone(previous),
            Some(previous) => {
                // A table that is filled in already need not be filled in again.
                if previous.table == variant.table {
                    variant.table = previous.table.clone();
                }
                Arc::new(variant)
            }
            None => Arc::new(variant),
        }
    }
}

/// The name that a route's number belongs to.
fn name(kind: Kind, namespace: &str, object: &str, id: u32, at: &str) -> String {
    match kind {
        Kind::VirtualService => format!("{namespace}/{object}#{id}@{at}"),
        kind => format!("{} {namespace}/{object}@{at}", kind.name()),
    }
}

/// Weighs destinations, each with its name, its weight, and whether it can serve anything.
fn table(kind: Kind, destinations: &[(&str, u64, bool)], steer: Steer, on_empty: OnEmpty) -> WeightTable {
    // The only destination of a VirtualService or a service gets everything, even with weight 0; that of a TCPRoute does not.
    let sole = destinations.len() == 1 && kind != Kind::TcpRoute;
    let weight = |weight: u64| if sole { 1 } else { weight };
    let mut weights: Vec<(String, u64)> =
        destinations.iter().map(|(name, own, _)| ((*name).to_owned(), weight(*own))).collect();
    let serves = |index: usize, weight: u64| destinations[index].2 && weight > 0;
    let any_serves = weights.iter().enumerate().any(|(index, (_, weight))| serves(index, *weight));
    if on_empty == OnEmpty::Redistribute && any_serves {
        for (index, (_, weight)) in weights.iter_mut().enumerate() {
            if !serves(index, *weight) {
                *weight = 0;
            }
        }
    }
    let layout = if steer.by == steer::SEQUENCE { Layout::Sorted } else { Layout::Scattered };
    WeightTable::new(layout, &weights)
}
