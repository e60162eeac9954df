//! Host: what a plan depends on beside its intent. It changes rarely, and is a value that can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// What an agent counts as being, for the objects that say whom they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Where it counts as being: what is not visible there is not there, and its DestinationRules come first.
    pub namespace: String,
    /// What the selectors of Gateways look at.
    pub labels: BTreeMap<String, String>,
}

/// This host, as far as plans depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Seeds every hash of a decision.
    pub seed: u64,
    /// Where ports of Gateways without `bind` are served.
    pub listen_addresses: Vec<IpAddr>,
    /// The addresses of this host, as networks. An IPv4 address is not written as an IPv6 address.
    pub networks: Vec<IpNet>,
    /// What the kernel can do here.
    pub abilities: Abilities,
    /// Who listens at endpoints of this host. An address at which somebody was seen to listen stays so as long as the
    /// endpoint is looked at: a version that is restarted does not change a datapath.
    pub presence: BTreeMap<SocketAddr, Presence>,
    /// Paths that lead to this agent's own admin socket, as they are printed: connections to them are refused.
    pub own_sockets: BTreeSet<String>,
    /// Addresses at which another program listens: a listener of the plan there is not served.
    pub withheld: BTreeSet<SocketAddr>,
}

/// What the kernel can do, else why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether connections can be pointed at endpoints.
    pub connect: Result<(), String>,
    /// Whether SYNs can be handed to listening sockets.
    pub lookup: Result<(), String>,
    /// Routes that there is room for if programs of this host can be pointed at endpoints when they connect; else 0. The
    /// routes of services themselves get what others leave.
    pub room: u32,
}

/// Who is at an address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A socket listens, or did when it was looked at before.
    Listening,
    /// No socket was seen to listen.
    Silent,
    /// A socket listens that cannot be given a SYN: why, as in "it listens with MPTCP".
    Unfit(String),
}

impl Default for Abilities {
    fn default() -> Self {
        let nothing = || Err("this agent has no programs in the kernel".to_owned());
        Self { connect: nothing(), lookup: nothing(), room: 0 }
    }
}

impl Host {
    /// A host that serves every address, has none beside the loopback ones, and can do nothing in the kernel.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            listen_addresses: vec![IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)],
            networks: Vec::new(),
            abilities: Abilities::default(),
            presence: BTreeMap::new(),
            own_sockets: BTreeSet::new(),
            withheld: BTreeSet::new(),
        }
    }

    /// Whether an address is one of this host.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Who is at an address of this host.
    pub fn presence(&self, address: SocketAddr) -> &Presence {
        self.presence.get(&address).unwrap_or(&Presence::Silent)
    }
}
