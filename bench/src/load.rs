//! The load: one thread that makes the connections of one workload, and reports what it saw.

mod bulk;
mod connect;
mod exchange;
mod hold;

use std::io::{self, BufRead, Write};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::serve::{EXCHANGE, MESSAGE};

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadKind {
    /// A message of 64 bytes and its answer, again and again
    Exchange,
    /// As many bytes as go, to the server
    Up,
    /// As many bytes as go, from the server
    Down,
    /// Connect, one message and its answer, close
    Connect,
    /// One message and its answer each, and then nothing
    Hold,
}

/// One workload.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// What the connections do
    pub kind: LoadKind,
    /// Where to
    #[arg(long)]
    pub to: SocketAddrV4,
    /// Connections at the same time
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Seconds before anything counts
    #[arg(long, default_value_t = 0.0)]
    pub warm: f64,
    /// Seconds that count
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// End after so many connections, if that is earlier
    #[arg(long)]
    pub count: Option<u64>,
}

/// What a workload came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LoadReport {
    /// Messages that were answered, connections that were served, or bytes.
    pub count: u64,
    /// Nanoseconds it took.
    pub took: u64,
    /// Nanoseconds within which half of the answers came, from the message (or from connecting) on.
    pub p50: u64,
    /// Nanoseconds within which 99 of 100 did.
    pub p99: u64,
    /// Nanoseconds of processor time that the load itself took.
    pub processor: u64,
    /// Connections by the version that answered.
    pub versions: [u64; 2],
    /// When the last connection began that version 0 answered, on the monotonic clock; 0 if none did.
    pub last_of_first: u64,
}

/// Runs a workload. `start` is called once, when it is warm, and counting begins when it returns.
pub fn run(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<LoadReport> {
    ensure!(load.connections > 0, "a load has at least one connection");
    match load.kind {
        LoadKind::Exchange if load.connections == 1 => exchange::one(load, start),
        LoadKind::Exchange => exchange::many(load, start),
        LoadKind::Up => bulk::up(load, start),
        LoadKind::Down => bulk::down(load, start),
        LoadKind::Connect if load.connections == 1 => connect::one(load, start),
        LoadKind::Connect => connect::many(load, start),
        LoadKind::Hold => hold::hold(load, start),
    }
}

/// A start that says `ready` on standard output and waits for a line on standard input.
pub fn told() -> Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "ready").and_then(|()| output.flush()).context("cannot say that the load is ready")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("cannot read the word to start")?;
    if line.is_empty() {
        bail!("nobody waits for this load any more");
    }
    Ok(())
}

/// From the word to start to the end of what counts.
struct Span {
    begin: u64,
    end: u64,
    processor: u64,
}

impl Span {
    fn begin(load: &Load, start: &mut dyn FnMut() -> Result<()>) -> Result<Self> {
        start()?;
        let begin = clock::now();
        Ok(Self { begin, end: begin + clock::from_seconds(load.seconds), processor: clock::processor() })
    }

    /// The report of times that the answers took, each in nanoseconds.
    fn report(&self, mut times: Vec<u32>) -> LoadReport {
        let count = times.len() as u64;
        times.sort_unstable();
        let rank = |share: f64| {
            let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
            times.get(index).copied().map_or(0, u64::from)
        };
        LoadReport {
            count,
            took: clock::now() - self.begin,
            p50: rank(0.50),
            p99: rank(0.99),
            processor: clock::processor() - self.processor,
            ..LoadReport::default()
        }
    }
}

/// A message that asks for an answer.
const QUESTION: [u8; MESSAGE] = [EXCHANGE; MESSAGE];

/// A socket that may wait, connected.
fn connected(to: SocketAddrV4) -> Result<OwnedFd> {
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .context("cannot make a socket")?;
    sockopt::set_tcp_nodelay(&socket, true).context("cannot set TCP_NODELAY")?;
    net::connect(&socket, &to).with_context(|| format!("cannot connect to {to}"))?;
    Ok(socket)
}

/// One message and its whole answer, on a socket that waits. Returns the version that answered.
fn ask(socket: &OwnedFd) -> Result<u8> {
    ensure!(rustix::io::write(socket, &QUESTION).context("cannot send")? == MESSAGE, "a message went only in part");
    let mut answer = [0; MESSAGE];
    let mut have = 0;
    while have < MESSAGE {
        match rustix::io::read(socket, &mut answer[have..]).context("no answer")? {
            0 => bail!("closed before the answer"),
            count => have += count,
        }
    }
    Ok(answer[0])
}

/// Nanoseconds as they are kept; 4 s and more are one.
fn short(nanoseconds: u64) -> u32 {
    u32::try_from(nanoseconds).unwrap_or(u32::MAX)
}
