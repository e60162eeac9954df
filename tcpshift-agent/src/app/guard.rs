//! Guard rails: a change by which more of a route's new connections would be refused is not made unless that is asked for.
//!
//! Only routes that remain count: one that goes takes nothing from another, and one that comes had no connections. A change that makes
//! it better, or no worse, is never hindered.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use tcpshift_common::SLOTS;

use crate::admin::api::{ApiFailure, FailureReason};
use crate::plan::datapath::refusal;
use crate::plan::{Destination, EndpointAddress, Kind, Plan, Route, RouteChanges, Sets};
use crate::route::names;
use crate::route::shift::percent;

/// Routes that are named, at most.
const NAMED: usize = 3;

/// What a change is held against.
pub(super) struct Guard<'a> {
    pub(super) last: (&'a Plan, &'a Sets),
    pub(super) next: (&'a Plan, &'a Sets),
    pub(super) changes: &'a RouteChanges,
    /// Endpoints of this host at which nobody listens.
    pub(super) silent: &'a BTreeSet<SocketAddr>,
}

/// A route in all plans that have it.
type RouteId<'a> = (Kind, &'a str, &'a str, u32);

impl Guard<'_> {
    /// Fails if more connections would be refused, with the routes and shares.
    pub(super) fn check(&self) -> Result<(), ApiFailure> {
        let worse = self.worse();
        if worse.is_empty() {
            return Ok(());
        }
        let named = names::and_more(&worse[..worse.len().min(NAMED)], worse.len().saturating_sub(NAMED));
        let message = format!(
            "more new connections would be refused; nothing is changed: {named}; with --force (of apply: without --strict) it \
             is done all the same"
        );
        Err(ApiFailure::new(FailureReason::Guarded, message))
    }

    /// Of which routes more would be refused, in words.
    fn worse(&self) -> Vec<String> {
        let (before, after) = self.changes.concerned(self.last, self.next);
        let mut known: HashMap<RouteId<'_>, u32> = HashMap::new();
        for route in before {
            let share = known.entry(id(route)).or_default();
            *share = (*share).max(self.refused(route, self.last.1).0);
        }
        let mut told = BTreeSet::new();
        for route in after {
            let Some(&last) = known.get(&id(route)) else { continue };
            let (now, reason) = self.refused(route, self.next.1);
            if now > last {
                let (now, last) = (percent(now.into()), percent(last.into()));
                told.insert(format!("{}: {now} instead of {last} ({reason})", route.name()));
            }
        }
        told.into_iter().collect()
    }

    /// How many slots of a route are refused, and why the last of them are.
    fn refused(&self, route: &Route, sets: &Sets) -> (u32, String) {
        if let Some(reason) = refusal(route) {
            return (SLOTS, reason);
        }
        let mut refused = (0, String::new());
        for destination in route.destinations.iter().filter(|destination| destination.slots > 0) {
            if let Some(reason) = self.fault(destination, sets) {
                refused = (refused.0 + destination.slots, format!("{}: {reason}", destination.name));
            }
        }
        refused
    }

    /// Why a destination serves nobody, as far as that is known.
    fn fault(&self, destination: &Destination, sets: &Sets) -> Option<String> {
        let set = sets.of(destination);
        if let Some(unusable) = &set.unusable {
            return Some(unusable.to_string());
        }
        let is_silent =
            |address: &EndpointAddress| matches!(address, EndpointAddress::Tcp(at) if self.silent.contains(at));
        let are_silent = set.endpoints.iter().all(|endpoint| is_silent(&endpoint.address));
        (are_silent && !set.endpoints.is_empty()).then(|| "nobody listens at its endpoints".to_owned())
    }
}

fn id(route: &Route) -> RouteId<'_> {
    (route.kind, &route.namespace, &route.object, route.id)
}
