//! The command line. It reads files as text, asks an agent by the admin client, and prints results to standard output and
//! problems to standard error.

mod analyze;
mod apply;
mod column;
mod completions;
mod connections;
mod defaults;
mod delete;
mod describe;
mod difference;
mod doctor;
mod documents;
mod get;
mod hosts;
mod outcome;
mod preview;
mod quantity;
mod repeats;
mod run;
mod screen;
mod selection;
mod shift;
mod status;
mod stop;
mod table;
mod unload;
mod validate;

use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::admin::client::Client;
use crate::logging;
use crate::rights;
use defaults::AdminAddress;
use stop::{Done, Stop};

const ABOUT: &str = "\
Moves the new TCP connections of a service from one version to another, a share at a time.

It reads the route files you know from Istio: a Gateway opens a port, a VirtualService divides the port's new \
connections by weight, a DestinationRule says which endpoints are which version. `run` starts the agent that \
carries the connections. Every other command talks to it, with three exceptions: `validate` only reads files, as \
`analyze` and `hosts` can; `doctor` and `unload` look at the kernel; `completions` writes a script for a shell. No \
other command than `connections close` touches a connection that is open.";

const AFTER: &str = "\
Examples:
  sudo tcpshift-agent run                                      start an agent
  sudo tcpshift-agent apply -f examples/tcp-echo/all-v1.yaml   give it routes
  sudo tcpshift-agent shift vs/tcp-echo v2=20                  send 20 % of the new connections to v2
  sudo tcpshift-agent status                                   see what came of it
  sudo tcpshift-agent connections                              see who is connected

Exit codes:
  0   done
  1   failed: no agent, not found, unreadable, an object that comes from a file of yours, a connection that cannot \
be closed; doctor found that the kernel cannot decide
  2   usage: the command line itself is wrong
  65  invalid input: an object that is wrong by itself; nothing was changed
  75  doctor: the time was up before all programs were tried
  79  analyze found something at or above its threshold

Environment:
  TCPSHIFT_ADMIN  the agent's socket as unix:PATH, as --admin
  NO_COLOR        no colours
  RUST_LOG        what is logged to standard error (info for run, warn for the others)";

/// The command line of a process.
#[derive(Debug, Parser)]
#[command(name = "tcpshift-agent", version, about = "Moves new TCP connections from one version to another", long_about = ABOUT, after_help = AFTER)]
pub struct CommandLine {
    /// The agent's socket, as unix:PATH
    ///
    /// Default: /run/tcpshift/admin.sock as root, else tcpshift/admin.sock under `XDG_RUNTIME_DIR`.
    #[arg(long, global = true, env = "TCPSHIFT_ADMIN", value_name = "unix:PATH", value_parser = defaults::admin_address)]
    admin: Option<AdminAddress>,

    /// Longest wait for an answer of the agent, as 10s, 1m30s or 500ms
    ///
    /// A command that gets none ends with exit code 1. `get --watch` waits so long for its first objects, and for
    /// changes without a limit; `run --takeover` so long for the agent that it takes over from.
    #[arg(long, global = true, value_name = "TIME", value_parser = limit, default_value = "40s")]
    timeout: Duration,

    /// Whether `--admin` was typed, and not taken from the environment.
    #[arg(skip)]
    admin_is_typed: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArguments),
    Apply(apply::ApplyArguments),
    Preview(preview::PreviewArguments),
    Delete(delete::DeleteArguments),
    Get(get::GetArguments),
    Describe(describe::DescribeArguments),
    Shift(shift::ShiftArguments),
    Validate(validate::ValidateArguments),
    Analyze(analyze::AnalyzeArguments),
    Status(status::StatusArguments),
    Connections(connections::ConnectionsArguments),
    Hosts(hosts::HostsArguments),
    Doctor(doctor::DoctorArguments),
    Unload(unload::UnloadArguments),
    Completions(completions::CompletionsArguments),
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

