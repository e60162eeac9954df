//! The hand-over room: listening sockets that come from elsewhere, be it from the agent before this one or from
//! systemd, and those that go to the agent after it.
//!
//! Two agents talk over one connection of the admin socket. The old one sends all it holds, some descriptors a message;
//! the new one makes itself ready, says so, and begins to accept when the old one says that it has let go. Until then
//! either may give up, or die, and the other one serves on. The room moves descriptors and says what they are.

pub mod activation;
mod channel;
pub mod give;
pub mod notify;
pub mod take;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{SocketType, sockopt};
use serde::{Deserialize, Serialize};

pub use channel::Channel;

/// What the new agent asks the admin API to switch to. Agents that speak differently have another word.
pub const PROTOCOL: &str = "tcpshift-handover-1";

/// Where it asks.
pub const PATH: &str = "/v1/handover";

/// Descriptors of one message. The kernel takes 253.
const BATCH: usize = 250;

/// Time for one step of the other side that needs no work: to send or to take a message.
const STEP_TIME: Duration = Duration::from_secs(10);

/// Time that a new agent has to make itself ready. It reads all files and compiles them meanwhile.
const READY_TIME: Duration = Duration::from_mins(1);

/// Addresses by host name, as DNS answered last.
pub type HostAddresses = HashMap<String, Vec<IpAddr>>;

/// A listening socket and where it listens.
pub type ListeningSocket = (SocketAddr, TcpListener);

/// Counts by name: whom they are of, and numbers by word. What they mean, `observe::ledger` says.
pub type ToldCounts = Vec<(String, BTreeMap<String, u64>)>;

/// Rows of one message of counts.
const ROWS: usize = 1_000;

/// What the two agents say. Descriptors go with the first two. A release that lacks a field passes over it; so what it would
/// not understand is said only to one that has said by a field that it does.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// Old: the admin socket, the lock of its path, and the lock of the state directory, in this order.
    Hello {
        names: HostAddresses,
        /// It can tell what it has counted, and goes on doing so until it ends.
        #[serde(default, skip_serializing_if = "is_false")]
        tells: bool,
    },
    /// Old: as many listening sockets, and the addresses that they were opened for. `activated` ones came from
    /// systemd and are kept whatever the plan says.
    Sockets { addresses: Vec<SocketAddr>, activated: bool },
    /// New: it has them.
    Received,
    /// Old: these were all.
    Complete,
    /// New: it can accept. It has no use for these listeners and has closed them.
    Ready {
        unwanted: Vec<SocketAddr>,
        /// It wants to be told what the old one has counted. It says when it serves, and keeps the connection open.
        #[serde(default, skip_serializing_if = "is_false")]
        listens: bool,
        /// The old one is to end so many of its connections a second.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain_rate: Option<u32>,
    },
    /// Old, to one that listens: what it has counted since it said so last, and how many connections it carries now.
    Counts { rows: ToldCounts, active: u64 },
    /// Old: it accepts no more.
    Released,
    /// New, if it listens: it serves, and systemd and its clients know.
    Serving,
    /// Either: nothing is handed over.
    GivenUp { reason: String },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Whether a socket is what it is said to be: one that listens for TCP connections, at this address. A host
/// without IPv6 has every IPv4 address for `[::]`.
fn check(socket: OwnedFd, said: SocketAddr) -> Result<TcpListener, String> {
    let listener = listening(socket)?;
    let is = listener.local_addr().map_err(|error| format!("a socket has no address: {error}"))?;
    let is_narrow = said.ip().is_unspecified() && said.is_ipv6() && is.ip().is_unspecified() && is.is_ipv4();
    if is == said || (is_narrow && is.port() == said.port()) {
        Ok(listener)
    } else {
        Err(format!("a socket listens on {is} and not on {said}"))
    }
}

/// Whether a descriptor is a socket that listens for TCP connections.
fn listening(socket: OwnedFd) -> Result<TcpListener, String> {
    let ip = |socket: &OwnedFd| {
        let domain = sockopt::socket_domain(socket)?;
        Ok::<_, rustix::io::Errno>(
            [rustix::net::AddressFamily::INET, rustix::net::AddressFamily::INET6].contains(&domain)
                && socket_type(socket)? == SocketType::STREAM
                && sockopt::socket_protocol(socket)? == Some(rustix::net::ipproto::TCP)
                && socket_acceptconn(socket)?,
        )
    };
    match ip(&socket) {
        Ok(true) => Ok(socket.into()),
        Ok(false) => Err("a descriptor is no listening TCP socket".to_owned()),
        Err(error) => Err(format!("a descriptor is no socket: {error}")),
    }
}

/// A process at the other end of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// None if it is in a pid namespace that this one cannot see: the kernel says 0 then (`pid_vnr`, 6.18).
    pid: Option<i32>,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid}"),
            None => f.write_str("in another pid namespace"),
        }
    }
}

/// Who is at the other end of a unix socket; an error for people if that is another user.
fn peer(socket: &impl AsFd) -> Result<Peer, String> {
    // Not by rustix, for which a process id of 0 is no value.
    let peer = getsockopt(socket, PeerCredentials).map_err(|error| format!("who asks cannot be told: {error}"))?;
    let (theirs, ours) = (peer.uid(), rustix::process::geteuid().as_raw());
    if theirs == ours {
        Ok(Peer { pid: Some(peer.pid()).filter(|pid| *pid > 0) })
    } else {
        Err(format!("the other agent runs as user {theirs} and this one as user {ours}; both have to be the same"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_process_of_another_pid_namespace_has_no_number() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let own = std::process::id().cast_signed();
        assert_eq!(peer(&one).unwrap(), Peer { pid: Some(own) });
        assert_eq!(Peer { pid: None }.to_string(), "in another pid namespace");
    }

    #[test]
    fn only_a_socket_that_listens_where_it_is_said_to_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = || OwnedFd::from(listener.try_clone().unwrap());
        assert_eq!(check(socket(), address).unwrap().local_addr().unwrap(), address);
        let other = SocketAddr::from(([127, 0, 0, 2], address.port()));
        assert!(check(socket(), other).unwrap_err().contains("and not on 127.0.0.2:"));
        let wide = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), address.port());
        assert!(check(socket(), wide).is_err(), "one address is not all");
    }

    #[test]
    fn what_is_no_listening_tcp_socket_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let unix = std::os::unix::net::UnixListener::bind(folder.path().join("socket"));
        for socket in [OwnedFd::from(stream), file.into(), udp.into(), unix.unwrap().into()] {
            assert!(listening(socket).is_err());
        }
    }
}
