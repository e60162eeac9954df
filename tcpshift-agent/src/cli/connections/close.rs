//! `connections close`: ends live connections, and says how many.

use clap::Args;

use super::Which;
use crate::admin::api::{CloseReply, CloseRequest, ConnectionFilter};
use crate::admin::client::Client;
use crate::cli::stop::{Done, Stop};
use crate::cli::{JsonOnly, quantity, screen};

const USAGE: &str = "tcpshift-agent connections close [OPTIONS] <ROUTE | --destination D | --endpoint E | --all>";

const AFTER: &str = "\
Examples:
  tcpshift-agent connections close vs/tcp-echo --destination v1  after a shift, what is left at the old version
  tcpshift-agent connections close --endpoint 10.0.0.5:9000      before a host goes away
  tcpshift-agent connections close --all --dry-run               how many there are in all

A connection that the agent carries is ended in order at its next quiet moment, when no byte has passed for 200 ms; it is reset if none \
comes within 5 s, or if its sides have not ended 5 s later. One that the kernel steers is reset at once, at both its ends: nobody knows where a message of it ends. Both count as closed when that has \
begun. New connections go on as the routes say: shift first.

Exit code 1: some could not be ended, and why; nothing was ended since a name is not there; no agent.";

/// End live connections
#[derive(Args, Debug)]
#[command(after_help = AFTER, override_usage = USAGE)]
pub(super) struct CloseArguments {
    #[command(flatten)]
    which: Which,

    /// End every connection
    #[arg(long, conflicts_with_all = ["route", "destination", "endpoint"])]
    all: bool,

    /// Say how many would be ended, end none
    #[arg(long)]
    dry_run: bool,

    /// How to print; lines without it
    #[arg(short, long, value_enum)]
    output: Option<JsonOnly>,
}

pub(super) async fn execute(arguments: CloseArguments, client: &Client) -> Result<Done, Stop> {
    let CloseArguments { which, all, dry_run, output } = arguments;
    let filter = ConnectionFilter::from(which);
    if filter.is_empty() && !all {
        let message = "say which connections are meant: ROUTE, --destination, --endpoint, or --all";
        return Err(Stop::Usage(message.to_owned()));
    }
    let reply = client.close(&CloseRequest { filter, all, dry_run }).await?;
    screen::print(&match output {
        Some(JsonOnly::Json) => screen::json(&reply)?,
        None => text(&reply, dry_run),
    })?;
    for note in &reply.notes {
        screen::note(note);
    }
    for left in &reply.left {
        screen::error(&format!("{} cannot be closed: {}", quantity::count(left.count, "connection"), left.reason));
    }
    Ok(if reply.left.is_empty() { Done::Well } else { Done::Failed })
}

fn text(CloseReply { carried, steered, .. }: &CloseReply, dry_run: bool) -> String {
    let (all, suffix) = (quantity::count(carried + steered, "connection"), if dry_run { " (dry run)" } else { "" });
    let each = match (carried, steered) {
        (0, _) | (_, 0) => String::new(),
        _ => format!(": {carried} carried, {steered} steered"),
    };
    format!("{all} closed{each}{suffix}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_said_in_one_line() {
        let said = |carried, steered, dry_run| text(&CloseReply { carried, steered, ..CloseReply::default() }, dry_run);
        assert_eq!(said(0, 0, false), "0 connections closed\n");
        assert_eq!(said(1, 0, false), "1 connection closed\n");
        assert_eq!(said(2, 3, true), "5 connections closed: 2 carried, 3 steered (dry run)\n");
    }
}
