//! `status`: the plan in force, and what became of it.

use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::outcome::{Done, Stop};
use super::table::Table;
use super::{quantity, screen};
use crate::admin::api::{Achieved, DestinationStatus, ListenerStatus, RouteStatus, StatusReply};
use crate::admin::client::Client;

const AFTER: &str = "\
Example:
  tcpshift-agent status

WEIGHT is what the route says, SLOTS what it comes to of 10,000, SHARE the same in percent. OPENED counts the \
connections decided for a destination; ACHIEVED is its share of those since the weights changed last, with the \
95 % interval: what chance alone makes of so many connections. ACTIVE are open now, FAILED could not be served, \
and WHY says why.";

/// Show listeners, routes, and the share that each destination really got
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct Arguments {
    /// How to print; tables without it
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables with more columns
    Wide,
    /// The agent's answer as JSON
    Json,
}

pub(super) async fn execute(arguments: &Arguments, client: &Client) -> Result<Done, Stop> {
    let status = client.status().await?;
    screen::print(&match arguments.output {
        Some(Output::Json) => screen::json(&status)?,
        output => text(&status, output == Some(Output::Wide)),
    })?;
    Ok(Done::Well)
}

fn text(status: &StatusReply, wide: bool) -> String {
    let mut text = header(status, wide);
    if status.listeners.is_empty() {
        text.push_str("\nNothing is served: apply a Gateway, and a VirtualService for it.\n");
    }
    for listener in &status.listeners {
        text.push('\n');
        text.push_str(&of_listener(listener, wide));
    }
    if status.retired_active > 0 {
        line(
            &mut text,
            &format!("\n{} connections are open to destinations that no route names any more", status.retired_active),
        );
    }
    if !status.trouble.is_empty() {
        text.push_str("\nTrouble:\n");
        for trouble in &status.trouble {
            line(&mut text, &format!("  {} x {}", trouble.count, trouble.reason));
        }
    }
    if !status.notes.is_empty() {
        text.push_str("\nNotes:\n");
        for note in &status.notes {
            line(&mut text, &format!("  {note}"));
        }
    }
    text
}

fn header(status: &StatusReply, wide: bool) -> String {
    let StatusReply { version, pid, generation, datapath, objects, seed, .. } = status;
    let up = quantity::short(status.uptime_seconds);
    let mut header =
        format!("agent {version}, pid {pid}, up {up}, generation {generation}, datapath {datapath}, {objects} objects");
    if wide {
        write!(header, ", seed {seed:#x}").expect("a string takes everything");
    }
    if status.draining {
        header.push_str(", ");
        header.push_str(&screen::alarm("draining"));
    }
    header.push('\n');
    header
}

fn of_listener(listener: &ListenerStatus, wide: bool) -> String {
    let ListenerStatus { name, address, down, unrouted, routes } = listener;
    let mut text = format!("{}\n", screen::heading(&screen::clean(&format!("{name} at {address}"))));
    if let Some(reason) = down {
        text.push_str(&screen::alarm("not served:"));
        line(&mut text, &format!(" {reason}"));
    }
    if *unrouted > 0 {
        line(&mut text, &format!("{unrouted} connections fitted no rule and were reset"));
    }
    if routes.is_empty() {
        line(&mut text, "no route: every connection is refused");
        return text;
    }
    let mut headings =
        vec!["ROUTE", "DESTINATION", "WEIGHT", "SLOTS", "SHARE", "OPENED", "ACHIEVED", "ACTIVE", "FAILED"];
    headings.push("ENDPOINTS");
    if wide {
        headings.extend(["SINCE-CHANGE", "STEER-BY"]);
    }
    headings.push("WHY");
    let mut table = Table::new(headings);
    for route in routes {
        for destination in &route.destinations {
            table.push(&row(route, destination, wide));
        }
    }
    text.push_str(&table.without_empty("WHY").text());
    text
}

