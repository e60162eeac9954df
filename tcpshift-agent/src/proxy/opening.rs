//! Opening the listening sockets that a plan needs, and why one cannot be opened.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use super::command::Opened;
use super::listen::{self, ListenError};
use super::occupant::{self, ListeningTable, Obstacle};
use super::{Proxy, inode};
use crate::plan::{Listener, Plan};

/// A listener of a plan that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenFailure {
    /// Its address.
    pub address: SocketAddr,
    /// Its name.
    pub listener: String,
    /// Why, and what to do.
    pub reason: String,
    /// What stands in the way.
    pub obstacle: Obstacle,
}

impl ListenFailure {
    /// Whether no socket listens there and a connection has the port: it can be opened once that connection has ended.
    pub fn is_passing(&self) -> bool {
        self.obstacle == Obstacle::Connection
    }
}

/// Has failures name who stands in the way. Reads the process table once, which may take long.
pub fn name_occupants(failures: &mut [ListenFailure]) {
    let obstacles: Vec<_> = failures.iter().map(|failure| (failure.address, &failure.obstacle)).collect();
    let names = occupant::name(&obstacles);
    for (failure, name) in failures.iter_mut().zip(names).filter(|(failure, _)| failure.obstacle != Obstacle::Other) {
        failure.reason = name;
    }
}

impl fmt::Display for ListenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, listener, reason, .. } = self;
        write!(f, "cannot listen on {address} for {listener}: {reason}")
    }
}

impl Proxy {
    /// Opens the sockets that a plan needs and that are not open yet, and closes none. Who connects from then
    /// on waits until the plan is published. Returns the listeners that cannot be opened; they can be tried
    /// again.
    pub fn open(&mut self, plan: &Plan) -> Vec<ListenFailure> {
        let (mut failures, mut table) = (Vec::new(), ListeningTable::default());
        for listener in &plan.listeners {
            let address = listener.address;
            if self.is_open(address) {
                continue;
            }
            let opened = match self.inherited.take(address, self.workers.len()) {
                Some(Ok(sockets)) => {
                    for opened in &sockets {
                        self.serve(opened.socket.as_fd(), listener);
                    }
                    Ok(sockets)
                }
                Some(Err(error)) => {
                    Err((Obstacle::Other, format!("its sockets cannot be copied for each worker: {error}")))
                }
                None => self.listen(listener, &mut table),
            };
            match opened {
                Ok(sockets) => {
                    let inodes = sockets.iter().filter_map(|opened| inode(opened.socket.as_fd()));
                    self.inodes.insert(address, inodes.collect());
                    self.waiting.insert(address, sockets);
                }
                Err((obstacle, reason)) => {
                    failures.push(ListenFailure { address, listener: listener.name.clone(), reason, obstacle });
                }
            }
        }
        failures
    }

    /// Opens sockets of a listener anew.
    fn listen(&self, listener: &Listener, table: &mut ListeningTable) -> Result<Vec<Opened>, (Obstacle, String)> {
        let address = listener.address;
        let open = |beside| listen::open(address, self.workers.len(), beside, |socket| self.serve(socket, listener));
        let is_ours = || {
            let mut open = self.serving.iter().chain(self.waiting.keys()).copied();
            open.any(|own| occupant::overlap(own, address)) || self.inherited.is_at(address)
        };
        let refused = match open(false) {
            Ok(sockets) => return Ok(sockets.into_iter().map(Opened::from).collect()),
            Err(refused) => refused,
        };
        let obstacle = match refused {
            ListenError::Otherwise(reason) => return Err((Obstacle::Other, reason)),
            ListenError::Taken => {
                let own = self.inodes.values().flatten().copied().chain(self.inherited.inodes()).collect();
                let others = table.others(address, &own);
                match (others.is_empty(), is_ours()) {
                    (false, _) => Obstacle::Listener(others),
                    (true, false) => Obstacle::Connection,
                    // Another listener of ours covers the address, or is covered by it: both have to be served.
                    (true, true) => match open(true) {
                        Ok(sockets) => return Ok(sockets.into_iter().map(Opened::from).collect()),
                        Err(ListenError::Taken) => Obstacle::Ourselves,
                        Err(ListenError::Otherwise(reason)) => return Err((Obstacle::Other, reason)),
                    },
                }
            }
        };
        let reason = occupant::explain(&obstacle);
        Err((obstacle, reason))
    }

    /// Has programs decide for what a socket of a listener accepts, if they do.
    fn serve(&self, socket: BorrowedFd<'_>, listener: &Listener) {
        if let Some(sockets) = &self.sockets
            && let Err(error) = sockets.serve(socket, listener.number)
        {
            log::warn!("the agent decides at {}: its socket cannot be marked for programs: {error}", listener.address);
        }
    }

    /// Whether the sockets of a listener are open.
    pub fn is_open(&self, address: SocketAddr) -> bool {
        self.serving.contains(&address) || self.waiting.contains_key(&address)
    }

    /// Closes what was opened for a plan that was given up: the sockets that were never published and that
    /// `plan`, the one in force, has no use for.
    pub fn close_unused(&mut self, plan: &Plan) {
        self.waiting.retain(|&address, _| plan.listener(address).is_some());
        self.forget_closed();
    }

    /// Forgets the sockets of listeners that are not open any more.
    pub(super) fn forget_closed(&mut self) {
        let Self { serving, waiting, inodes, .. } = self;
        inodes.retain(|address, _| serving.contains(address) || waiting.contains_key(address));
    }
}
