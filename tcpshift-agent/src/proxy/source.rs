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
}

impl Sources {
    /// These addresses; each has to be one of the host, of which a bind will say so.
    pub(super) fn new(addresses: &[IpAddr]) -> Self {
        let (v4, v6) = addresses.iter().partition(|address| address.is_ipv4());
        Self { v4, v6, next: Cell::new(0) }
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
