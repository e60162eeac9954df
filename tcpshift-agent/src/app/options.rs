//! What `run` asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Assign;
use crate::kernel;

/// Which datapath carries connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatapathOption {
    /// The best that works here.
    Auto,
    /// The agent's own relay.
    Proxy,
}

/// What `run` asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files and folders of the user.
    pub paths: Vec<PathBuf>,
    /// Where servers without `bind` listen; every address if there is none.
    pub listen_addresses: Vec<IpAddr>,
    /// Where endpoints are dialled from, in turn; where the kernel chooses if there is none.
    pub source_addresses: Vec<IpAddr>,
    /// What `apply` stores.
    pub state_dir: PathBuf,
    /// Socket of the admin API.
    pub admin: PathBuf,
    /// Datapath asked for.
    pub datapath: DatapathOption,
    /// Who is to decide for new connections.
    pub assign: Assign,
    /// Routes that the kernel's maps have room for.
    pub max_routes: u32,
    /// Bytes that carried connections may hold; half of what the process may use if it is not given.
    pub max_memory: Option<u64>,
    /// How connections are steered, where they are.
    pub steering: kernel::SteeringOptions,
    /// Seed of decisions.
    pub seed: u64,
    /// How long connections may take to end.
    pub drain_timeout: Duration,
    /// How many of them are ended each second meanwhile.
    pub drain_rate: Option<u32>,
    /// Namespace that the agent counts as being in.
    pub namespace: String,
    /// Labels of the agent, for Gateway selectors.
    pub labels: BTreeMap<String, String>,
    /// Whether to take over from the agent that has the admin socket.
    pub takeover: bool,
    /// How long that agent may take for an answer.
    pub timeout: Duration,
    /// Whether to read files that others than root and this agent's user could have written.
    pub trust_files: bool,
    /// Whether not to start with an error in a file.
    pub strict: bool,
}
