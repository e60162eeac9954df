//! Listening sockets that this process did not open itself, and the way its own go to another process.
//!
//! Those of the agent before are used up by the first plan: what it does not want is closed. Those of systemd are kept
//! for ever, and the workers get copies, since a later plan may want a port that only systemd may open.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;

use socket2::SockRef;
use tokio::sync::{mpsc, oneshot};

use super::command::{Lent, Opened, WorkerCommand};
use super::occupant::overlap;
use super::{Proxy, inode, socket};
use crate::plan::{Plan, Sets};

/// Sockets by the address of the listener that they are for.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    handed_over: HashMap<SocketAddr, Vec<TcpListener>>,
    activated: HashMap<SocketAddr, Vec<TcpListener>>,
}

impl Inherited {
    /// The sockets for a listener, if there are any: one at least for each of `count` workers, so that each has
    /// its part of the connections. None is closed, since that would reset what waits there, and where there are
    /// too few, workers share one: opened anew, a further one would be lost with what waits there when the process is. After an error all are
    /// there as before.
    pub(super) fn take(&mut self, address: SocketAddr, count: usize) -> Option<io::Result<Vec<Opened>>> {
        let copies = self.copies(address, count).transpose()?;
        Some(copies.map(|copies| {
            let handed_over = self.handed_over.remove(&address).unwrap_or_default();
            handed_over.into_iter().map(Opened::from).chain(copies).collect()
        }))
    }

    /// What a listener needs beside the sockets that were handed over for it. None if there is no socket at all.
    fn copies(&self, address: SocketAddr, count: usize) -> io::Result<Option<Vec<Opened>>> {
        let handed_over = self.handed_over.get(&address).map_or(&[][..], Vec::as_slice);
        let activated = self.activated.get(&address).map_or(&[][..], Vec::as_slice);
        let there = handed_over.iter().map(|one| (one, false)).chain(activated.iter().map(|one| (one, true)));
        let there: Vec<_> = there.collect();
        if there.is_empty() {
            return Ok(None);
        }
        // Accepted streams inherit what the socket has.
        for (socket, _) in &there {
            socket.set_nonblocking(true)?;
            socket::tune(&SockRef::from(*socket))?;
        }
        let further = (there.len()..count).map(|number| there[number % there.len()]);
        let copies = there[handed_over.len()..].iter().copied().chain(further);
        copies
            .map(|(socket, is_activated)| Ok(Opened { socket: socket.try_clone()?, is_activated }))
            .collect::<io::Result<_>>()
            .map(Some)
    }

    /// Whether one of them has the port of an address, and keeps it from being listened at.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        let mut there = self.handed_over.keys().chain(self.activated.keys());
        there.any(|other| overlap(*other, address))
    }

    /// Their numbers in the kernel's tables.
    pub(super) fn inodes(&self) -> impl Iterator<Item = u64> {
        let sockets = self.handed_over.values().chain(self.activated.values()).flatten();
        sockets.filter_map(|socket| inode(socket.as_fd()))
    }

    /// What came from systemd.
    pub(super) fn activated(&self) -> impl Iterator<Item = (SocketAddr, &TcpListener)> {
        self.activated.iter().flat_map(|(address, sockets)| sockets.iter().map(|socket| (*address, socket)))
    }
}

impl Proxy {
    /// Has no plan make this agent accept anything until [`Proxy::accept`], so that no client is lost if its start comes to
    /// nothing.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Takes the sockets that an agent before this one listens at, to be held until [`Proxy::accept`].
    pub fn adopt(&mut self, sockets: impl IntoIterator<Item = (SocketAddr, TcpListener)>) {
        self.hold();
        for (address, socket) in sockets {
            self.inherited.handed_over.entry(address).or_default().push(socket);
        }
    }

    /// Takes sockets that systemd listens at.
    pub fn activate(&mut self, sockets: impl IntoIterator<Item = (SocketAddr, TcpListener)>) {
        for (address, socket) in sockets {
            self.inherited.activated.entry(address).or_default().push(socket);
        }
    }

