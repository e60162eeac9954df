//! The plan: what the objects ask for on this host, as numbers and tables; without the endpoints.
//!
//! A [`Plan`] is an immutable value, numbered by its *generation* and shared by `Arc`. A connection keeps the decision it
//! was given; a new plan never touches it. [`resolve`] makes an [`Intent`] of checked objects, the same on every host;
//! [`assemble`] makes a plan of an intent and a [`Host`]. What changes often, the state of endpoints, is in no plan but in
//! [`sets`]. [`weigh`] turns weights into slots, and [`register`] keeps numbers stable from one plan to the next.

pub mod assemble;
pub mod catalog;
mod changes;
pub mod datapath;
mod destination;
pub mod diff;
pub mod hashing;
pub mod host;
pub mod intent;
pub mod levels;
pub mod planner;
pub mod register;
pub mod resolve;
pub mod sets;
pub mod weigh;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tcpshift_common::address::{Prefix, family};
use tcpshift_common::decide;
use tcpshift_common::decide::Steer;
use tcpshift_common::listener::RuleRow;

pub use crate::route::annotations::Wish;
pub use crate::route::kind::Kind;
pub use crate::route::model::LoadBalancer;
pub use crate::route::model::policy::Keepalive;
pub use changes::RouteChanges;
pub use datapath::{Chosen, Datapath};
pub use destination::{Destination, Endpoint, EndpointAddress, Limits, Settings, Unusable};
pub use hashing::HashTable;
pub use host::{Abilities, Host, Presence, Scope};
pub use intent::{Digest, Intent};
pub use planner::Planner;
pub use sets::{EndpointSet, Sets};
pub use weigh::WeightTable;

/// Everything that is served, as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Counts the plans of one run of the agent, from 1.
    pub generation: u64,
    /// Seeds every hash of a decision.
    pub seed: u64,
    /// That of its intent: two agents that were given the same have one, whatever their hosts are.
    pub digest: Digest,
    /// Sorted by address. No two have the same address.
    pub listeners: Vec<Arc<Listener>>,
    /// What connections of this host's own programs to services meet: by host, port and family, IPv4 first.
    pub mesh: Vec<Arc<MeshListener>>,
    /// Addresses of this host, at which a listener at every address serves the host's own clients; empty if no such
    /// listener has one of the [`Plan::connect_ports`].
    pub local: Vec<Prefix>,
    /// What the objects ask for and this plan does not do, for the person who reads `status`.
    pub notes: Vec<String>,
    /// Host names, in lower case, that endpoints of its sets are written by.
    pub names: BTreeSet<String>,
}

/// An address and port that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Stable number.
    pub number: u32,
    /// The Gateway and its server's port name, or the name of its listener, `namespace/name:port-name`.
    pub name: String,
    /// Where clients connect. The unspecified IPv6 address stands for every address of both families.
    pub address: SocketAddr,
    /// Which connection falls to which of `routes`, most specific first.
    pub rules: Vec<RuleRow>,
    /// One for each rule that can be reached here; `RuleRow::route` is an index into this list.
    pub routes: Vec<Arc<Route>>,
}

/// A port of a service, as clients inside a mesh connect to it. What no rule fits goes on as if there were no agent; if the
/// service has an endpoint, the last rule fits everything and leads there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshListener {
    /// Stable number, of those that listeners have.
    pub number: u32,
    /// Full host name of the service.
    pub host: String,
    /// Port of the service.
    pub port: u16,
    /// Where clients connect, all of one family: its destinations have endpoints that such clients can reach, and no
    /// others.
    pub addresses: Vec<Prefix>,
    /// As those of a listener.
    pub rules: Vec<RuleRow>,
    /// As those of a listener.
    pub routes: Vec<Arc<Route>>,
}

/// One rule at a listener: a `tcp` rule of a VirtualService, or that of a TCPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Stable number.
    pub number: u32,
    /// Kind of the object that it is a rule of: a VirtualService or a TCPRoute. Of the route of a service itself, kind of
    /// the service: where no rule fits, its address leads to its own endpoints.
    pub kind: Kind,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub object: String,
    /// Which of the object's rules this is now, from 0.
    pub rule: usize,
    /// Who it is among those that the object has or had: it stays while rules before it come and go.
    pub id: u32,
    /// What leads a connection to its slot.
    pub steer: Steer,
    /// What becomes of the share of a destination without endpoints.
    pub on_empty: OnEmpty,
    /// How long its connections may last.
    pub limits: Limits,
    /// The datapath that the object asks for.
    pub asked: Wish,
    /// The datapath that it has, and why.
    pub chosen: Chosen,
    /// Where it goes, in the order of the route file.
    pub destinations: Vec<Destination>,
    /// Which slot belongs to which of `destinations`.
    pub table: WeightTable,
}

/// What becomes of the share of a destination that has no endpoint (`tcpshift.io/on-empty`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnEmpty {
    /// The share is refused, as in Istio. The default.
    #[default]
    Refuse,
    /// The other destinations take the share, by their weights.
    Redistribute,
}

impl Route {
    /// How its connections reach its endpoints, and why.
    pub fn datapath(&self) -> (Option<Datapath>, &str) {
        (self.chosen.datapath, &self.chosen.reason)
    }

