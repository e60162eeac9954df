//! A socket in reserve, to dial with.
//!
//! Each connection takes two descriptors; were the second taken only after the first, then at the limit every freed
//! descriptor would go to a client that can be carried nowhere. So nobody is accepted before the socket to dial with is
//! there.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::limits;
use crate::plan::EndpointAddress;

/// How many sockets are made before the limit of descriptors is asked for again: fewer than are left to others.
const TRUSTED: u32 = 8;

/// The one in reserve.
#[derive(Debug)]
pub(super) struct Spare {
    socket: RefCell<Option<Socket>>,
    /// Descriptors that this process may have.
    limit: Cell<Option<u64>>,
    /// How often that was relied on.
    relied: Cell<u32>,
    /// Descriptors that were left to connections when the last one in reserve was made.
    free: Cell<u64>,
}

impl Spare {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            socket: RefCell::new(None),
            limit: Cell::new(limits::current_limit()),
            relied: Cell::new(0),
            free: Cell::new(u64::MAX),
        }
    }

    /// Makes sure that there is one.
    pub(super) fn provide(&self) -> io::Result<()> {
        let mut socket = self.socket.borrow_mut();
        if socket.is_none() {
            let new = socket_of(Domain::IPV4)?;
            self.relied.set(self.relied.get() + 1);
            let is_reserved = || limits::is_reserved(new.as_fd(), self.limit.get());
            // An operator may raise or lower it at any time.
            if self.relied.get() >= TRUSTED || is_reserved() {
                self.relied.set(0);
                self.limit.set(limits::current_limit());
            }
            if is_reserved() {
                return Err(Errno::MFILE.into());
            }
            self.free.set(limits::free(new.as_fd(), self.limit.get()));
            *socket = Some(new);
        }
        Ok(())
    }

    /// Descriptors that are left to connections.
    pub(super) fn free(&self) -> u64 {
        self.free.get()
    }

    /// A socket for an address: the one in reserve, or a new one.
    ///
    /// For a unix socket it is the one in reserve too: it keeps a descriptor until that is dialled.
    pub(super) fn take(&self, address: &EndpointAddress) -> io::Result<Socket> {
        let v6 = |address: &EndpointAddress| matches!(address, EndpointAddress::Tcp(address) if address.is_ipv6());
        match self.socket.take() {
            Some(socket) if !v6(address) => Ok(socket),
            // Closed first, so that its descriptor is free.
            spare => {
                drop(spare);
                socket_of(if v6(address) { Domain::IPV6 } else { Domain::IPV4 })
            }
        }
    }
}

/// A socket that can be connected to an address. It does not block.
pub(super) fn socket_for(address: SocketAddr) -> io::Result<Socket> {
    socket_of(Domain::for_address(address))
}

fn socket_of(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}
