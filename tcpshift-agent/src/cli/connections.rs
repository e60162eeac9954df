//! `connections`: lists live connections, and ends them.

mod close;
mod listed;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use tokio::time::sleep;

use self::close::CloseArguments;
use super::stop::{Done, Stop};
use super::{LookedIn, screen};
use crate::admin::api::{ConnectionFilter, ConnectionsReply};
use crate::admin::client::Client;

/// Between two lists of `--watch`.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves a terminal to its first line and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

const USAGE: &str = "tcpshift-agent connections [OPTIONS] [ROUTE]
       tcpshift-agent connections close [OPTIONS] <ROUTE | --destination D | --endpoint E | --all>";

const AFTER: &str = "\
Examples:
  tcpshift-agent connections                                     who is connected
  tcpshift-agent connections vs/tcp-echo --destination v1        by a route, to a destination
  tcpshift-agent connections --endpoint 10.0.0.5 -w              to an endpoint, again each second
  tcpshift-agent connections close --destination v1 --dry-run    how many would be ended
  tcpshift-agent connections close vs/tcp-echo --destination v1  end them

A route is named as `status` names it, which is one rule, or as an object, which are all its rules. Those that the plan has \
no more can be named as long as they have connections. SENT and RECEIVED are bytes as the client sees them, IDLE is the time since the last byte. \
AGE is known of connections that the agent carries; of those that the kernel steers nobody notes it. A list has 50,000 \
connections at most, and says so if it is cut. On a terminal it is ordered in groups; a program reads one table.

Exit code 1: no agent, or a route, destination or endpoint that is not there. No connection is no error.";

/// List live connections; `connections close` ends them
#[derive(Args, Debug)]
#[command(after_help = AFTER, override_usage = USAGE, args_conflicts_with_subcommands = true)]
pub(super) struct ConnectionsArguments {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    which: Which,

    /// How to print; groups on a terminal without it, else a table
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    /// List again each second, until interrupted
    #[arg(short, long)]
    watch: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    Close(CloseArguments),
}

/// Which connections are meant: those that fit all that is given.
#[derive(Args, Debug)]
struct Which {
    /// A route as `status` names it, or KIND/NAME or NAME of an object
    #[arg(value_name = "ROUTE")]
    route: Option<String>,

    #[command(flatten)]
    namespace: LookedIn,

    /// Only those to a destination: `host:port/subset`, or a part of it that `shift` takes
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,

    /// Only those to an endpoint: its address and port, or its address alone
    #[arg(long, value_name = "ADDRESS")]
    endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table, one connection a line
    Wide,
    /// The agent's answer as JSON
    Json,
}

impl From<Which> for ConnectionFilter {
    fn from(Which { route, namespace, destination, endpoint }: Which) -> Self {
        Self { route, namespace: namespace.namespace, destination, endpoint }
    }
}

pub(super) async fn execute(arguments: ConnectionsArguments, client: &Client) -> Result<Done, Stop> {
    let ConnectionsArguments { action, which, output, watch } = arguments;
    if let Some(Action::Close(arguments)) = action {
        return close::execute(arguments, client).await;
    }
    let filter = which.into();
    let mut reply = client.connections(&filter).await?;
    loop {
        let text = text(&reply, output)?;
        if !watch {
            screen::print(&text)?;
            return Ok(Done::Well);
        }
        let before = if screen::is_read_by_a_person() && output != Some(Output::Json) { CLEAR } else { "" };
        screen::print(&format!("{before}{text}"))?;
        sleep(PAUSE).await;
        reply = client.connections(&filter).await?;
        if before.is_empty() && output != Some(Output::Json) {
            screen::print("\n")?;
        }
    }
}

fn text(reply: &ConnectionsReply, output: Option<Output>) -> Result<String, Stop> {
    Ok(match output {
        Some(Output::Json) => screen::json(reply)?,
        None if screen::is_read_by_a_person() => listed::groups(reply),
        _ => {
            for note in listed::notes(reply) {
                screen::note(&note);
            }
            listed::table(reply)
        }
    })
}
