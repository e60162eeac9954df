//! `status`: the plan in force, and what became of it.

use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::outcome::{Done, Stop};
use super::table::TextTable;
use super::{quantity, screen};
use crate::admin::api::{
    Achieved, AssignmentStatus, DestinationStatus, ListenerStatus, RouteStatus, StatusReply, SteeredStatus, Trouble,
};
use crate::admin::client::Client;

const AFTER: &str = "\
Example:
  tcpshift-agent status

The first line says who decides where a new connection goes: the kernel, or the agent. WEIGHT is what the route \
says, SLOTS what it comes to of 10,000, SHARE the same in percent. OPENED counts the connections decided for a \
destination since it is there; ACHIEVED is its share of those since the weights changed last (-o wide: \
SINCE-CHANGE), with the 95 % interval: in 1 of 20 looks the interval misses the asked share by chance. A WEIGHT of - is \
none: alone, a destination has everything. ACTIVE are open now, FAILED could not be served, and WHY says why, and \
how often; it also says how many the agent ended by a timeout of their own, and how much of maxConnections is in use: \
all routes share it that lead to the same host, subset and port.";

/// Said below the tables.
const EXPLAINED: &str = "
ACHIEVED is of the connections since the weights changed; in 1 of 20 looks the interval misses the asked share by chance.
";

