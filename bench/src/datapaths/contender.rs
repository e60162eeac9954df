//! Who is measured: one file each, all of the same form. A contender is started once in a topology, for shares of
//! 80 and 20 of two versions; it may be a process that carries, or something that steers without one.

mod agent;
mod direct;
mod envoy;
mod haproxy;
mod nftables;
mod nginx;
mod steered;
mod tcpshift;

use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Topology;
use super::process::{Process, Setting};
use super::world::BenchWorld;

/// Name of the one that all others are ratios to.
pub(super) const DIRECT: &str = direct::CONTENDER.name;
/// Name of ours.
pub(super) const OURS: &str = tcpshift::CONTENDER.name;
/// Names of those that ours is held against.
pub(super) const PEERS: [&str; 3] = [haproxy::COPY.name, haproxy::SPLICE.name, nginx::CONTENDER.name];

/// Names of ours that steer, of which shares of direct are promised.
pub(super) const STEERED: [&str; 2] = [steered::CONNECT.name, steered::LOOKUP.name];

/// Weights of the two versions while performance is measured.
pub(super) const WEIGHTS: [u32; 2] = [80, 20];

/// The topologies of a contender that can be in any.
const EVERYWHERE: [Topology; 2] = [Topology::Host, Topology::Veth];

/// All of them, in the order of tables.
pub(super) const ALL: [Contender; 9] = [
    direct::CONTENDER,
    tcpshift::CONTENDER,
    steered::CONNECT,
    steered::LOOKUP,
    haproxy::COPY,
    haproxy::SPLICE,
    nginx::CONTENDER,
    envoy::CONTENDER,
    nftables::CONTENDER,
];

/// One of them.
#[derive(Debug)]
pub(super) struct Contender {
    /// Name, as `--only` and the record have it.
    pub(super) name: &'static str,
    /// Where it can be.
    pub(super) topologies: &'static [Topology],
    /// What exactly it is; fails with the reason if it is not here.
    pub(super) version: fn(&Setting) -> Result<String>,
    /// Starts it. What it needs of the world stays borrowed by nobody: addresses and names are copied.
    pub(super) start: fn(&Setting, &BenchWorld) -> Result<RunningContender>,
}

/// A contender that is running.
pub(super) struct RunningContender {
    /// Where its clients connect to.
    pub(super) to: SocketAddrV4,
    /// Its process; none if it steers without one.
    pub(super) process: Option<Process>,
    /// Gives the two versions other weights; none if it cannot.
    pub(super) edit: Option<WeightEdit>,
    /// Looks at its connections; none if it shows none.
    pub(super) look: Option<ConnectionLook>,
}

/// Gives the two versions other weights, and returns when the contender says that it has, or at once.
pub(super) type WeightEdit = Box<dyn FnMut(&BenchWorld, Option<&Process>, [u32; 2]) -> Result<()>>;

/// Ways to look at the connections of a contender, each of which returns when all of the answer is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLook {
    /// Lists all that live; how many.
    pub(super) list: fn(&BenchWorld) -> Result<usize>,
    /// Asks for what is counted.
    pub(super) status: fn(&BenchWorld) -> Result<()>,
}

/// Whether a contender is one of ours, whose failure is that of the measurement.
pub(super) fn is_ours(name: &str) -> bool {
    name == OURS || STEERED.contains(&name)
}

/// What a program says of its version: of its first line, the words from one index on.
fn version_of(program: &str, words: &[&str], from: usize) -> Result<String> {
    let output = Command::new(program).args(words).output().with_context(|| format!("there is no {program} here"))?;
    ensure!(output.status.success(), "`{program} {}` ended with {}", words.join(" "), output.status);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(line.split_whitespace().skip(from).take(1).collect::<Vec<_>>().join(" "))
}
