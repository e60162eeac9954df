//! Copies of listening sockets that other processes have.
//!
//! Who has a socket is found by a walk through /proc, which may take long on a host with many processes. So it is made
//! on a thread of its own, and waited for only a moment. A copy is made when it is asked for: as long as there is one,
//! the socket listens on after its process has closed it. A socket that cannot be copied, such as one that the kernel
//! itself has open, is looked for ever more seldom.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::sockets::Holder;
use crate::rights;

/// How long a walk is waited for when it begins, if it is the first one for some socket.
const MOMENT: Duration = Duration::from_millis(500);

/// How long a socket without a copy is not looked for again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Who makes copies.
#[derive(Debug, Default)]
pub(super) struct Copies {
    walk: Option<Walk>,
    /// Sockets of which there was no copy.
    absent: HashMap<u64, Absent>,
}

/// A walk that is under way.
#[derive(Debug)]
struct Walk {
    wanted: HashSet<u64>,
    found: Receiver<Vec<Holder>>,
}

#[derive(Debug)]
struct Absent {
    again: Instant,
    pause: Duration,
}

impl Copies {
    /// Whether no walk is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.walk.is_none()
    }

    /// Copies of some of these sockets. Those of others may come with a later call.
    pub(super) fn of(&mut self, wanted: &HashSet<u64>) -> HashMap<u64, OwnedFd> {
        self.absent.retain(|inode, _| wanted.contains(inode));
        let (walk, patience) = if let Some(walk) = self.walk.take() {
            (walk, Duration::ZERO)
        } else {
            let Some(walk) = self.begin(wanted) else { return HashMap::new() };
            let is_first = walk.wanted.iter().any(|inode| !self.absent.contains_key(inode));
            (walk, if is_first { MOMENT } else { Duration::ZERO })
        };
        match walk.found.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => {
                self.walk = Some(walk);
                HashMap::new()
            }
            // It has ended by a panic.
            Err(RecvTimeoutError::Disconnected) => self.copied(&walk.wanted, &[]),
            Ok(holders) => self.copied(&walk.wanted, &holders),
        }
    }

    /// Begins a walk for the sockets that are due. None if no socket is due.
    fn begin(&self, wanted: &HashSet<u64>) -> Option<Walk> {
        let now = Instant::now();
        let is_due = |inode: &u64| self.absent.get(inode).is_none_or(|absent| absent.again <= now);
        let wanted: HashSet<u64> = wanted.iter().copied().filter(is_due).collect();
        if wanted.is_empty() {
            return None;
        }
        let (sender, found) = mpsc::channel();
        let (inodes, other) = (wanted.clone(), sender.clone());
        // The receiver is gone if the agent ends.
        let walk = move || drop(sender.send(rights::holders(&inodes)));
        if thread::Builder::new().name("copies".to_owned()).spawn(walk).is_err() {
            // The host gives no thread.
            drop(other.send(rights::holders(&wanted)));
        }
        Some(Walk { wanted, found })
    }

    /// Copies what a walk has found, and takes note of what it has not.
    fn copied(&mut self, wanted: &HashSet<u64>, holders: &[Holder]) -> HashMap<u64, OwnedFd> {
        let mut copies = HashMap::new();
        for (holder, copy) in holders.iter().zip(rights::copies(holders)) {
            match copy {
                Ok(copy) => drop(copies.insert(holder.inode, copy)),
                // It has been closed meanwhile, or this agent may not look.
                Err(error) => log::debug!("the listening socket {} cannot be copied: {error}", holder.inode),
            }
        }
        for inode in wanted {
            if copies.contains_key(inode) {
                self.absent.remove(inode);
            } else {
                let pause = self.absent.get(inode).map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
                self.absent.insert(*inode, Absent { again: Instant::now() + pause, pause });
            }
        }
        copies
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::fs::fstat;

    use super::*;

    /// Asks until an answer is there.
    fn asked(copies: &mut Copies, wanted: &HashSet<u64>) -> HashMap<u64, OwnedFd> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let found = copies.of(wanted);
            if copies.walk.is_none() {
                return found;
            }
            assert!(Instant::now() < until, "a walk through /proc has no end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_socket_that_no_process_has_does_not_cost_a_walk_each_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = fstat(&listener).unwrap().st_ino;
        // The numbers of sockets count up from 1.
        let nobodys = u64::MAX;
        let (mut copies, both) = (Copies::default(), HashSet::from([inode, nobodys]));
        let found = asked(&mut copies, &both);
        assert_eq!(found.keys().collect::<Vec<_>>(), [&inode]);
        assert_eq!(fstat(&found[&inode]).unwrap().st_ino, inode);
        let rest = HashSet::from([nobodys]);
        assert!(copies.begin(&rest).is_none(), "it is not its time yet");
        assert!(copies.begin(&both).is_some_and(|walk| walk.wanted == HashSet::from([inode])));
        copies.absent.values_mut().for_each(|absent| absent.again = Instant::now());
        assert!(asked(&mut copies, &rest).is_empty());
        assert_eq!(copies.absent[&nobodys].pause, 2 * FIRST_PAUSE);
        // One that is not wanted any more is forgotten.
        copies.of(&HashSet::new());
        assert!(copies.absent.is_empty());
    }
}