/// The format of an answer that has one format for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum JsonOnly {
    /// All of it as JSON
    Json,
}

/// The format of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The agent's answer as JSON
    Json,
    /// Kind and name alone
    Name,
}

/// The command line as clap knows it, for documents and completions that are made from it.
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// Reads the command line. An invalid one ends the process with exit code 2, `--help` with 0.
pub fn read() -> CommandLine {
    let matches = command().get_matches();
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
    /// Begins to log, runs the command, prints its result, and returns the exit code.
    pub fn execute(self) -> ExitCode {
        if !matches!(self.command, Command::Run(_)) {
            logging::direct("warn");
            return outcome::exit_code(self.done());
        }
        // Before there is another thread, and before anything is read.
        if let Err(error) = rights::start() {
            let more = crate::app::MORE_THREADS;
            let message = format!("cannot start the process that keeps the agent's rights ({error}); {more}");
            return outcome::exit_code(Err(Stop::Failed(message)));
        }
        match logging::queued("info") {
            Ok(log) => {
                let code = outcome::exit_code(self.done());
                drop(log);
                code
            }
            Err(error) => {
                let message =
                    format!("cannot start the thread that writes the log ({error}); {}", crate::app::MORE_THREADS);
                outcome::exit_code(Err(Stop::Failed(message)))
            }
        }
    }

    fn done(self) -> Result<Done, Stop> {
        let Self { admin, timeout, admin_is_typed, command } = self;
        let agent = Way { admin, timeout };
        match command {
            Command::Run(arguments) => run::execute(arguments, agent),
            Command::Apply(arguments) => with_agent(agent, async |client| apply::execute(arguments, &client).await),
            Command::Preview(arguments) => with_agent(agent, async |client| preview::execute(arguments, &client).await),
            Command::Delete(arguments) => with_agent(agent, async |client| delete::execute(arguments, &client).await),
            Command::Get(arguments) => with_agent(agent, async |client| get::execute(arguments, &client).await),
            Command::Describe(arguments) => {
                with_agent(agent, async |client| describe::execute(arguments, &client).await)
            }
            Command::Shift(arguments) => with_agent(agent, async |client| shift::execute(arguments, &client).await),
            Command::Validate(arguments) => validate::execute(&arguments),
            Command::Analyze(arguments) if admin_is_typed => with_agent(agent, async |client| {
                let running = analyze::running(&client).await?;
                analyze::execute(arguments, Some(running))
            }),
            Command::Analyze(arguments) => analyze::execute(arguments, None),
            Command::Hosts(arguments) if arguments.asks_agent() => {
                with_agent(agent, async |client| hosts::of_agent(arguments, &client).await)
            }
            Command::Hosts(arguments) => hosts::of_files(&arguments),
            Command::Doctor(arguments) => doctor::execute(&arguments),
            Command::Unload(arguments) => unload::execute(&arguments),
            Command::Completions(arguments) => completions::execute(&arguments),
            Command::Connections(arguments) => {
                with_agent(agent, async |client| connections::execute(arguments, &client).await)
            }
            Command::Status(arguments) => with_agent(agent, async |client| status::execute(&arguments, &client).await),
        }
    }
}

/// The agent that a command is for, and the limit of time for its answers.
struct Way {
    admin: Option<AdminAddress>,
    timeout: Duration,
}

fn with_agent(
    Way { admin, timeout }: Way,
    command: impl AsyncFnOnce(Client) -> Result<Done, Stop>,
) -> Result<Done, Stop> {
    let client = Client::new(defaults::admin(admin)?).within(timeout);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(command(client))
}

/// Reads a time to wait.
fn limit(text: &str) -> Result<Duration, String> {
    quantity::duration(text).and_then(|limit| match limit {
        Duration::ZERO => Err("no answer comes in no time: give a longer one".to_owned()),
        limit => Ok(limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_definition() {
        command().debug_assert();
    }
}
