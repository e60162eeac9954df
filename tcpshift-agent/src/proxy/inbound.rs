//! The second stage: what is known of a connection before it is decided for, whom it is from and what it asked for.
//!
//! Nothing is read of it: its first byte is carried as its last.

use std::net::SocketAddr;

use tcpshift_common::address::Flow;

use super::stream::Stream;
use crate::plan::Listener;

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbound {
    /// The client's address and port.
    pub(super) client: SocketAddr,
}

impl Inbound {
    /// Both ends of the connection. The near one is asked only where the listener has more than one address.
    pub(super) fn flow(&self, listener: &Listener, stream: &Stream) -> Flow {
        let address = listener.address;
        let local = if address.ip().is_unspecified() { stream.local_address().unwrap_or(address) } else { address };
        Flow::between(self.client, local)
    }
}
