//! The command line: what a person types, and what is printed.
//!
//! The only room that knows clap and a terminal. It reads files as text, asks an agent by the admin client and
//! prints; it must not decide what an object means. Results go to standard output, problems to standard error.

mod analyze;
mod apply;
mod column;
mod delete;
mod describe;
mod difference;
mod doctor;
mod documents;
mod get;
mod hosts;
mod outcome;
mod place;
mod preview;
mod quantity;
mod run;
mod screen;
mod shift;
mod status;
mod table;
mod target;
mod unload;
mod validate;

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::admin::client::Client;
use outcome::{Done, Stop};
use place::AdminAddress;

const ABOUT: &str = "\
Moves the new TCP connections of a service from one version to another, a share at a time.

It reads the route files you know from Istio: a Gateway opens a port, a VirtualService divides the port's new \
connections by weight, a DestinationRule says which endpoints are which version. `run` starts the agent that \
carries the connections; every other command talks to it, but for `validate`, which only reads files, as `analyze` and `hosts` can, and for `doctor` and `unload`, which \
look at the kernel. A connection \
that is open is never touched.";

const AFTER: &str = "\
Examples:
  sudo tcpshift-agent run                                      start an agent
  sudo tcpshift-agent apply -f examples/tcp-echo/all-v1.yaml   give it routes
  sudo tcpshift-agent shift vs/tcp-echo v2=20                  send 20 % of the new connections to v2
  sudo tcpshift-agent status                                   see what came of it

Exit codes:
  0   done
  1   failed: no agent, not found, unreadable, an object that comes from a file of yours; doctor found that the \
kernel cannot decide
  2   usage: the command line itself is wrong
  65  invalid input: an object that is wrong by itself; nothing was changed
  79  analyze found something at or above its threshold

Environment:
  TCPSHIFT_ADMIN  the agent's socket as unix:PATH, as --admin
  NO_COLOR        no colours
  RUST_LOG        what is logged to standard error (info for run, warn for the others)";

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "tcpshift-agent", version, about = "Moves new TCP connections from one version to another", long_about = ABOUT, after_help = AFTER)]
pub struct CommandLine {
    /// The agent's socket, as unix:PATH
    ///
    /// Default: /run/tcpshift/admin.sock as root, else tcpshift/admin.sock under `XDG_RUNTIME_DIR`.
    #[arg(long, global = true, env = "TCPSHIFT_ADMIN", value_name = "unix:PATH", value_parser = place::admin_address)]
    admin: Option<AdminAddress>,

    /// Whether `--admin` was typed, and not taken from the environment.
    #[arg(skip)]
    admin_is_typed: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Apply(apply::Arguments),
    Preview(preview::Arguments),
    Delete(delete::Arguments),
    Get(get::Arguments),
    Describe(describe::Arguments),
    Shift(shift::Arguments),
    Validate(validate::Arguments),
    Analyze(analyze::Arguments),
    Status(status::Arguments),
    Hosts(hosts::Arguments),
    Doctor(doctor::Arguments),
    Unload(unload::Arguments),
}

/// The namespace of objects in files.
#[derive(Args, Debug)]
struct Namespace {
    /// Namespace of objects that name none [default: default]
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
}

/// The namespace of objects that are named on the command line.
#[derive(Args, Debug)]
struct LookedIn {
    /// Namespace looked in [default: default]
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
}

/// How an answer is printed that has no other form for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum JsonOnly {
    /// All of it as JSON
    Json,
}

/// How a change is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The agent's answer as JSON
    Json,
    /// Kind and name alone
    Name,
}

/// Reads the command line. What cannot be understood ends the process with exit code 2, `--help` with 0.
pub fn read() -> CommandLine {
    let matches = CommandLine::command().get_matches();
    let mut command_line = match CommandLine::from_arg_matches(&matches) {
        Ok(command_line) => command_line,
        Err(error) => error.exit(),
    };
    command_line.admin_is_typed = is_typed(&matches, "admin");
    command_line
}

/// Whether an argument stands on the command line, before or behind the command.
fn is_typed(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(ValueSource::CommandLine)
        || matches.subcommand().is_some_and(|(_, matches)| is_typed(matches, name))
}

impl CommandLine {
    /// What is logged unless `RUST_LOG` says otherwise.
    pub fn log_level(&self) -> &'static str {
        if matches!(self.command, Command::Run(_)) { "info" } else { "warn" }
    }

    /// Does what was asked, prints it, and says with which exit code to end.
    pub fn execute(self) -> ExitCode {
        let Self { admin, admin_is_typed, command } = self;
        let done = match command {
            Command::Run(arguments) => run::execute(arguments, admin),
            Command::Apply(arguments) => with_agent(admin, async |client| apply::execute(arguments, &client).await),
            Command::Preview(arguments) => with_agent(admin, async |client| preview::execute(arguments, &client).await),
            Command::Delete(arguments) => with_agent(admin, async |client| delete::execute(arguments, &client).await),
            Command::Get(arguments) => with_agent(admin, async |client| get::execute(arguments, &client).await),
            Command::Describe(arguments) => {
                with_agent(admin, async |client| describe::execute(arguments, &client).await)
            }
            Command::Shift(arguments) => with_agent(admin, async |client| shift::execute(arguments, &client).await),
            Command::Validate(arguments) => validate::execute(&arguments),
            Command::Analyze(arguments) if admin_is_typed => with_agent(admin, async |client| {
                let running = analyze::running(&client).await?;
                analyze::execute(arguments, Some(running))
            }),
            Command::Analyze(arguments) => analyze::execute(arguments, None),
            Command::Hosts(arguments) if arguments.asks_agent() => {
                with_agent(admin, async |client| hosts::of_agent(arguments, &client).await)
            }
            Command::Hosts(arguments) => hosts::of_files(&arguments),
            Command::Doctor(arguments) => doctor::execute(&arguments),
            Command::Unload(arguments) => unload::execute(&arguments),
            Command::Status(arguments) => with_agent(admin, async |client| status::execute(&arguments, &client).await),
        };
        outcome::exit_code(done)
    }
}

fn with_agent(
    admin: Option<AdminAddress>,
    command: impl AsyncFnOnce(Client) -> Result<Done, Stop>,
) -> Result<Done, Stop> {
    let client = Client::new(place::admin(admin)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(command(client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_definition() {
        CommandLine::command().debug_assert();
    }
}
