//! Cautions: what somebody who has applied objects should know, beside that they are in force.

use std::collections::HashSet;
use std::sync::Arc;

use crate::analyze::{self, Finding, Ground, code};
use crate::plan::datapath::refusal;
use crate::plan::{Plan, Route, RouteChanges, Sets};
use crate::route::kind::Kind;
use crate::route::object::Key;
use crate::route::problem::Problem;
use crate::route::store::Store;

/// What goes wrong in silence with objects that were applied, or since they were.
pub(super) fn silent(keys: &HashSet<Key>, last: &Store, store: &Store, ground: &mut Ground) -> Vec<Problem> {
    let mut found = |store: &Store| analyze::told_everywhere(store, keys, ground);
    let mut findings = found(store);
    // Refused shares are said of the plan.
    findings.retain(|finding| finding.code != code::NO_ADDRESS);
    let is_applied = |finding: &Finding| finding.key.as_ref().is_some_and(|key| keys.contains(key));
    if !findings.iter().all(is_applied) {
        let known = found(last);
        let is_new = |finding: &Finding| {
            !known.iter().any(|other| (&other.key, &other.message) == (&finding.key, &finding.message))
        };
        findings.retain(|finding| is_applied(finding) || is_new(finding));
    }
    findings.into_iter().map(Finding::into_warning).collect()
}

/// What somebody who has just applied objects should know: what is new among the notes of the plan and among
/// the routes and shares that are refused, and which of the routes that are different now are refused still.
pub(super) fn cautions(
    keys: &HashSet<Key>,
    (last, last_sets): (&Plan, &Sets),
    (plan, sets): (&Plan, &Sets),
    changes: &RouteChanges,
) -> Vec<String> {
    let (before, after) = changes.concerned((last, last_sets), (plan, sets));
    let applied: HashSet<(Kind, &str, &str)> =
        keys.iter().map(|key| (key.kind, key.namespace.as_str(), key.name.as_str())).collect();
    let different: HashSet<_> = changes.new.iter().map(Arc::as_ptr).collect();
    let is_own = |route: &&Arc<Route>| {
        different.contains(&Arc::as_ptr(route))
            && applied.contains(&(route.kind, route.namespace.as_str(), route.object.as_str()))
    };
    let refused_before = before.into_iter().flat_map(|route| refused(route, last_sets));
    let mut known: HashSet<String> = last.notes.iter().cloned().chain(refused_before).collect();
    // Of what is applied, and different, it is said again.
    let (own, others): (Vec<_>, Vec<_>) = after.into_iter().partition(is_own);
    let others = others.into_iter().flat_map(|route| refused(route, sets));
    let new = plan.notes.iter().cloned().chain(others).filter(|caution| !known.contains(caution));
    let own = own.into_iter().flat_map(|route| refused(route, sets));
    let mut cautions: Vec<String> = new.chain(own).collect();
    known.clear();
    // A rule may be served at several addresses.
    cautions.retain(|caution| known.insert(caution.clone()));
    cautions
}

/// In words, what of a route's connections is refused.
fn refused(route: &Route, sets: &Sets) -> Vec<String> {
    let destinations = route.destinations.iter().filter(|destination| destination.slots > 0);
    let unusable = destinations.filter_map(|destination| {
        let (reason, name) = (sets.of(destination).unusable.as_ref()?, &destination.name);
        Some(format!("{} {}: {name}: {reason}; its share is refused", route.kind.name(), route.name()))
    });
    refusal(route).into_iter().chain(unusable).collect()
}