/// Show listeners, routes, and the share that each destination really got
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct StatusArguments {
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

pub(super) async fn execute(arguments: &StatusArguments, client: &Client) -> Result<Done, Stop> {
    let status = client.status().await?;
    screen::print(&match arguments.output {
        Some(Output::Json) => screen::json(&status)?,
        output => {
            let wide = output == Some(Output::Wide);
            text(&status, wide, wide || screen::is_read_by_a_person())
        }
    })?;
    Ok(Done::Well)
}

/// `explained` adds what a person has to know to read the numbers.
fn text(status: &StatusReply, wide: bool, explained: bool) -> String {
    let mut text = header(status, wide);
    match (status.listeners.is_empty(), status.notes.is_empty()) {
        (true, true) => text.push_str("\nNothing is served: apply a Gateway, and a VirtualService for it.\n"),
        (true, false) => text.push_str("\nNothing is served; the notes below say why.\n"),
        (false, _) => {}
    }
    for listener in &status.listeners {
        text.push('\n');
        text.push_str(&of_listener(listener, wide));
    }
    let mut routes = status.listeners.iter().flat_map(|listener| &listener.routes);
    if explained && routes.any(|route| route.destinations.iter().any(|destination| destination.achieved.is_some())) {
        text.push_str(EXPLAINED);
    }
    if status.retired_active > 0 {
        let open = quantity::count(status.retired_active, "connection");
        line(&mut text, &format!("\n{open} still open to destinations that no route names any more"));
    }
    if !status.trouble.is_empty() {
        text.push_str("\nTrouble:\n");
        for trouble in &status.trouble {
            line(&mut text, &format!("  {}", counted(trouble)));
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
    let StatusReply { version, pid, generation, datapath, assignment, objects, seed, .. } = status;
    let up = quantity::short(status.uptime_seconds);
    let objects = quantity::count(*objects, "object");
    let by = screen::clean(&assignment.by);
    let mut header = format!(
        "agent {version}, pid {pid}, up {up}, generation {generation}, datapath {datapath}, assignment {by}, {objects}"
    );
    if wide {
        write!(header, ", seed {seed:#x}").expect("a string takes everything");
    }
    if status.draining {
        header.push_str(", ");
        header.push_str(&screen::alarm("draining"));
    }
    header.push('\n');
    header.push_str(&of_assignment(assignment, wide));
    header
}

/// Why the agent decides, if it does; and how many connections were steered, and who decided for those that the agent carried.
fn of_assignment(AssignmentStatus { by, reason, kernel, agent, steered }: &AssignmentStatus, wide: bool) -> String {
    let mut text = String::new();
    if by != "kernel" {
        line(&mut text, &format!("assignment by the agent: {reason}"));
    }
    let mut counts = Vec::new();
    if *steered > 0 {
        counts.push(format!("{} steered", quantity::count(*steered, "connection")));
    }
    if *agent > 0 || (wide && by == "kernel") {
        let all = quantity::count(kernel + agent, "carried connection");
        counts.push(format!("{agent} of {all} decided by the agent"));
    }
    if !counts.is_empty() {
        line(&mut text, &counts.join(", "));
    }
    text
}

/// One listener and its routes.
pub(super) fn of_listener(listener: &ListenerStatus, wide: bool) -> String {
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

/// `no endpoint (17)`
fn counted(Trouble { reason, count }: &Trouble) -> String {
    format!("{reason} ({count})")
}

fn line(text: &mut String, line: &str) {
    text.push_str(&screen::clean(line));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::LimitStatus;

    fn destination(name: &str, weight: u64) -> DestinationStatus {
        DestinationStatus {
            name: name.to_owned(),
            weight,
            slots: u32::try_from(weight).unwrap() * 100,
            endpoints: 1,
            addresses: Vec::new(),
            unusable: None,
            opened: 203,
            opened_since_change: 203,
            achieved: Some(Achieved { share: 0.203, low: 0.181, high: 0.2271 }),
            active: 3,
            limit: None,
            failed: 0,
            failures: Vec::new(),
            ended: Vec::new(),
            steered: None,
        }
    }

    fn status() -> StatusReply {
        StatusReply {
            version: "0.1.0".to_owned(),
            pid: 12,
            uptime_seconds: 192,
            generation: 4,
            seed: 0x1f,
            digest: "8c5f".to_owned(),
            sets: 9,
            datapath: "proxy".to_owned(),
            assignment: AssignmentStatus {
                by: "kernel".to_owned(),
                reason: String::new(),
                kernel: 406,
                agent: 0,
                steered: 0,
            },
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
                    datapath: "proxy".to_owned(),
                    reason: "nothing listens at 10.0.0.1:9000".to_owned(),
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
agent 0.1.0, pid 12, up 3m12s, generation 4, datapath proxy, assignment kernel, 5 objects

default/tcp-echo-gateway:tcp at [::]:31400
datapath proxy: nothing listens at 10.0.0.1:9000
ROUTE              DESTINATION        WEIGHT   SLOTS   SHARE   OPENED   ACHIEVED              ACTIVE   FAILED   ENDPOINTS
default/tcp-echo   tcp-echo:9000/v1   80       8000    80 %    203      20.3 % [18.1, 22.7]   3        0        1
default/tcp-echo   tcp-echo:9000/v2   20       2000    20 %    203      20.3 % [18.1, 22.7]   3        0        1
";
        assert_eq!(text(&status(), false, false), expected);
        assert_eq!(text(&status(), false, true), format!("{expected}{EXPLAINED}"));
    }

    #[test]
    fn each_route_has_its_datapath() {
        let mut status = status();
        let routes = &mut status.listeners[0].routes;
        routes.push(RouteStatus { name: "default/other".to_owned(), ..routes[0].clone() });
        let lines =
            |status: &StatusReply| text(status, false, false).lines().skip(3).map(str::to_owned).collect::<Vec<_>>();
        let why = "nothing listens at 10.0.0.1:9000";
        assert_eq!(lines(&status)[0], format!("datapath proxy: {why}"));
        assert!(lines(&status)[1].starts_with("ROUTE"), "{status:#?}");
        let other = &mut status.listeners[0].routes[1];
        (other.datapath, other.reason) = ("lookup".to_owned(), String::new());
        let expected =
            [format!("default/tcp-echo: datapath proxy: {why}"), "default/other: datapath lookup".to_owned()];
        assert_eq!(lines(&status)[..2], expected);
        (status.listeners[0].routes[1].datapath, status.listeners[0].routes[1].reason) =
            ("none".to_owned(), "no right".to_owned());
        assert!(lines(&status)[1].contains("datapath none") && lines(&status)[1].ends_with(": no right"));
    }

    #[test]
    fn who_decides_is_said() {
        let mut status = status();
        let second_line = |status: &StatusReply, wide| text(status, wide, false).lines().nth(1).unwrap().to_owned();
        assert_eq!(second_line(&status, false), "");
        assert_eq!(second_line(&status, true), "0 of 406 carried connections decided by the agent");
        status.assignment.agent = 3;
        assert_eq!(second_line(&status, false), "3 of 409 carried connections decided by the agent");
        status.assignment.steered = 1;
        assert_eq!(
            second_line(&status, false),
            "1 connection steered, 3 of 409 carried connections decided by the agent"
        );
        status.assignment.agent = 0;
        assert_eq!(second_line(&status, false), "1 connection steered");
        let reason = "this process lacks CAP_BPF".to_owned();
        status.assignment = AssignmentStatus { by: "agent".to_owned(), reason, kernel: 0, agent: 0, steered: 12 };
        let text = text(&status, true, false);
        assert!(text.contains(", assignment agent, 5 objects"), "{text}");
        assert!(
            text.contains("\nassignment by the agent: this process lacks CAP_BPF\n12 connections steered\n\n"),
            "{text}"
        );
    }

    #[test]
    fn a_weight_that_is_not_given_is_not_nothing() {
        let mut status = status();
        status.objects = 1;
        let destinations = &mut status.listeners[0].routes[0].destinations;
        destinations.truncate(1);
        (destinations[0].weight, destinations[0].slots, destinations[0].achieved) = (0, 10_000, None);
        let text = text(&status, false, true);
        assert!(text.contains("tcp-echo:9000/v1   -        10000   100 %"), "{text}");
        assert!(text.contains(", 1 object\n") && !text.contains("by chance"), "{text}");
    }

    #[test]
    fn where_nothing_is_served_the_notes_say_why() {
        let mut status = status();
        status.listeners.clear();
        assert!(text(&status, false, true).contains("Nothing is served: apply a Gateway"));
        status.notes = vec!["Gateway default/x: no server fits".to_owned()];
        let text = text(&status, false, true);
        assert!(text.contains("the notes below say why") && !text.contains("apply a Gateway"), "{text}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut status = status();
        status.draining = true;
        status.retired_active = 1;
        status.notes = vec!["default/x: note\x1b".to_owned()];
        status.trouble = vec![Trouble { reason: "no descriptors left".to_owned(), count: 7 }];
        let listener = &mut status.listeners[0];
        listener.down = Some("port 31400 is served by nginx (pid 5)".to_owned());
        listener.unrouted = 4;
        let v2 = &mut listener.routes[0].destinations[1];
        v2.unusable = Some("no endpoint".to_owned());
        v2.achieved = None;
        let failure = |reason: &str, count| Trouble { reason: reason.to_owned(), count };
        v2.failures = vec![failure("no endpoint", 3), failure("connect timeout", 1)];
        v2.ended = vec![failure("idle timeout", 5)];
        v2.limit = Some(LimitStatus { most: 50, carried: 7 });
        listener.routes.push(RouteStatus { destinations: vec![destination("b", 0)], ..listener.routes[0].clone() });
        listener.routes[1].destinations[0].unusable = Some("unknown port".to_owned());
        let text = text(&status, true, true);
        for said in [
            "seed 0x1f, draining\n",
            "not served: port 31400 is served by nginx (pid 5)\n",
            "4 connections reset: no rule fitted\n",
            "SINCE-CHANGE   STEER-BY     DATAPATH   WHY\n",
            "connection   proxy      no endpoint (3); connect timeout (1); 5 ended by idle timeout; \
             7 of maxConnections 50 in use\n",
            "\n1 connection still open to destinations",
            "Trouble:\n  no descriptors left (7)\n",
            "connection   proxy      unknown port\n",
            "Notes:\n  default/x: note\u{fffd}\n",
        ] {
            assert!(text.contains(said), "{said:?} is not in\n{text}");
        }
    }
}
