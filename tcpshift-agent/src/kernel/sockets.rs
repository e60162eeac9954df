//! What programs know of the agent's sockets: which ones it serves, and what was decided for those it accepts.
//!
//! The storage belongs to the socket and dies with it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use tcpshift_common::layout::{Assignment, SocketRow, socket};

use super::sys::Map;

/// The way to the storage of sockets.
#[derive(Debug)]
pub struct Sockets {
    map: Map<i32, SocketRow>,
}

impl Sockets {
    pub(super) fn new(map: Map<i32, SocketRow>) -> Self {
        Self { map }
    }

    /// Has programs decide for what a listening socket accepts from now on.
    pub fn serve(&self, listening: BorrowedFd<'_>, listener: u32) -> io::Result<()> {
        self.map.set(
            &listening.as_raw_fd(),
            &SocketRow { state: socket::SERVED, listener, assignment: Assignment::default() },
        )
    }

    /// What was decided for an accepted socket, if anything was.
    pub fn assignment(&self, accepted: BorrowedFd<'_>, listener: u32) -> Option<Assignment> {
        let row = self.map.get(&accepted.as_raw_fd()).ok()?;
        (row.state == socket::ASSIGNED && row.listener == listener).then_some(row.assignment)
    }
}
