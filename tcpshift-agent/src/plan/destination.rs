//! What a route leads to: destinations, how connections to them are opened and kept, and their endpoints.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tcpshift_common::destination;

use super::{Keepalive, LoadBalancer};

/// Host, subset and port, with a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// `host:port` or `host:port/subset`; unique in its route.
    pub name: String,
    /// Full host name.
    pub host: String,
    /// Name of the subset, where the route names one.
    pub subset: Option<String>,
    /// Port of the service, not of the endpoint.
    pub port: u16,
    /// Stable number, of its own.
    pub number: u32,
    /// Stable number of host, subset and port, which all destinations of all routes share that lead there.
    pub target: u32,
    /// As the route file says.
    pub weight: u64,
    /// Slots of the route's table, `0..=10_000`.
    pub slots: u32,
    /// How connections to it are opened and kept.
    pub settings: Settings,
    /// How its endpoints are chosen.
    pub choice: LoadBalancer,
    /// Number of the set of its endpoints.
    pub set: u32,
}

/// How long the connections of a route may last: what the `DestinationRule` of its first destination says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Without a byte in either direction; no limit by default.
    pub idle_timeout: Option<Duration>,
    /// At all; no limit by default.
    pub max_duration: Option<Duration>,
    /// Without a byte while one side has ended its stream, as the route's annotation says; an hour by default, zero for no limit.
    pub half_closed_timeout: Option<Duration>,
}

/// How connections to a destination are opened and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long its endpoints may take to accept, all attempts together.
    pub connect_timeout: Duration,
    /// Connections at once to the host's subset and port, of all routes that lead there; no limit by default.
    pub max_connections: Option<u32>,
    /// How its endpoints are asked whether they are still there; none for the agent's own way.
    pub keepalive: Option<Keepalive>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), max_connections: None, keepalive: None }
    }
}

/// One address and port of a destination, or one unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub address: EndpointAddress,
    /// Number and weight, as the decision reads them.
    pub decides: destination::EndpointFacts,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// An address and port.
    Tcp(SocketAddr),
    /// A unix socket of this host: its path, or `@` and its abstract name.
    Unix(Arc<str>),
    /// Where the client asked to go: its connection is left as it is, but for the port, if one is given.
    Original(Option<u16>),
}

impl From<SocketAddr> for EndpointAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// As in a route file: `192.0.2.1:9000` or `unix:///run/echo.sock`.
impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Original(None) => f.write_str("the address asked for"),
            Self::Original(Some(port)) => write!(f, "the address asked for, port {port}"),
        }
    }
}

/// Why a destination can serve nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unusable {
    /// No Service and no ServiceEntry has the host.
    UnknownHost,
    /// No DestinationRule of the host has the subset.
    UnknownSubset,
    /// The service has no such port, or has several and the route names none.
    UnknownPort,
    /// Nothing is selected.
    NoEndpoint,
    /// All that is selected are host names that DNS has not answered for.
    Unresolved,
    /// The backend of a TCPRoute is of a kind that is none of services.
    NoService,
    /// The backend of a TCPRoute is in another namespace, and no ReferenceGrant there allows it.
    NotGranted,
    /// All that is selected are listeners of this agent: a connection would come back for ever.
    OwnListener,
    /// Clients have addresses of a family from which no endpoint can be reached.
    OtherFamily,
    /// A ServiceEntry with resolution NONE leaves connections with the address that clients asked for, and at a gateway
    /// that is the gateway's own.
    NoAddress,
    /// All that is selected are ejected: they take no connections.
    Ejected,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownHost => "unknown host",
            Self::UnknownSubset => "unknown subset",
            Self::UnknownPort => "unknown port",
            Self::NoEndpoint => "no endpoint",
            Self::Unresolved => "host name not resolved yet",
            Self::NoService => "backend is no Service",
            Self::NotGranted => "no ReferenceGrant allows it",
            Self::OwnListener => "endpoint is a listener of this agent",
            Self::OtherFamily => "no endpoint of the client's address family",
            Self::NoAddress => "resolution NONE leads nowhere from a gateway",
            Self::Ejected => "every endpoint is ejected",
        })
    }
}
