//! Parts of a status in words, for tables of any width.

use crate::admin::api::{
    Achieved, BeforeStatus, DestinationStatus, LastFailureStatus, ListenerStatus, RouteStatus, Trouble,
};
use crate::cli::quantity;

/// `no endpoint (17)`
pub(super) fn counted(Trouble { reason, count }: &Trouble) -> String {
    format!("{reason} ({count})")
}

/// What is wrong with a listener itself.
pub(super) fn troubles(ListenerStatus { down, unrouted, routes, .. }: &ListenerStatus) -> Vec<String> {
    let mut troubles: Vec<String> = down.iter().map(|reason| format!("not served: {reason}")).collect();
    if *unrouted > 0 {
        troubles.push(format!("{} reset: no rule fitted", quantity::count(*unrouted, "connection")));
    }
    if routes.is_empty() {
        let all = if down.is_some() { "no route" } else { "no route: every connection is refused" };
        troubles.push(all.to_owned());
    }
    troubles
}

/// Whether all routes have one datapath for one reason.
pub(super) fn are_alike(routes: &[RouteStatus]) -> bool {
    let words = |route: &RouteStatus| (route.datapath.clone(), route.reason.clone());
    routes.windows(2).all(|pair| words(&pair[0]) == words(&pair[1]))
}

/// `datapath proxy: nothing listens at 10.0.0.1:9000`
pub(super) fn datapath(RouteStatus { datapath, reason, .. }: &RouteStatus) -> String {
    if reason.is_empty() { format!("datapath {datapath}") } else { format!("datapath {datapath}: {reason}") }
}

/// What has slots without a weight is alone, and its route file gives none.
pub(super) fn weight(destination: &DestinationStatus) -> String {
    if destination.weight == 0 && destination.slots > 0 { "-".to_owned() } else { destination.weight.to_string() }
}

/// `20.3 % [18.1, 22.7]`
pub(super) fn achieved(Achieved { share, low, high }: Achieved) -> String {
    format!("{:.1} % [{:.1}, {:.1}]", share * 100.0, low * 100.0, high * 100.0)
}

/// Endpoints that nothing is known against, of all: `2/3`.
pub(super) fn health(DestinationStatus { ready, endpoints, .. }: &DestinationStatus) -> String {
    ready.map_or_else(|| "-".to_owned(), |ready| format!("{ready}/{endpoints}"))
}

/// `3s ago: connection refused`
pub(super) fn last_failure(failure: &LastFailureStatus) -> String {
    format!("{}: {}", ago(failure), failure.reason)
}

/// `3s ago`
pub(super) fn ago(LastFailureStatus { seconds_ago, .. }: &LastFailureStatus) -> String {
    format!("{} ago", quantity::short(*seconds_ago))
}

/// Why nothing can be served, what failed, each reason once, what the agent ended, how much of a limit is used, what is known
/// against endpoints, and what the agent before still carries: `no endpoint (17)`, `5 ended by idle timeout`.
pub(super) fn why(destination: &DestinationStatus) -> Vec<String> {
    let DestinationStatus { unusable, failures, ended, limit, before, by_endpoint, .. } = destination;
    let uncounted = unusable.iter().filter(|reason| failures.iter().all(|failure| failure.reason != **reason));
    let ended = ended.iter().map(|ended| format!("{} ended by {}", ended.count, ended.reason));
    let limit = limit.map(|limit| format!("{} of maxConnections {} in use", limit.carried, limit.most));
    let before = (*before > 0).then(|| format!("{before} more still carried by the agent before this one"));
    let unready: Vec<_> =
        by_endpoint.iter().filter_map(|one| Some(format!("{} at {}", one.unready.as_ref()?, one.address))).collect();
    let unready = match &unready[..] {
        [] => None,
        [one] => Some(one.clone()),
        [first, others @ ..] => Some(format!("{first}, and so at {} more", others.len())),
    };
    uncounted
        .cloned()
        .chain(failures.iter().map(counted))
        .chain(ended)
        .chain(limit)
        .chain(unready)
        .chain(before)
        .collect()
}

/// `18 connections still carried by the agent before this one (pid 12)`
pub(super) fn before(BeforeStatus { agent, active }: &BeforeStatus) -> String {
    format!("{} still carried by the agent before this one ({agent})", quantity::count(*active, "connection"))
}
