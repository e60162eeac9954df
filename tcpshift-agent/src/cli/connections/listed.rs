//! A list of connections: in groups for people, within 80 columns where names let it; as one table for programs.

use crate::admin::api::{ConnectionStatus, ConnectionsReply};
use crate::cli::table::{TextTable, wrap};
use crate::cli::{quantity, screen};

/// Columns of a terminal.
const COLUMNS: usize = 80;

/// What stands for what nobody knows.
const UNKNOWN: &str = "-";

/// Those of one route, destination, endpoint and datapath together.
pub(super) fn groups(reply: &ConnectionsReply) -> String {
    let key = |one: &ConnectionStatus| {
        (one.route.clone(), one.destination.clone(), one.endpoint.clone(), one.datapath.clone())
    };
    let groups = reply.connections.chunk_by(|one, other| key(one) == key(other)).map(|group| {
        let first = &group[0];
        let count = quantity::count(group.len() as u64, "connection");
        let [route, destination, endpoint] = names(first);
        let head = format!("{route} to {destination} at {endpoint}, datapath {}: {count}", first.datapath);
        let head: Vec<String> =
            wrap(&screen::clean(&head), COLUMNS).iter().map(|line| screen::heading(line) + "\n").collect();
        let mut table = TextTable::new(["CLIENT", "AGE", "IDLE", "SENT", "RECEIVED", "STAGE"]);
        for one in group {
            let ConnectionStatus { client, age_milliseconds, idle_milliseconds, bytes_sent, bytes_received, .. } = one;
            table.push(&[
                text(client.as_ref()),
                time(*age_milliseconds),
                time(*idle_milliseconds),
                text(bytes_sent.map(quantity::bytes)),
                text(bytes_received.map(quantity::bytes)),
                one.stage.to_string(),
            ]);
        }
        head.concat() + &table.text()
    });
    let mut text = groups.collect::<Vec<_>>().join("\n");
    if reply.connections.is_empty() {
        text.push_str("No connections.\n");
    }
    for note in notes(reply) {
        for line in wrap(&screen::clean(&note), COLUMNS) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// One connection a line.
pub(super) fn table(reply: &ConnectionsReply) -> String {
    let heading =
        ["CLIENT", "ROUTE", "DESTINATION", "ENDPOINT", "DATAPATH", "STAGE", "AGE", "IDLE", "SENT", "RECEIVED"];
    let mut table = TextTable::new(heading);
    for one in &reply.connections {
        let [route, destination, endpoint] = names(one);
        table.push(&[
            text(one.client.as_ref()),
            // A cell is one word.
            route.replace(' ', "/"),
            destination,
            endpoint.replace(' ', "-"),
            one.datapath.to_string(),
            one.stage.to_string(),
            time(one.age_milliseconds),
            time(one.idle_milliseconds),
            text(one.bytes_sent),
            text(one.bytes_received),
        ]);
    }
    table.text()
}

/// What else is to be said of a list.
pub(super) fn notes(ConnectionsReply { total, connections, notes }: &ConnectionsReply) -> Vec<String> {
    let listed = connections.len() as u64;
    let cut = (listed < *total)
        .then(|| format!("{listed} of {total} connections are listed: name a route, a destination or an endpoint"));
    cut.into_iter().chain(notes.iter().cloned()).collect()
}

fn names(one: &ConnectionStatus) -> [String; 3] {
    [&one.route, &one.destination, &one.endpoint].map(|name| text(name.as_ref()))
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

fn time(milliseconds: Option<u64>) -> String {
    text(milliseconds.map(|milliseconds| quantity::short(milliseconds / 1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(client: &str, route: &str) -> ConnectionStatus {
        ConnectionStatus {
            client: Some(client.to_owned()),
            route: Some(route.into()),
            destination: Some("tcp-echo:9000/v1".into()),
            endpoint: Some("10.0.0.5:9000".into()),
            datapath: "proxy".into(),
            stage: "half-closed".into(),
            age_milliseconds: Some(90_500),
            idle_milliseconds: Some(0),
            bytes_sent: Some(u64::MAX),
            bytes_received: Some(10),
        }
    }

    fn reply(connections: Vec<ConnectionStatus>) -> ConnectionsReply {
        ConnectionsReply { total: connections.len() as u64, connections, notes: Vec::new() }
    }

    #[test]
    fn a_person_reads_eighty_columns() {
        let long = format!("{}/{}#12", "n".repeat(63), "o".repeat(63));
        let client = "[2001:db8:1:2:3:4:5:6]:65535";
        let text =
            groups(&reply(vec![connection(client, &long), connection(client, &long), connection("a\x1b:1", "b")]));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("2 connections") && text.contains("1 connection\n"), "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn a_program_reads_a_connection_a_line() {
        let mut unknown = connection("127.0.0.1:1", "ServiceEntry default/echo");
        (unknown.age_milliseconds, unknown.endpoint) = (None, Some("the address asked for".into()));
        let text = table(&reply(vec![connection("127.0.0.1:1", "default/tcp-echo"), unknown]));
        let cells: Vec<usize> = text.lines().map(|line| line.split_whitespace().count()).collect();
        assert_eq!(cells, [10, 10, 10], "{text}");
        let words: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(words[1..4], ["ServiceEntry/default/echo", "tcp-echo:9000/v1", "the-address-asked-for"]);
        assert_eq!(words[6..], ["-", "0s", "18446744073709551615", "10"]);
    }

    #[test]
    fn a_list_that_is_cut_says_so() {
        let mut cut = reply(vec![connection("127.0.0.1:1", "default/tcp-echo")]);
        cut.total = 60_000;
        assert!(groups(&cut).contains("1 of 60000 connections are listed"));
        assert_eq!(groups(&reply(Vec::new())), "No connections.\n");
    }
}