    /// Whether it is that of a service itself, which no object has a rule for.
    pub fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Service | Kind::ServiceEntry)
    }

    /// The name people see: `namespace/name`, with the index of the rule where it is not the first; that of a service
    /// itself with the kind of the service in front, since a VirtualService may have the same name.
    pub fn name(&self) -> String {
        match self.rule {
            _ if self.is_own() => format!("{} {}/{}", self.kind.name(), self.namespace, self.object),
            0 => format!("{}/{}", self.namespace, self.object),
            rule => format!("{}/{}#{rule}", self.namespace, self.object),
        }
    }
}

impl Plan {
    /// The plan of an agent that has read nothing yet.
    pub fn empty(seed: u64) -> Self {
        Self {
            generation: 0,
            seed,
            digest: Intent::default().digest(),
            listeners: Vec::new(),
            mesh: Vec::new(),
            local: Vec::new(),
            notes: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    /// Every route of every listener, of those of the mesh too, each once.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let mesh = self.mesh.iter().enumerate().flat_map(|(at, listener)| {
            // Clients of both families may have the same route, in listeners that stand beside each other.
            let before = at.checked_sub(1).and_then(|before| self.mesh.get(before));
            let is_there = move |place: usize, route: &Arc<Route>| {
                before.and_then(|before| before.routes.get(place)).is_some_and(|before| Arc::ptr_eq(before, route))
            };
            let routes = listener.routes.iter().enumerate();
            routes.filter(move |(place, route)| !is_there(*place, route)).map(|(_, route)| route)
        });
        self.listeners.iter().flat_map(|listener| &listener.routes).chain(mesh)
    }

    /// Whether every connection is decided as by another plan, and the notes are the same.
    pub fn is_like(&self, other: &Self) -> bool {
        same(&self.listeners, &other.listeners)
            && same(&self.mesh, &other.mesh)
            && self.local == other.local
            && self.notes == other.notes
    }

    /// Ports at which programs of this host may be pointed elsewhere when they connect.
    pub fn connect_ports(&self) -> BTreeSet<u16> {
        let services = self.mesh.iter().filter(|listener| !listener.routes.is_empty()).map(|listener| listener.port);
        let connects = |route: &Arc<Route>| route.chosen.datapath == Some(Datapath::Connect);
        let listeners = self.listeners.iter().filter(|listener| listener.routes.iter().any(connects));
        services.chain(listeners.map(|listener| listener.address.port())).collect()
    }

    /// What clients meet at a port of a service, for each family that has an address.
    pub fn mesh(&self, host: &str, port: u16) -> &[Arc<MeshListener>] {
        let first = self.mesh.partition_point(|one| (one.host.as_str(), one.port) < (host, port));
        let rest = &self.mesh[first..];
        &rest[..rest.partition_point(|one| (one.host.as_str(), one.port) == (host, port))]
    }

    /// The listener at an address.
    pub fn listener(&self, address: SocketAddr) -> Option<&Arc<Listener>> {
        let at = self.listeners.binary_search_by_key(&address, |listener| listener.address).ok()?;
        self.listeners.get(at)
    }
}

/// Whether two lists are equal. What an assembly reuses is shared, so that most pairs are the same value.
fn same<T: PartialEq>(one: &[Arc<T>], other: &[Arc<T>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other) || one == other)
}

impl MeshListener {
    /// The name people see: `host:port`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether a VirtualService has a rule for it.
    pub fn has_rules(&self) -> bool {
        self.routes.iter().any(|route| !route.is_own())
    }

    /// Its addresses as people write them: `240.0.0.1, 240.1.0.0/16`.
    pub fn written(&self) -> String {
        let written = |prefix: &Prefix| {
            let address = Ipv6Addr::from(prefix.address.octets());
            let (address, all) = match address.to_ipv4_mapped() {
                Some(v4) if prefix.family == family::V4 => (IpAddr::V4(v4), 32),
                _ => (IpAddr::V6(address), 128),
            };
            if prefix.bits == all { address.to_string() } else { format!("{address}/{}", prefix.bits) }
        };
        self.addresses.iter().map(written).collect::<Vec<_>>().join(", ")
    }

    /// Family of its addresses, one of [`family`].
    pub fn family(&self) -> u32 {
        self.addresses.first().map_or(family::ANY, |address| address.family)
    }
}

impl Listener {
    /// The route of a connection, if any rule fits it.
    pub fn route(&self, flow: &tcpshift_common::address::Flow) -> Option<&Arc<Route>> {
        self.routes.get(tcpshift_common::listener::route(&self.rules, flow)? as usize)
    }
}

/// How `steer` reads in a route file (`tcpshift.io/steer-by`).
pub fn steer_name(steer: &Steer) -> String {
    match steer.by {
        decide::steer::SEQUENCE => "sequence".to_owned(),
        decide::steer::SOURCE if steer.v4_bits >= 32 && steer.v6_bits >= 128 => "source".to_owned(),
        decide::steer::SOURCE => format!("source/{},{}", steer.v4_bits, steer.v6_bits),
        _ => "connection".to_owned(),
    }
}
