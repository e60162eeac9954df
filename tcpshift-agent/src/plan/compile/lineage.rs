//! Which route of the last plan a rule of an object has: numbers, and with them counters, stay with a rule while rules
//! before it come and go.
//!
//! What a rule is for says who it is, and where that is new, whom it leads to. Its index says nothing.

use std::collections::HashMap;
use std::sync::Arc;

use tcpshift_common::address::Prefix;
use tcpshift_common::listener::RuleRow;

use super::target::Target;
use super::ways::{self, Key};
use crate::plan::Route;
use crate::route::object::Object;

/// The routes of one object at one listener of the last plan.
#[derive(Default)]
pub(super) struct Lineage<'a> {
    /// By the index that the rule has now.
    found: HashMap<usize, &'a Arc<Route>>,
    /// Routes whose matches no rule has any more.
    orphans: Vec<&'a Arc<Route>>,
}

impl<'a> Lineage<'a> {
    /// Finds the routes of an object among `routes`, to which `rules` lead, for its rules, each with the ways into it.
    pub(super) fn new(
        object: &Object,
        (rules, routes): (&'a [RuleRow], &'a [Arc<Route>]),
        entrances: impl Iterator<Item = Vec<(Prefix, Prefix)>>,
    ) -> Self {
        let is_own = |route: &Route| {
            let key = &object.key;
            (route.kind, &route.namespace, &route.object) == (key.kind, &key.namespace, &key.name)
        };
        let mut owners: HashMap<(Key, Key), u32> = HashMap::new();
        for rule in rules.iter().filter(|rule| routes.get(rule.route as usize).is_some_and(|route| is_own(route))) {
            owners.insert((ways::key(&rule.source), ways::key(&rule.destination)), rule.route);
        }
        let mut pairs = Vec::new();
        for (index, entrances) in entrances.enumerate() {
            let mut shared: HashMap<u32, usize> = HashMap::new();
            let keys = entrances.iter().map(|(source, destination)| (ways::key(source), ways::key(destination)));
            keys.filter_map(|key| owners.get(&key)).for_each(|route| *shared.entry(*route).or_default() += 1);
            pairs.extend(shared.into_iter().map(|(route, count)| (std::cmp::Reverse(count), index, route)));
        }
        // Whom most ways lead to comes first.
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
    pub(super) fn take(&mut self, index: usize, targets: &[(Arc<Target>, u64)]) -> Option<&'a Arc<Route>> {
        if let Some(route) = self.found.remove(&index) {
            return Some(route);
        }
        let leads_to = |route: &Route, target: &Target| route.destinations.iter().any(|one| one.name == target.name);
        let all = |route: &&Arc<Route>| {
            route.destinations.len() == targets.len() && targets.iter().all(|(target, _)| leads_to(route, target))
        };
        let some =
            |route: &&Arc<Route>| route.rule == index && targets.iter().any(|(target, _)| leads_to(route, target));
        let at = self.orphans.iter().position(all).or_else(|| self.orphans.iter().position(some))?;
        Some(self.orphans.swap_remove(at))
    }
}
