//! `status`: the plan in force, and what became of it.

mod listener;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::stop::{Done, Stop};
use super::{quantity, screen};
use crate::admin::api::{AssignmentStatus, StatusReply, Trouble};
use crate::admin::client::Client;
pub(super) use listener::of_listener;

const AFTER: &str = "\
Example:
  tcpshift-agent status

The first line says who decides where a new connection goes: the kernel, or the agent. WEIGHT is what the route \
says, SLOTS what it comes to of 10,000, SHARE the same in percent. OPENED counts the connections decided for a \
destination since it is there; ACHIEVED is its share of those since the weights changed last (-o wide: \
SINCE-CHANGE), with the 95 % interval: in 1 of 20 looks the interval misses the asked share by chance. A WEIGHT of - is \
none: alone, a destination has everything (in JSON it is 0, with 10,000 slots). ACTIVE are open now, FAILED could not be served, and WHY says why, and \
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
    let StatusReply { version, pid, generation, datapath, assignment, objects, seed, digest, .. } = status;
    let up = quantity::short(status.uptime_seconds);
    let objects = quantity::count(*objects, "object");
    let by = screen::clean(&assignment.by);
    let mut header = format!(
        "agent {version}, pid {pid}, up {up}, generation {generation}, datapath {datapath}, assignment {by}, {objects}"
    );
    if wide {
        write!(header, ", seed {seed:#x}, digest {digest}").expect("a string takes everything");
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

/// `no endpoint (17)`
fn counted(Trouble { reason, count }: &Trouble) -> String {
    format!("{reason} ({count})")
}

fn line(text: &mut String, line: &str) {
    text.push_str(&screen::clean(line));
    text.push('\n');
}
