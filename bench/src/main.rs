//! `tcpshift-bench`: the server, the load, and the measurement of datapaths by both, each a command.

use std::net::SocketAddrV4;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcpshift_bench::datapaths::{self, Datapaths};
use tcpshift_bench::load::{self, Load};
use tcpshift_bench::serve::BenchServer;

/// Measures datapaths side by side
#[derive(Parser)]
#[command(name = "tcpshift-bench")]
enum Command {
    /// Serve: each address is a version of the service
    Serve {
        /// Addresses
        addresses: Vec<SocketAddrV4>,
    },
    /// Make the load of one workload; says `ready` and waits for a line before it counts
    Load(Load),
    /// Measure all contenders side by side, in network namespaces
    Datapaths(Datapaths),
}

fn main() -> ExitCode {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let done = raised.context("cannot raise the limit of descriptors").and_then(|()| command(Command::parse()));
    match done {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn command(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve { addresses } => {
            let server = BenchServer::bind(&addresses).context("cannot listen")?;
            say(&format!("listening at {:?}", server.addresses()?));
            server.run().context("cannot serve")?;
        }
        Command::Load(load) => say(&serde_json::to_string(&load::run(&load, &mut load::told)?)?),
        Command::Datapaths(datapaths) => return datapaths::run(&datapaths),
    }
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::print_stdout, reason = "what a command says")]
fn say(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr, reason = "what a command says when it fails")]
fn complain(error: &anyhow::Error) {
    eprintln!("failed: {error:#}");
}
