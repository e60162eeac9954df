//! What the workers are told, and what goes with it: sockets to accept from, and copies of sockets.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::connections::{LiveConnection, LiveFilter};
use crate::plan::{Plan, Sets};

/// A socket that is open and that a worker is to accept from.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: TcpListener,
    /// It came from systemd: this process is not the last to have it.
    pub(super) is_activated: bool,
}

impl From<TcpListener> for Opened {
    /// One of this process or of the agent before.
    fn from(socket: TcpListener) -> Self {
        Self { socket, is_activated: false }
    }
}

/// A copy of a listening socket, and its address.
pub(super) type Lent = (SocketAddr, OwnedFd);

/// What a worker is told.
#[derive(Debug)]
pub(super) enum WorkerCommand {
    /// Obey this plan from now on.
    Publish {
        plan: Arc<Plan>,
        sets: Arc<Sets>,
        /// Sockets to accept from, from now on.
        sockets: Vec<(SocketAddr, Opened)>,
        /// Listeners to close. What waits there is still served as the plan before says.
        gone: Vec<SocketAddr>,
        done: oneshot::Sender<()>,
    },
    /// Choose from these endpoint sets from now on.
    Replace { sets: Arc<Sets>, done: oneshot::Sender<()> },
    /// Hand out copies of at most `most` sockets from number `from` on, without systemd's. Their order stays the same
    /// between two plans.
    Lend { from: usize, most: usize, lent: oneshot::Sender<io::Result<Vec<Lent>>> },
    /// List the live connections that are meant, of `most` rows from number `from` on, and say where to go on.
    List {
        filter: Arc<LiveFilter>,
        from: usize,
        most: usize,
        listed: oneshot::Sender<(Vec<LiveConnection>, Option<usize>)>,
    },
    /// End at most `most` of the live connections that are meant, and say how many.
    Close { filter: Arc<LiveFilter>, most: usize, closed: oneshot::Sender<usize> },
    /// Accept nothing, and close nothing.
    Pause { done: oneshot::Sender<()> },
    /// Accept again.
    Resume { done: oneshot::Sender<()> },
    /// Close every listener. Waiting connections are served before, except at listeners that are `left` to another
    /// process with copies of their sockets, and at systemd's.
    Drain { left: Arc<HashSet<SocketAddr>>, done: oneshot::Sender<()> },
    /// End, and reset every connection that is left.
    End,
}
