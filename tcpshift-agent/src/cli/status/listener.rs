//! One listener with its routes and destinations, as a table.

use super::{counted, line};
use crate::admin::api::{Achieved, DestinationStatus, ListenerStatus, RouteStatus, SteeredStatus};
use crate::cli::table::TextTable;
use crate::cli::{quantity, screen};

/// One listener and its routes.
pub(in crate::cli) fn of_listener(listener: &ListenerStatus, wide: bool) -> String {
    let ListenerStatus { name, address, down, unrouted, routes } = listener;
    let mut text = format!("{}\n", screen::heading(&screen::clean(&format!("{name} at {address}"))));
    if let Some(reason) = down {
        text.push_str(&screen::alarm("not served:"));
        line(&mut text, &format!(" {reason}"));
    }
    if *unrouted > 0 {
        let unrouted = quantity::count(*unrouted, "connection");
        line(&mut text, &format!("{unrouted} reset: no rule fitted"));
    }
    datapaths(&mut text, routes);
    if routes.is_empty() {
        line(&mut text, if down.is_some() { "no route" } else { "no route: every connection is refused" });
        return text;
    }
    let mut headings =
        vec!["ROUTE", "DESTINATION", "WEIGHT", "SLOTS", "SHARE", "OPENED", "ACHIEVED", "ACTIVE", "FAILED"];
    headings.push("ENDPOINTS");
    if wide {
        headings.extend(["SINCE-CHANGE", "STEER-BY", "DATAPATH", "CLOSED", "SENT", "RECEIVED", "RTT"]);
    }
    headings.push("WHY");
    let mut table = TextTable::new(headings);
    for route in routes {
        for destination in &route.destinations {
            table.push(&row(route, destination, wide));
        }
    }
    let table = ["CLOSED", "SENT", "RECEIVED", "RTT", "WHY"].into_iter().fold(table, TextTable::without_empty);
    text.push_str(&table.text());
    text
}

/// How connections reach endpoints, and why: in one line if that is the same for all routes.
fn datapaths(text: &mut String, routes: &[RouteStatus]) {
    let same =
        |one: &RouteStatus, other: &RouteStatus| (&one.datapath, &one.reason) == (&other.datapath, &other.reason);
    let alike = routes.windows(2).all(|pair| same(&pair[0], &pair[1]));
    for route in routes.iter().take(if alike { 1 } else { usize::MAX }) {
        let RouteStatus { name, datapath, reason, .. } = route;
        if !alike {
            text.push_str(&screen::clean(&format!("{name}: ")));
        }
        let which = format!("datapath {datapath}");
        text.push_str(&if datapath == "none" { screen::alarm(&which) } else { screen::clean(&which) });
        line(text, &if reason.is_empty() { String::new() } else { format!(": {reason}") });
    }
}

fn row(route: &RouteStatus, destination: &DestinationStatus, wide: bool) -> Vec<String> {
    let mut row = vec![
        route.name.clone(),
        destination.name.clone(),
        // What has slots without a weight is alone, and its route file gives none.
        if destination.weight == 0 && destination.slots > 0 { "-".to_owned() } else { destination.weight.to_string() },
        destination.slots.to_string(),
        quantity::percent(destination.slots),
        destination.opened.to_string(),
        destination.achieved.map_or_else(|| "-".to_owned(), achieved),
        destination.active.to_string(),
        destination.failed.to_string(),
        destination.endpoints.to_string(),
    ];
    if wide {
        row.extend([destination.opened_since_change.to_string(), route.steer_by.clone(), route.datapath.clone()]);
        row.extend(steered(destination.steered));
    }
    row.push(why(destination));
    row
}

/// What the kernel recorded of closed connections that it steered: how many, bytes both ways, and the mean round trip.
fn steered(steered: Option<SteeredStatus>) -> [String; 4] {
    steered.map_or_else(Default::default, |SteeredStatus { closed, bytes_sent, bytes_received, rtt_microseconds }| {
        [closed.to_string(), bytes_sent.to_string(), bytes_received.to_string(), format!("{rtt_microseconds}us")]
    })
}

/// `20.3 % [18.1, 22.7]`
fn achieved(Achieved { share, low, high }: Achieved) -> String {
    format!("{:.1} % [{:.1}, {:.1}]", share * 100.0, low * 100.0, high * 100.0)
}

/// Why nothing can be served, what failed, each reason once, what the agent ended, and how much of a limit is used:
/// `no endpoint (17); connection refused (2); 5 ended by idle timeout; 7 of maxConnections 50 in use`
fn why(DestinationStatus { unusable, failures, ended, limit, .. }: &DestinationStatus) -> String {
    let uncounted = unusable.iter().filter(|reason| failures.iter().all(|failure| failure.reason != **reason));
    let ended = ended.iter().map(|ended| format!("{} ended by {}", ended.count, ended.reason));
    let limit = limit.map(|limit| format!("{} of maxConnections {} in use", limit.carried, limit.most));
    uncounted.cloned().chain(failures.iter().map(counted)).chain(ended).chain(limit).collect::<Vec<_>>().join("; ")
}
