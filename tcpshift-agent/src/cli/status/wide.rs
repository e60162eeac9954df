//! One listener with its routes and destinations, as a table of all that there is: it may be wide.

use super::line;
use super::words::{achieved, are_alike, datapath, health, last_failure, troubles, weight, why};
use crate::admin::api::{DestinationStatus, ListenerStatus, RouteStatus, SteeredStatus};
use crate::cli::table::TextTable;
use crate::cli::{quantity, screen};

/// One listener and its routes.
pub(in crate::cli) fn of_listener(listener: &ListenerStatus) -> String {
    let ListenerStatus { name, address, routes, .. } = listener;
    let mut text = format!("{}\n", screen::heading(&screen::clean(&format!("{name} at {address}"))));
    for trouble in troubles(listener) {
        line(&mut text, &trouble);
    }
    datapaths(&mut text, routes);
    if routes.is_empty() {
        return text;
    }
    let mut table = TextTable::new([
        "ROUTE",
        "DESTINATION",
        "WEIGHT",
        "SLOTS",
        "SHARE",
        "OPENED",
        "ACHIEVED",
        "ACTIVE",
        "FAILED",
        "ENDPOINTS",
        "HEALTH",
        "LAST FAILURE",
        "SINCE-CHANGE",
        "NEW/S",
        "STEER-BY",
        "DATAPATH",
        "CLOSED",
        "SENT",
        "RECEIVED",
        "RTT",
        "WHY",
    ]);
    for route in routes {
        for destination in &route.destinations {
            table.push(&row(route, destination));
        }
    }
    let empty = ["LAST FAILURE", "CLOSED", "SENT", "RECEIVED", "RTT", "WHY"];
    text.push_str(&empty.into_iter().fold(table, TextTable::without_empty).text());
    text
}

/// How connections reach endpoints, and why: in one line if that is the same for all routes.
fn datapaths(text: &mut String, routes: &[RouteStatus]) {
    let alike = are_alike(routes);
    for route in routes.iter().take(if alike { 1 } else { usize::MAX }) {
        if !alike {
            text.push_str(&screen::clean(&format!("{}: ", route.name)));
        }
        let said = screen::clean(&datapath(route));
        text.push_str(&if route.datapath == "none" { screen::alarm(&said) } else { said });
        text.push('\n');
    }
}

fn row(route: &RouteStatus, destination: &DestinationStatus) -> Vec<String> {
    let mut row = vec![
        route.name.clone(),
        destination.name.clone(),
        weight(destination),
        destination.slots.to_string(),
        quantity::percent(destination.slots),
        destination.opened.to_string(),
        destination.achieved.map_or_else(|| "-".to_owned(), achieved),
        destination.active.to_string(),
        destination.failed.to_string(),
        destination.endpoints.to_string(),
        health(destination),
        destination.last_failure.as_ref().map(last_failure).unwrap_or_default(),
        destination.opened_since_change.to_string(),
        format!("{:.1}", destination.rates.opened.ten),
        route.steer_by.clone(),
        route.datapath.clone(),
    ];
    row.extend(steered(destination.steered));
    row.push(why(destination).join("; "));
    row
}

/// What the kernel recorded of closed connections that it steered: how many, bytes both ways, and the mean round trip.
fn steered(steered: Option<SteeredStatus>) -> [String; 4] {
    steered.map_or_else(Default::default, |SteeredStatus { closed, bytes_sent, bytes_received, rtt_microseconds }| {
        [closed.to_string(), bytes_sent.to_string(), bytes_received.to_string(), format!("{rtt_microseconds}us")]
    })
}