    /// Closes what was adopted and that a plan has no listener for, and returns whose it was.
    pub fn close_unwanted(&mut self, plan: &Plan) -> Vec<SocketAddr> {
        let unwanted = self.inherited.handed_over.extract_if(|&address, _| plan.listener(address).is_none());
        unwanted.map(|(address, _)| address).collect()
    }

    /// Addresses that systemd listens at and that a plan has no listener for. Who connects there waits.
    pub fn unserved(&self, plan: &Plan) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.inherited.activated.keys().copied().collect();
        addresses.retain(|&address| plan.listener(address).is_none());
        addresses.sort();
        addresses
    }

    /// Begins to accept what was held back, as the plan in force says.
    pub async fn accept(&mut self, plan: Arc<Plan>, sets: Arc<Sets>) {
        self.held = false;
        self.publish(plan, sets).await;
    }

    /// Copies of the sockets that came from systemd.
    pub fn lend_activated(&self) -> io::Result<Vec<Lent>> {
        self.inherited
            .activated()
            .map(|(address, socket)| Ok((address, socket.as_fd().try_clone_to_owned()?)))
            .collect()
    }

    /// A way to copies of all others, which needs the proxy no more.
    pub fn lender(&self) -> Lender {
        let workers = self.workers.iter().map(|worker| worker.commands.clone()).collect();
        Lender { workers, next: (0, 0) }
    }
}

/// Hands out copies of the sockets of all workers but systemd's, some at a time. No plan may be published meanwhile.
#[derive(Debug)]
pub struct Lender {
    workers: Vec<mpsc::UnboundedSender<WorkerCommand>>,
    /// Worker, and how many of its sockets were handed out.
    next: (usize, usize),
}

impl Lender {
    /// The next ones, `most` at most; none when there are no more. Fails if there is no descriptor left.
    pub async fn next(&mut self, most: usize) -> io::Result<Vec<Lent>> {
        while let Some(worker) = self.workers.get(self.next.0) {
            let (lent, is_lent) = oneshot::channel();
            worker.send(WorkerCommand::Lend { from: self.next.1, most, lent }).ok();
            let some = is_lent.await.map_err(|_| io::Error::other("a worker is gone"))??;
            if some.is_empty() {
                self.next = (self.next.0 + 1, 0);
                continue;
            }
            self.next.1 += some.len();
            return Ok(some);
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn listener() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap(), listener)
    }

    #[test]
    fn every_worker_has_a_socket_and_none_is_closed() {
        let mut inherited = Inherited::default();
        let (address, only) = listener();
        inherited.handed_over.insert(address, vec![only]);
        let sockets = inherited.take(address, 3).unwrap().unwrap();
        assert_eq!(sockets.len(), 3);
        let _client = TcpStream::connect(address).unwrap();
        assert!(sockets[2].socket.accept().is_ok());
        let (other, one) = listener();
        let (_, two) = listener();
        inherited.handed_over.insert(other, vec![one, two]);
        assert_eq!(inherited.take(other, 1).unwrap().unwrap().len(), 2, "more than workers");
        assert!(inherited.take(address, 1).is_none() && inherited.take(other, 1).is_none(), "they are used up");
    }

    #[test]
    fn both_kinds_at_one_address_are_told_apart() {
        let mut inherited = Inherited::default();
        let (address, one) = listener();
        let (_, two) = listener();
        inherited.handed_over.insert(address, vec![one]);
        inherited.activated.insert(address, vec![two]);
        let sockets = inherited.take(address, 3).unwrap().unwrap();
        let activated: Vec<_> = sockets.iter().map(|one| one.is_activated).collect();
        assert_eq!(activated, [false, true, false]);
        let _client = TcpStream::connect(address).unwrap();
        assert!(sockets[2].socket.accept().is_ok(), "a copy of the first");
    }

    #[test]
    fn a_socket_of_systemd_is_kept_for_later_plans() {
        let mut inherited = Inherited::default();
        let (address, socket) = listener();
        inherited.activated.insert(address, vec![socket]);
        for _ in 0..2 {
            let sockets = inherited.take(address, 2).unwrap().unwrap();
            let _client = TcpStream::connect(address).unwrap();
            assert!(sockets[1].socket.accept().is_ok() && sockets.iter().all(|one| one.is_activated));
        }
        assert_eq!(inherited.activated().count(), 1);
    }
}
