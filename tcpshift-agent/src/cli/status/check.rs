//! `status --check`: whether any share is refused now.

use crate::admin::api::{DestinationStatus, ListenerStatus, RouteStatus, StatusReply};
use crate::cli::quantity;

/// A line that says which shares are refused, and whether any is.
pub(super) fn check(status: &StatusReply) -> (String, bool) {
    let refused: Vec<String> = status.listeners.iter().flat_map(of_listener).collect();
    match &refused[..] {
        [] => {
            let routes = status.listeners.iter().map(|listener| listener.routes.len() as u64).sum();
            (format!("no share is refused: {}", quantity::count(routes, "route")), false)
        }
        [one] => (format!("refused: {one}"), true),
        [one, others @ ..] => (format!("refused: {one}; and {} more", others.len()), true),
    }
}

fn of_listener(listener: &ListenerStatus) -> Vec<String> {
    let of_route = |route: &RouteStatus| {
        if let Some(why) = whole(listener, route) {
            return vec![format!("{} (100 %): {why}", route.name)];
        }
        let refused = route.destinations.iter().filter_map(|one| Some((one, of_destination(one)?)));
        let say = |(one, why): (&DestinationStatus, String)| {
            format!("{} to {} ({}): {why}", route.name, one.name, quantity::percent(one.slots))
        };
        refused.map(say).collect()
    };
    listener.routes.iter().flat_map(of_route).collect()
}

/// Why all of a route is refused. Where the agent cannot listen, programs still hand connections over.
fn whole(listener: &ListenerStatus, route: &RouteStatus) -> Option<String> {
    if route.datapath == "none" {
        return Some(route.reason.clone());
    }
    listener.down.clone().filter(|_| route.datapath != "lookup")
}

/// Why the share of a destination is refused, if it has one.
fn of_destination(destination: &DestinationStatus) -> Option<String> {
    let DestinationStatus { slots, unusable, ready, by_endpoint, limit, .. } = destination;
    if *slots == 0 {
        return None;
    }
    let unready = || by_endpoint.iter().find_map(|one| Some(format!("{} at {}", one.unready.as_ref()?, one.address)));
    let full = || limit.filter(|limit| limit.carried >= u64::from(limit.most));
    let unready = if *ready == Some(0) { unready() } else { None };
    unready
        .or_else(|| unusable.clone())
        .or_else(|| full().map(|limit| format!("{} connections, which is maxConnections", limit.carried)))
}
