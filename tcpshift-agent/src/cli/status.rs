//! `status`: the plan in force, and what became of it.

mod check;
mod people;
#[cfg(test)]
mod tests;
mod wide;
mod words;

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::narrow::paragraph;
use super::stop::{Done, Stop};
use super::{quantity, screen};
use crate::admin::api::{AssignmentStatus, StatusReply};
use crate::admin::client::Client;
pub(super) use wide::of_listener;
use words::counted;

const AFTER: &str = "\
Examples:
  tcpshift-agent status
  tcpshift-agent status default/tcp-echo
        one route, with its rates and its endpoints
  tcpshift-agent status --check || echo 'somebody is refused'

The second line says who decides where a new connection goes: the kernel, or the agent. SHARE is what a destination \
is to get. OPENED counts the connections decided for it since it is there; ACHIEVED is its share of those since the \
weights changed last. `status ROUTE` and -o wide also have the 95 % interval: in 1 of 20 looks it misses the asked \
share by chance. ACTIVE are open now, FAILED could not be served, and the line below says why, and how often; it also \
says how many the agent ended by a timeout of their own, and how much of maxConnections is in use: all routes share it that lead \
to the same host, subset and port. HEALTH is how many endpoints nothing is known against, of all: an endpoint of this \
host is ready if somebody listens there, where the kernel says so; any other if its address is known. LAST FAILURE is when a \
connection could not be served.

-o wide: WEIGHT is what the route says, SLOTS what it comes to of 10,000. A WEIGHT of - is none: alone, a destination \
has everything (in JSON it is 0, with 10,000 slots). NEW/S are new connections a second, over ten seconds.

Exit codes: 0; with --check 1 if any share is refused now; 1 too if no agent answers, or there is no such route.";

/// Said below the tables.
const EXPLAINED: &str = "ACHIEVED is of the connections since the weights changed. `status ROUTE` has its 95 % interval, \
which misses the asked share by chance in 1 of 20 looks.";

/// How often `--watch` looks.
const ROUND: Duration = Duration::from_secs(1);

/// Moves the cursor to the first line, and clears the screen below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Show listeners, routes, and the share that each destination really got
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct StatusArguments {
    /// Only this route, as `default/tcp-echo` or `tcp-echo`, with all its destinations and endpoints
    route: Option<String>,

    /// How to print; tables for a screen of 80 columns without it
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    /// Show it again every second, until interrupted
    #[arg(short, long)]
    watch: bool,

    /// Say in one line whether any share is refused now, and which; exit with 1 if so
    #[arg(long, conflicts_with_all = ["output", "watch"])]
    check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables with more columns
    Wide,
    /// The agent's answer as JSON
    Json,
}

