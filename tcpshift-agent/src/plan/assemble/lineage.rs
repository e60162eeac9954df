//! Which route of the last plan a rule of an object has: numbers, and with them counters, stay with a rule while rules
//! before it come and go.
//!
//! A rule is the one before if it has the same match, else if it leads to the same destinations. Its index does not count.

use std::collections::HashMap;
use std::sync::Arc;

use tcpshift_common::listener::RuleRow;

use crate::plan::Route;
use crate::plan::intent::{Backend, RouteIntent};
use crate::plan::resolve::{PrefixKey, key};

/// The routes of one object at one listener of the last plan.
#[derive(Default)]
pub(super) struct Lineage<'a> {
    /// By the index that the rule has now.
    found: HashMap<usize, &'a Arc<Route>>,
    /// Routes whose matches no rule has any more.
    orphans: Vec<&'a Arc<Route>>,
}

impl<'a> Lineage<'a> {
    /// Finds the routes of the object that `one` is a rule of: its rules are those of a port, `now`, and the routes are among
    /// those of the last plan, `before`.
    pub(super) fn new(
        one: &RouteIntent,
        now: (&[RuleRow], &[Arc<RouteIntent>]),
        (rules, routes): (&'a [RuleRow], &'a [Arc<Route>]),
    ) -> Self {
        let is_own =
            |route: &Route| (route.kind, &route.namespace, &route.object) == (one.kind, &one.namespace, &one.object);
        let entrance = |rule: &RuleRow| (key(&rule.source), key(&rule.destination));
        let mut owners: HashMap<(PrefixKey, PrefixKey), u32> = HashMap::new();
        for rule in rules.iter().filter(|rule| routes.get(rule.route as usize).is_some_and(|route| is_own(route))) {
            owners.insert(entrance(rule), rule.route);
        }
        let mut entrances: HashMap<usize, Vec<(PrefixKey, PrefixKey)>> = HashMap::new();
        for rule in now.0 {
            let Some(route) = now.1.get(rule.route as usize) else { continue };
            if (route.kind, &route.namespace, &route.object) == (one.kind, &one.namespace, &one.object) {
                entrances.entry(route.rule).or_default().push(entrance(rule));
            }
        }
        let mut pairs = Vec::new();
        for (index, entrances) in entrances {
            let mut shared: HashMap<u32, usize> = HashMap::new();
            let found = entrances.iter().filter_map(|entrance| owners.get(entrance));
            found.for_each(|route| *shared.entry(*route).or_default() += 1);
            pairs.extend(shared.into_iter().map(|(route, count)| (std::cmp::Reverse(count), index, route)));
        }
        // The route that most ways lead to comes first.
        pairs.sort_unstable();
        let (mut found, mut taken) = (HashMap::new(), vec![false; routes.len()]);
        for (_, index, route) in pairs {
            if !found.contains_key(&index) && !std::mem::replace(&mut taken[route as usize], true) {
                found.insert(index, &routes[route as usize]);
            }
        }
        let orphans = routes.iter().zip(taken).filter(|(route, taken)| !taken && is_own(route));
        Self { found, orphans: orphans.map(|(route, _)| route).collect() }
    }

    /// The route that the rule at an index has in the last plan; if its match is new, one that led to the same, or that was
    /// the rule at this index and led to some of it.
    pub(super) fn take(&mut self, index: usize, to: &[(Arc<Backend>, u64)]) -> Option<&'a Arc<Route>> {
        if let Some(route) = self.found.remove(&index) {
            return Some(route);
        }
        let leads_to = |route: &Route, backend: &Backend| route.destinations.iter().any(|one| one.name == backend.name);
        let all = |route: &&Arc<Route>| {
            route.destinations.len() == to.len() && to.iter().all(|(backend, _)| leads_to(route, backend))
        };
        let some = |route: &&Arc<Route>| route.rule == index && to.iter().any(|(backend, _)| leads_to(route, backend));
        let at = self.orphans.iter().position(all).or_else(|| self.orphans.iter().position(some))?;
        Some(self.orphans.swap_remove(at))
    }
}
