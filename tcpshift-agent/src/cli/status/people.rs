//! A listener, and one route, for a person: no line is longer than a screen is wide.

use super::words::{achieved, ago, are_alike, datapath, health, last_failure, troubles, weight, why};
use crate::admin::api::{DestinationStatus, EndpointStatus, ListenerStatus, RateStatus, RouteStatus};
use crate::cli::narrow::{NarrowTable, paragraph};
use crate::cli::{quantity, screen};

/// One listener with a row for each destination.
pub(super) fn of_listener(listener: &ListenerStatus) -> String {
    let ListenerStatus { name, address, routes, .. } = listener;
    let mut text = headline(&format!("{name} at {address}"));
    for trouble in troubles(listener) {
        text.push_str(&alarming(&trouble, trouble.starts_with("not served")));
    }
    let Some(first) = routes.first() else { return text };
    let alike = are_alike(routes);
    if alike {
        text.push_str(&alarming(&datapath(first), first.datapath == "none"));
    }
    let heading = ["DESTINATION", "SHARE", "OPENED", "ACHIEVED", "ACTIVE", "FAILED", "HEALTH", "LAST FAILURE"];
    let mut table = NarrowTable::new(heading);
    for route in routes {
        let name = format!("{}:", route.name);
        table.remark(0, &if alike { name } else { format!("{name} {}", datapath(route)) });
        for destination in &route.destinations {
            table.push([
                destination.name.clone(),
                quantity::percent(destination.slots),
                quantity::brief(destination.opened),
                destination.achieved.map_or_else(|| "-".to_owned(), |got| format!("{:.1} %", got.share * 100.0)),
                quantity::brief(destination.active),
                quantity::brief(destination.failed),
                health(destination),
                destination.last_failure.as_ref().map(ago).unwrap_or_default(),
            ]);
            let why = why(destination);
            if !why.is_empty() {
                table.remark(2, &why.join("; "));
            }
        }
    }
    text.push_str(&table.without_empty("LAST FAILURE").text(0));
    text
}

/// One route with all that is known of its destinations and endpoints.
pub(super) fn of_route(listener: &ListenerStatus, route: &RouteStatus) -> String {
    let mut text = headline(&format!("{} at {}, {}", route.name, listener.name, listener.address));
    if let Some(down) = &listener.down {
        text.push_str(&alarming(&format!("not served: {down}"), true));
    }
    text.push_str(&paragraph(&format!("steered by {}", route.steer_by), 0));
    text.push_str(&alarming(&datapath(route), route.datapath == "none"));
    for destination in &route.destinations {
        text.push('\n');
        text.push_str(&of_destination(destination));
    }
    text
}

fn of_destination(destination: &DestinationStatus) -> String {
    let DestinationStatus { name, slots, opened, active, failed, rates, by_endpoint, .. } = destination;
    let [sent, received] = [destination.bytes_sent, destination.bytes_received];
    let mut text = headline(name);
    let mut say = |words: &str| text.push_str(&paragraph(words, 2));
    say(&format!("weight {}, {slots} of 10000 slots: {}", weight(destination), quantity::percent(*slots)));
    if let Some(got) = destination.achieved {
        let since = quantity::count(destination.opened_since_change, "connection");
        say(&format!("achieved {}: {since} since the weights changed", achieved(got)));
    }
    say(&format!("{opened} opened, {active} active, {failed} failed; {} endpoints ready", health(destination)));
    say(&format!("{sent} bytes from clients, {received} bytes to them"));
    let why = why(destination);
    if !why.is_empty() {
        say(&why.join("; "));
    }
    if let Some(failure) = &destination.last_failure {
        say(&format!("last failure {}", last_failure(failure)));
    }
    let mut table = NarrowTable::new(["CONNECTIONS A SECOND", "1 s", "10 s", "60 s"]);
    for (what, RateStatus { second, ten, minute }) in [("new", rates.opened), ("failed", rates.failed)] {
        let [second, ten, minute] = [second, ten, minute].map(|rate| format!("{rate:.1}"));
        table.push([what.to_owned(), second, ten, minute]);
    }
    text.push_str(&table.text(2));
    if !by_endpoint.is_empty() {
        text.push_str(&of_endpoints(by_endpoint));
    }
    text
}

fn of_endpoints(endpoints: &[EndpointStatus]) -> String {
    let heading = ["ENDPOINT", "OPENED", "ACTIVE", "FAILED", "NEW/S", "HEALTH", "LAST FAILURE"];
    let mut table = NarrowTable::new(heading);
    for endpoint in endpoints {
        let EndpointStatus { address, opened, failed, active, unready, rates, last_failure } = endpoint;
        table.push([
            address.clone(),
            quantity::brief(*opened),
            quantity::brief(*active),
            quantity::brief(*failed),
            format!("{:.1}", rates.opened.ten),
            if unready.is_some() { "-" } else { "ready" }.to_owned(),
            last_failure.as_ref().map(ago).unwrap_or_default(),
        ]);
        let failure = last_failure.as_ref().map(|failure| format!("last failure: {}", failure.reason));
        let remarks: Vec<_> = unready.iter().cloned().chain(failure).collect();
        if !remarks.is_empty() {
            table.remark(2, &remarks.join("; "));
        }
    }
    table.without_empty("LAST FAILURE").text(2)
}

fn headline(text: &str) -> String {
    let lines = paragraph(text, 0);
    lines.lines().map(|line| screen::heading(line) + "\n").collect()
}

fn alarming(text: &str, is_alarm: bool) -> String {
    let lines = paragraph(text, 0);
    if is_alarm { lines.lines().map(|line| screen::alarm(line) + "\n").collect() } else { lines }
}
