//! `run`: starts the agent.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::defaults;
use super::stop::{Done, Stop};
use super::{Way, quantity};
use crate::app::{self, Options};
use crate::route::names;
use crate::route::read::DEFAULT_NAMESPACE;

const AFTER: &str = "\
Examples:
  tcpshift-agent run
        from what `apply` stored, nothing at first
  tcpshift-agent run examples/tcp-echo/all-v1.yaml
        from a file; save the file, and it is in force within a second
  tcpshift-agent run routes/ --listen-address 127.0.0.1 --state-dir ./state
        from a folder and its own state, for this machine alone
  tcpshift-agent run --takeover
        in place of the agent that runs, say after an upgrade: no new connection is refused or reset, and those that the \
agent carries have its --drain-timeout to end

SIGHUP reads the files again. SIGTERM stops accepting, lets open connections end until --drain-timeout, and \
resets the rest.";

/// Start the agent: serve the ports of the Gateways, and divide their connections as the routes say
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct RunArguments {
    /// Files and folders of objects, watched for changes; none is fine
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Address to serve Gateway ports at, unless the Gateway says `bind`; repeatable [default: all]
    #[arg(long = "listen-address", value_name = "IP")]
    listen_addresses: Vec<IpAddr>,

    /// Address to dial endpoints from; repeatable, taken in turn [default: what the kernel chooses]
    ///
    /// From one address some 28,000 connections can be open to one endpoint.
    #[arg(long = "source-address", value_name = "IP")]
    source_addresses: Vec<IpAddr>,

    /// Folder for what `apply` stores
    ///
    /// Default: /var/lib/tcpshift as root, else tcpshift under `XDG_STATE_HOME` (~/.local/state).
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// How connections reach their endpoints
    #[arg(long, value_enum, default_value = "auto")]
    datapath: DatapathWord,

    /// Who decides for new connections
    #[arg(long, value_enum, default_value = "auto")]
    assign: Assign,

    /// Routes that the kernel's maps have room for: 20 kB of kernel memory for each that there is
    #[arg(long, value_name = "COUNT", default_value_t = crate::app::MAX_ROUTES, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_routes: u32,

    /// Memory that connections may hold, as 256M or 1G [default: half of what the agent may use]
    ///
    /// That is half of the least limit of its cgroup and of those above it, or of the host's memory. It is for the
    /// buffers, pipes and sockets of connections that the agent carries. Near it they have small buffers only, so that
    /// senders are held back; past it new connections are refused, which `status` counts.
    #[arg(long, value_name = "SIZE", value_parser = max_memory)]
    max_memory: Option<u64>,

    /// Cgroup whose programs are steered when they connect to a service [default: the root of all]
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,

    /// What becomes of new connections that the kernel steers if the agent is lost
    #[arg(long, value_enum, default_value = "keep")]
    on_agent_loss: OnAgentLoss,

    /// How long the agent may be silent before it counts as lost, 3s at least
    #[arg(long, value_name = "TIME", value_parser = patience, default_value = "10s")]
    agent_loss_after: Duration,

    /// Seed of the decisions, decimal or 0x…; agents with one seed decide alike [default: a fixed one]
    #[arg(long, value_name = "SEED", value_parser = quantity::seed, default_value_t = tcpshift_common::DEFAULT_SEED, hide_default_value = true)]
    seed: u64,

    /// How long open connections may take to end after SIGTERM, as 10s, 1m30s or 500ms
    #[arg(long, value_name = "TIME", value_parser = quantity::duration, default_value = "30s")]
    drain_timeout: Duration,

    /// Connections to end each second while this agent drains; with --takeover also asked of the agent before it
    ///
    /// They are ended evenly over time, so that clients do not all come back at once, and --drain-timeout begins when each has
    /// been told to end. Without it all are left alone until --drain-timeout, and then reset.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    drain_rate: Option<u32>,

    /// The agent's own labels, which the selector of a Gateway must match; repeatable
    #[arg(long = "label", value_name = "K=V", value_parser = label, default_value = "istio=ingressgateway")]
    labels: Vec<(String, String)>,

    /// The agent's own namespace
    ///
    /// What `exportTo` keeps from it is not there for the agent, and the DestinationRules in it come before those
    /// of a service's own namespace.
    #[arg(long, value_name = "NS", value_parser = namespace, default_value = DEFAULT_NAMESPACE)]
    namespace: String,

    /// Take over from the agent that answers at the admin socket, without a gap
    ///
    /// The new agent gets the listening sockets and the state directory of the running one, and begins to accept in
    /// the moment in which that one lets go. Connections that the old one carries stay with it until its --drain-timeout, and
    /// those that have not ended by then are reset; steered ones go on. If the new one cannot start, the running one goes
    /// on. With no agent running it starts as usual.
    #[arg(long)]
    takeover: bool,

    /// Read files too that other users could have written
    ///
    /// Without it, files have to belong to root, to the agent's user, or to the user in `SUDO_UID`, and neither they nor a
    /// folder on the way may be writable by others: whoever writes a route sends connections where they like. With it, such
    /// files may still name no unix socket.
    #[arg(long)]
    trust_files: bool,

    /// Do not start if a file or a stored object is invalid
    ///
    /// Without it the agent starts with all other objects. Once it runs, an invalid object of a file keeps its last valid
    /// version in either case. With --takeover the running agent goes on.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DatapathWord {
    /// The best that can do what a route asks for
    Auto,
    /// The agent relays, in user space, whatever routes ask for
    Proxy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnAgentLoss {
    /// They go on as the last plan says
    Keep,
    /// They all go to the first destination of their route that has a weight
    First,
    /// They are refused
    Refuse,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Assign {
    /// Kernel programs where they can, else the agent
    Auto,
    /// Kernel programs, or nothing starts
    Kernel,
    /// The agent itself
    Agent,
}

pub(super) fn execute(arguments: RunArguments, Way { admin, timeout }: Way) -> Result<Done, Stop> {
    let options = Options {
        paths: arguments.paths,
        listen_addresses: arguments.listen_addresses,
        source_addresses: arguments.source_addresses,
        state_dir: defaults::state_dir(arguments.state_dir)?,
        admin: defaults::admin(admin)?,
        datapath: match arguments.datapath {
            DatapathWord::Auto => app::DatapathOption::Auto,
            DatapathWord::Proxy => app::DatapathOption::Proxy,
        },
        assign: match arguments.assign {
            Assign::Auto => app::Assign::Auto,
            Assign::Kernel => app::Assign::Kernel,
            Assign::Agent => app::Assign::Agent,
        },
        max_routes: arguments.max_routes,
        max_memory: arguments.max_memory,
        steering: app::SteeringOptions {
            cgroup: arguments.cgroup,
            on_loss: match arguments.on_agent_loss {
                OnAgentLoss::Keep => app::OnLoss::Keep,
                OnAgentLoss::First => app::OnLoss::First,
                OnAgentLoss::Refuse => app::OnLoss::Refuse,
            },
            patience: arguments.agent_loss_after,
        },
        seed: arguments.seed,
        drain_timeout: arguments.drain_timeout,
        drain_rate: arguments.drain_rate,
        namespace: arguments.namespace,
        labels: arguments.labels.into_iter().collect::<BTreeMap<_, _>>(),
        takeover: arguments.takeover,
        timeout,
        trust_files: arguments.trust_files,
        strict: arguments.strict,
    };
    // `#` prints the causes behind the message, one after the other.
    app::run(options).map(|()| Done::Well).map_err(|error| Stop::Failed(format!("{error:#}")))
}

/// With less memory almost no connection would be served.
fn max_memory(text: &str) -> Result<u64, String> {
    let bytes = quantity::size(text)?;
    if bytes < 1 << 20 { Err("1M is the least".to_owned()) } else { Ok(bytes) }
}

/// The agent is heard once a second.
fn patience(text: &str) -> Result<Duration, String> {
    let patience = quantity::duration(text)?;
    if patience < Duration::from_secs(3) { Err("3s is the least".to_owned()) } else { Ok(patience) }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE, as istio=ingressgateway".to_owned()),
    }
}

fn namespace(text: &str) -> Result<String, String> {
    if names::is_dns_label(text) {
        Ok(text.to_owned())
    } else {
        Err("a namespace has lower-case letters, digits and inner hyphens, at most 63".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_least() {
        assert_eq!(max_memory("1M").unwrap(), 1 << 20);
        assert!(max_memory("1023K").is_err() && max_memory("x").is_err());
    }

    #[test]
    fn labels_have_a_key() {
        assert_eq!(label("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(label("a=").unwrap(), ("a".to_owned(), String::new()));
        assert!(label("a").is_err() && label("=b").is_err());
    }

    #[test]
    fn a_namespace_is_a_label_in_lower_case() {
        assert_eq!(namespace("infra").unwrap(), "infra");
        assert!(namespace("Infra").is_err() && namespace("a.b").is_err() && namespace("").is_err());
    }
}
