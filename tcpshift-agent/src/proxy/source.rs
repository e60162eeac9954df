//! The addresses that the agent dials from (`run --source-address`).
//!
//! One address has some 28,000 ports for each endpoint; several in turn have as many each. Without any the kernel
//! chooses.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::Socket;

/// Addresses by family, taken in turn.
#[derive(Debug)]
pub(super) struct Sources {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    next: Cell<usize>,
    /// Ports that the kernel chooses from.
    ports: Cell<(u16, u16)>,
}

impl Sources {
    /// These addresses; each has to be one of the host, of which a bind will say so.
    pub(super) fn new(addresses: &[IpAddr]) -> Self {
        let (v4, v6) = addresses.iter().partition(|address| address.is_ipv4());
        Self { v4, v6, next: Cell::new(0), ports: Cell::new(ports()) }
    }

    /// Asks anew which ports the kernel chooses from, which an operator may change.
    pub(super) fn renew(&self) {
        self.ports.set(ports());
    }

    /// Whether the kernel may choose this port for a connection.
    pub(super) fn may_choose(&self, port: u16) -> bool {
        let (first, last) = self.ports.get();
        (first..=last).contains(&port)
    }

    fn of(&self, endpoint: SocketAddr) -> &[IpAddr] {
        if endpoint.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    /// How many sources there are to try for an endpoint; 1 where the kernel chooses.
    pub(super) fn attempts(&self, endpoint: SocketAddr) -> usize {
        self.of(endpoint).len().max(1)
    }

    /// Binds a socket to the next address of the endpoint's family, if there is any. The port is chosen when it is
    /// connected, so that it need be free for that endpoint only.
    pub(super) fn bind(&self, socket: &Socket, endpoint: SocketAddr) -> io::Result<()> {
        let sources = self.of(endpoint);
        let next = self.next.get();
        let Some(source) = sources.get(next % sources.len().max(1)) else { return Ok(()) };
        self.next.set(next.wrapping_add(1));
        setsockopt(socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(*source, 0).into())
    }
}

/// Any port if the kernel does not say.
fn ports() -> (u16, u16) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(first), Some(last)) => (first, last),
        _ => (0, u16::MAX),
    }
}