pub(super) async fn execute(arguments: &StatusArguments, client: &Client) -> Result<Done, Stop> {
    if arguments.check {
        let (said, is_refused) = check::check(&looked(arguments, client).await?);
        screen::print(&(screen::clean(&said) + "\n"))?;
        return Ok(if is_refused { Done::Failed } else { Done::Well });
    }
    loop {
        let shown = shown(arguments, &looked(arguments, client).await?)?;
        // A program that reads gets one answer after the other.
        let clear = if arguments.watch && screen::is_read_by_a_person() { CLEAR } else { "" };
        screen::print(&format!("{clear}{shown}"))?;
        if !arguments.watch {
            return Ok(Done::Well);
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// What the agent answers, with no other route than the one that is asked for.
async fn looked(arguments: &StatusArguments, client: &Client) -> Result<StatusReply, Stop> {
    let mut status = client.status().await?;
    if let Some(route) = &arguments.route {
        only(&mut status, route)?;
    }
    Ok(status)
}

/// Leaves the routes that have a name: `namespace/name`, or the name alone. Without `#N` it is every rule of the object.
fn only(status: &mut StatusReply, wanted: &str) -> Result<(), Stop> {
    let fits = |name: &str| {
        let without_rule = name.split_once('#').map_or(name, |(object, _)| object);
        let without_namespace = |name: &str| name.split_once('/').map(|(_, name)| name == wanted);
        [name, without_rule].into_iter().any(|name| name == wanted || without_namespace(name) == Some(true))
    };
    for listener in &mut status.listeners {
        listener.routes.retain(|route| fits(&route.name));
    }
    status.listeners.retain(|listener| !listener.routes.is_empty());
    if status.listeners.is_empty() {
        return Err(Stop::Failed(format!("no route {wanted:?} is in force; `status` lists all")));
    }
    Ok(())
}

fn shown(arguments: &StatusArguments, status: &StatusReply) -> Result<String, Stop> {
    Ok(match (arguments.output, &arguments.route) {
        (Some(Output::Json), _) => screen::json(status)?,
        (Some(Output::Wide), _) => text(status, true, true),
        (None, None) => text(status, false, screen::is_read_by_a_person()),
        (None, Some(_)) => of_routes(status),
    })
}

fn of_routes(status: &StatusReply) -> String {
    let routes =
        status.listeners.iter().flat_map(|listener| listener.routes.iter().map(move |route| (listener, route)));
    let texts: Vec<_> = routes.map(|(listener, route)| people::of_route(listener, route)).collect();
    texts.join("\n")
}

/// `explained` adds what a person has to know to read the numbers.
fn text(status: &StatusReply, wide: bool, explained: bool) -> String {
    let block = |indent: usize, words: &str| if wide { unwrapped(words, indent) } else { paragraph(words, indent) };
    let mut text = header(status, wide);
    match (status.listeners.is_empty(), status.notes.is_empty()) {
        (true, true) => text.push_str("\nNothing is served: apply a Gateway, and a VirtualService for it.\n"),
        (true, false) => text.push_str("\nNothing is served; the notes below say why.\n"),
        (false, _) => {}
    }
    for listener in &status.listeners {
        text.push('\n');
        text.push_str(&if wide { of_listener(listener) } else { people::of_listener(listener) });
    }
    let mut routes = status.listeners.iter().flat_map(|listener| &listener.routes);
    if explained && routes.any(|route| route.destinations.iter().any(|destination| destination.achieved.is_some())) {
        text.push('\n');
        text.push_str(&block(0, EXPLAINED));
    }
    let mut open: Vec<String> = status.before.iter().map(words::before).collect();
    if status.retired_active > 0 {
        let retired = quantity::count(status.retired_active, "connection");
        open.push(format!("{retired} still open to destinations that no route names any more"));
    }
    if !open.is_empty() {
        text.push('\n');
        for open in &open {
            text.push_str(&block(0, open));
        }
    }
    if !status.trouble.is_empty() {
        text.push_str("\nTrouble:\n");
        for trouble in &status.trouble {
            text.push_str(&block(2, &counted(trouble)));
        }
    }
    if !status.notes.is_empty() {
        text.push_str("\nNotes:\n");
        for note in &status.notes {
            text.push_str(&block(2, note));
        }
    }
    text
}

fn header(status: &StatusReply, wide: bool) -> String {
    let StatusReply { version, pid, generation, objects, seed, digest, .. } = status;
    let up = quantity::short(status.uptime_seconds);
    let objects = quantity::count(*objects, "object");
    let mut header = format!("agent {version}, pid {pid}, up {up}, generation {generation}, {objects}");
    if wide {
        write!(header, ", seed {seed:#x}, digest {digest}").expect("a string takes everything");
    }
    if status.draining {
        header.push_str(", draining");
    }
    let mut lines = vec![header, ways(status, wide)];
    if status.assignment.by != "kernel" {
        lines.push(format!("assignment by the agent: {}", status.assignment.reason));
    }
    lines.iter().map(|line| if wide { unwrapped(line, 0) } else { paragraph(line, 0) }).collect()
}

/// The datapaths that are used, who decides, how many connections were steered, and who decided for those that the agent carried.
fn ways(StatusReply { datapath, assignment, .. }: &StatusReply, wide: bool) -> String {
    let AssignmentStatus { by, kernel, agent, steered, .. } = assignment;
    let mut parts = vec![format!("datapath {datapath}, assignment {by}")];
    if *steered > 0 {
        parts.push(format!("{} steered", quantity::count(*steered, "connection")));
    }
    if *agent > 0 || (wide && by == "kernel") {
        let all = quantity::count(kernel + agent, "carried connection");
        parts.push(format!("{agent} of {all} decided by the agent"));
    }
    parts.join(", ")
}

fn unwrapped(words: &str, indent: usize) -> String {
    let mut text = " ".repeat(indent);
    line(&mut text, words);
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(&screen::clean(line));
    text.push('\n');
}