fn row(route: &RouteStatus, destination: &DestinationStatus, wide: bool) -> Vec<String> {
    let mut row = vec![
        route.name.clone(),
        destination.name.clone(),
        destination.weight.to_string(),
        destination.slots.to_string(),
        quantity::percent(destination.slots),
        destination.opened.to_string(),
        destination.achieved.map_or_else(|| "-".to_owned(), achieved),
        destination.active.to_string(),
        destination.failed.to_string(),
        destination.endpoints.to_string(),
    ];
    if wide {
        row.extend([destination.opened_since_change.to_string(), route.steer_by.clone()]);
    }
    row.push(why(destination));
    row
}

/// `20.3 % [18.1, 22.7]`
fn achieved(Achieved { share, low, high }: Achieved) -> String {
    format!("{:.1} % [{:.1}, {:.1}]", share * 100.0, low * 100.0, high * 100.0)
}

fn why(destination: &DestinationStatus) -> String {
    let counted = destination.failures.iter().map(|failure| format!("{} x {}", failure.count, failure.reason));
    destination.unusable.iter().cloned().chain(counted).collect::<Vec<_>>().join("; ")
}

fn line(text: &mut String, line: &str) {
    text.push_str(&screen::clean(line));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::Trouble;

    fn destination(name: &str, weight: u64) -> DestinationStatus {
        DestinationStatus {
            name: name.to_owned(),
            weight,
            slots: u32::try_from(weight).unwrap() * 100,
            endpoints: 1,
            unusable: None,
            opened: 203,
            opened_since_change: 203,
            achieved: Some(Achieved { share: 0.203, low: 0.181, high: 0.2271 }),
            active: 3,
            failed: 0,
            failures: Vec::new(),
        }
    }

    fn status() -> StatusReply {
        StatusReply {
            version: "0.1.0".to_owned(),
            pid: 12,
            uptime_seconds: 192,
            generation: 4,
            seed: 0x1f,
            datapath: "proxy".to_owned(),
            draining: false,
            labels: std::collections::BTreeMap::new(),
            objects: 5,
            listeners: vec![ListenerStatus {
                name: "default/tcp-echo-gateway:tcp".to_owned(),
                address: "[::]:31400".to_owned(),
                down: None,
                unrouted: 0,
                routes: vec![RouteStatus {
                    name: "default/tcp-echo".to_owned(),
                    steer_by: "connection".to_owned(),
                    destinations: vec![destination("tcp-echo:9000/v1", 80), destination("tcp-echo:9000/v2", 20)],
                }],
            }],
            retired_active: 0,
            trouble: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_healthy_agent_is_short() {
        let expected = "\
agent 0.1.0, pid 12, up 3m12s, generation 4, datapath proxy, 5 objects

default/tcp-echo-gateway:tcp at [::]:31400
ROUTE              DESTINATION        WEIGHT   SLOTS   SHARE   OPENED   ACHIEVED              ACTIVE   FAILED   ENDPOINTS
default/tcp-echo   tcp-echo:9000/v1   80       8000    80 %    203      20.3 % [18.1, 22.7]   3        0        1
default/tcp-echo   tcp-echo:9000/v2   20       2000    20 %    203      20.3 % [18.1, 22.7]   3        0        1
";
        assert_eq!(text(&status(), false), expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut status = status();
        status.draining = true;
        status.retired_active = 2;
        status.notes = vec!["default/x: note\x1b".to_owned()];
        status.trouble = vec![Trouble { reason: "no descriptors left".to_owned(), count: 7 }];
        let listener = &mut status.listeners[0];
        listener.down = Some("port 31400 is served by nginx (pid 5)".to_owned());
        listener.unrouted = 4;
        let v2 = &mut listener.routes[0].destinations[1];
        v2.unusable = Some("no endpoint".to_owned());
        v2.achieved = None;
        v2.failures = vec![Trouble { reason: "no endpoint".to_owned(), count: 3 }];
        let text = text(&status, true);
        for said in [
            "seed 0x1f, draining\n",
            "not served: port 31400 is served by nginx (pid 5)\n",
            "4 connections fitted no rule",
            "SINCE-CHANGE   STEER-BY     WHY\n",
            "connection   no endpoint; 3 x no endpoint\n",
            "\n2 connections are open to destinations",
            "Trouble:\n  7 x no descriptors left\n",
            "Notes:\n  default/x: note\u{fffd}\n",
        ] {
            assert!(text.contains(said), "{said:?} is not in\n{text}");
        }
    }
}
