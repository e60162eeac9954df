//! Listening sockets of endpoints of this host, in the map where `lookup` finds them.
//!
//! `record` puts a socket into the map when it begins to listen, and the kernel takes it out when it is closed, with or
//! without an agent. Sockets that listened before the agent started are found in the host's socket table, copied for a
//! moment, and put in here. Each has a cell.

mod copies;
mod groups;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::net::sockopt::{socket_cookie, socket_protocol};
use socket2::SockRef;
use tcpshift_common::layout::{LISTENING, ListeningKey, OWN_ENDPOINTS, PORT_WORDS, SHARERS};

use self::copies::Copies;
use self::groups::Groups;
use super::load::Maps;
use super::sys::Map;
use crate::host::cookies;
use crate::host::sockets::{self, SocketEntry};

/// Passes over the map at most: a walk starts again when a socket leaves the map meanwhile.
const WALKS: u32 = 8;

/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;

/// Sockets that listen at endpoints of this host.
#[derive(Debug)]
pub struct EndpointListeners {
    maps: Arc<Maps>,
    /// What sockets may be bound to that are kept.
    groups: Groups,
    /// Endpoints of this host.
    endpoints: BTreeSet<SocketAddr>,
    /// Ports of listeners whose connections may be handed over.
    listeners: BTreeSet<u16>,
    /// Whether programs may not know yet which those are: to tell them has failed.
    is_untold: bool,
    /// Whether endpoints were not looked at yet since they are wanted: that has failed.
    is_unseen: bool,
    /// What listening sockets in the map are bound to.
    fit: HashSet<SocketAddr>,
    /// What others are bound to that listen and cannot be in the map, and why.
    unfit: HashMap<SocketAddr, String>,
    /// Sockets that were looked at; why one cannot be put into the map, if so.
    seen: HashMap<u64, Option<String>>,
    copies: Copies,
    /// Why programs could not be told, or sockets not be looked at, when that was tried last.
    trouble: Option<String>,
}

/// Whether a socket listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointPresence<'a> {
    /// A socket listens, and connections can be handed over to it.
    Fit,
    /// No socket listens.
    Nobody,
    /// A socket listens, and connections cannot be handed over to it, for this reason.
    Unfit(&'a str),
}

impl EndpointListeners {
    pub(super) fn new(maps: Arc<Maps>) -> Result<Self> {
        let groups = Groups::new(Arc::clone(&maps)).context("the map `groups` cannot be mapped as memory")?;
        Ok(Self {
            maps,
            groups,
            endpoints: BTreeSet::new(),
            listeners: BTreeSet::new(),
            is_untold: false,
            is_unseen: false,
            fit: HashSet::new(),
            unfit: HashMap::new(),
            seen: HashMap::new(),
            copies: Copies::default(),
            trouble: None,
        })
    }

    /// Has sockets kept that listen at these endpoints, and looks for them if any is new. What fails is made up for by the next
    /// [`EndpointListeners::look`]; the error is that there are too many.
    pub(super) fn want(&mut self, endpoints: BTreeSet<SocketAddr>) -> io::Result<()> {
        let new: BTreeSet<SocketAddr> = canonical(endpoints).difference(&self.endpoints).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        if self.endpoints.len() + new.len() > OWN_ENDPOINTS as usize {
            let message = format!("of this host there may be {OWN_ENDPOINTS} endpoints at a time, and there are more");
            return Err(io::Error::other(message));
        }
        self.endpoints.extend(new);
        (self.is_untold, self.is_unseen) = (true, true);
        self.look();
        Ok(())
    }

    /// Whether sockets of any endpoint are kept.
    pub(super) fn is_wanted(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// Whether all who listened before they were wanted are known, as far as they can be found.
    pub fn is_complete(&self) -> bool {
        !self.is_untold && !self.is_unseen && self.copies.is_idle()
    }

    /// Lets programs look at packets for these ports.
    pub(super) fn serve(&mut self, ports: &BTreeSet<u16>) -> io::Result<()> {
        if !ports.is_subset(&self.listeners) {
            self.listeners.extend(ports);
            self.is_untold = true;
        }
        self.tell()
    }

    /// Keeps only sockets of these endpoints, and lets programs look only at these ports of listeners. What fails is made up for
    /// by the next [`EndpointListeners::look`].
    pub fn narrow(&mut self, endpoints: BTreeSet<SocketAddr>, listeners: BTreeSet<u16>) {
        let endpoints = canonical(endpoints);
        if !self.endpoints.is_subset(&endpoints) || listeners != self.listeners {
            self.endpoints.retain(|at| endpoints.contains(at));
            self.listeners = listeners;
            self.is_untold = true;
        }
        if let Err(error) = self.tell() {
            self.trouble = Some(error.to_string());
        }
    }

    /// Tells programs of endpoints and ports, if they do not know them. It may be said again.
    fn tell(&mut self) -> io::Result<()> {
        if self.is_untold {
            self.groups.keep(&self.endpoints)?;
            self.maps.set_ports(0, &ports(&self.endpoints))?;
            self.maps.set_ports(PORT_WORDS, &self.listeners)?;
            self.is_untold = false;
        }
        Ok(())
    }

    /// Looks which sockets listen now. Returns whether something changed. Copies that take long are used by a later call; what
    /// fails is tried again by it.
    pub fn look(&mut self) -> bool {
        let looked = self.try_to_look();
        self.trouble = looked.as_ref().err().map(ToString::to_string);
        looked.unwrap_or(false)
    }

    /// What is known of listening sockets may be old, for this reason; in words, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.as_ref().map(|why| format!("listening sockets cannot be looked at: {why}; it is tried again"))
    }

    fn try_to_look(&mut self) -> io::Result<bool> {
        self.tell()?;
        if self.endpoints.is_empty() {
            self.is_unseen = false;
            return Ok(false);
        }
        let held = self.held()?;
        let entries: Vec<SocketEntry> = sockets::listening()
            .into_iter()
            .map(|entry| SocketEntry { local: plain(entry.local), ..entry })
            .filter(|entry| self.groups.has(entry.local))
            .collect();
        let inodes: HashSet<u64> = entries.iter().map(|entry| entry.inode).collect();
        self.seen.retain(|inode, _| inodes.contains(inode));
        // One that was known may have been taken out by an update that was refused.
        let is_missing = |entry: &&SocketEntry| match self.seen.get(&entry.inode) {
            None => true,
            Some(why) => why.is_none() && !held.contains_key(&entry.local),
        };
        let mut missing: HashMap<u64, SocketAddr> =
            entries.iter().filter(is_missing).map(|entry| (entry.inode, entry.local)).collect();
        let mut fit: HashSet<SocketAddr> = held.keys().copied().collect();
        let mut kept = if missing.is_empty() { HashSet::new() } else { self.kept(&held) };
        for inode in put_in_meanwhile(&missing, &kept) {
            missing.remove(&inode);
            self.seen.insert(inode, None);
        }
        let copies = self.copies.of(&missing.keys().copied().collect());
        for (inode, socket) in copies {
            // It may have been closed, or its endpoint may be in no plan any more.
            let Some(at) = missing.get(&inode) else { continue };
            match self.put(&socket, *at, &mut kept) {
                Ok(why) => {
                    if why.is_none() {
                        fit.insert(*at);
                    }
                    self.seen.insert(inode, why);
                }
                // It is tried again when sockets are looked at next.
                Err(error) => log::debug!("the listening socket {inode} at {at}: {error}"),
            }
        }
        let there: HashSet<SocketAddr> = entries.iter().map(|entry| entry.local).collect();
        fit.retain(|at| there.contains(at));
        let reasons = entries.iter().filter_map(|entry| Some((entry.local, self.seen.get(&entry.inode)?.clone()?)));
        let unfit: HashMap<SocketAddr, String> = reasons.filter(|(at, _)| !fit.contains(at)).collect();
        let changed = fit != self.fit || unfit != self.unfit;
        (self.fit, self.unfit, self.is_unseen) = (fit, unfit, false);
        Ok(changed)
    }

    /// Puts a socket into a free cell of the map, unless it has one. Returns why it cannot have one, if so.
    fn put(&self, socket: &OwnedFd, at: SocketAddr, kept: &mut HashSet<u64>) -> io::Result<Option<String>> {
        if socket_protocol(socket)?.is_some_and(|protocol| protocol.as_raw().get() == MPTCP) {
            return Ok(Some("it listens with MPTCP, whose connections the kernel cannot hand over".to_owned()));
        }
        if SockRef::from(socket).device()?.is_some() {
            return Ok(Some("it is bound to an interface, and takes the connections of that one alone".to_owned()));
        }
        let cookie = socket_cookie(socket)?;
        if !kept.insert(cookie) {
            return Ok(None);
        }
        let value = u64::from(socket.as_raw_fd().cast_unsigned());
        for sharer in 0..SHARERS {
            if self.maps.listening.get(&key(at, sharer)).is_ok() {
                continue;
            }
            match self.maps.listening.add(&key(at, sharer), &value) {
                Ok(()) => {
                    self.groups.raise(at, sharer + 1);
                    self.keep_once(at, sharer, cookie)?;
                    return Ok(None);
                }
                // Another one has begun to listen.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // There is no memory now.
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return Err(error),
                Err(error) => return Ok(Some(format!("the kernel does not take its socket: {error}"))),
            }
        }
        Ok(Some(format!("{SHARERS} sockets that share its address and port are kept already")))
    }

    /// Takes a socket that was put into a cell out again if it has another one.
    ///
    /// A socket that begins to listen is in the host's tables before `record` puts it into the map, and is locked until that is
    /// done; putting it into the map waits for that lock (`inet_listen` and `sock_map_sk_acquire`, 6.18,
    /// <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/af_inet.c>). So `record` has been first, if it was there at all.
    fn keep_once(&self, at: SocketAddr, sharer: u32, cookie: u64) -> io::Result<()> {
        let mut others = (0..self.groups.upto(at)).filter(|other| *other != sharer);
        if others.any(|other| self.maps.listening.get(&key(at, other)).is_ok_and(|kept| kept == cookie)) {
            self.maps.listening.remove(&key(at, sharer))?;
        }
        Ok(())
    }

    /// The cookies of all sockets in the map.
    fn kept(&self, held: &HashMap<SocketAddr, u32>) -> HashSet<u64> {
        let keys = held.iter().flat_map(|(at, upto)| (0..*upto).map(|sharer| key(*at, sharer)));
        // A cell may be empty by now.
        keys.filter_map(|key| self.maps.listening.get(&key).ok()).collect()
    }

    /// What sockets in the map are bound to, each with the number that their cells are below.
    fn held(&self) -> io::Result<HashMap<SocketAddr, u32>> {
        let map: &Map<ListeningKey, u64> = &self.maps.listening;
        let mut held: HashMap<SocketAddr, u32> = HashMap::new();
        let mut lowest: HashMap<SocketAddr, u32> = HashMap::new();
        let mut last = None;
        // A key that is gone meanwhile has the first one after it, so that some are met again.
        for _ in 0..WALKS * LISTENING {
            let Some(key) = map.next_key(last.as_ref())? else { break };
            if key != ListeningKey::REFUSER {
                let upto = held.entry(address(&key)).or_default();
                *upto = (*upto).max(key.sharer + 1);
                let first = lowest.entry(address(&key)).or_insert(key.sharer);
                *first = (*first).min(key.sharer);
            }
            last = Some(key);
        }
        // The row of a group that was not kept for a time does not have their range.
        for (at, upto) in &held {
            self.groups.raise(*at, *upto);
        }
        for (at, sharer) in lowest {
            self.groups.hint(at, sharer);
        }
        Ok(held)
    }

    /// Whether a socket listens at an address of this host.
    pub fn presence(&self, at: SocketAddr) -> EndpointPresence<'_> {
        let ip = at.ip().to_canonical();
        let everywhere = ip.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let bound = [Some(ip), everywhere, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))];
        for ip in bound.into_iter().flatten() {
            let at = SocketAddr::new(ip, at.port());
            if self.fit.contains(&at) {
                return EndpointPresence::Fit;
            }
            if let Some(why) = self.unfit.get(&at) {
                return EndpointPresence::Unfit(why);
            }
        }
        EndpointPresence::Nobody
    }
}

/// Those of some sockets that `record` has put into the map: whose they are need not be found.
fn put_in_meanwhile(missing: &HashMap<u64, SocketAddr>, kept: &HashSet<u64>) -> Vec<u64> {
    if missing.is_empty() || kept.is_empty() {
        return Vec::new();
    }
    let listening = cookies::of_listening().unwrap_or_else(|error| {
        log::debug!("the cookies of listening sockets are not known: {error}");
        HashMap::new()
    });
    let is_kept = |inode: &u64| listening.get(inode).is_some_and(|cookie| kept.contains(cookie));
    missing.keys().copied().filter(is_kept).collect()
}

impl Maps {
    /// Gives each port its bit, in the words from `first` on.
    fn set_ports(&self, first: u32, ports: &BTreeSet<u16>) -> io::Result<()> {
        let mut words = vec![0_u64; PORT_WORDS as usize];
        for port in ports {
            words[usize::from(*port) / 64] |= 1 << (port % 64);
        }
        let keys: Vec<u32> = (first..first + PORT_WORDS).collect();
        self.ports.set_all(&keys, &words)
    }
}

/// An address and no more: a mapped IPv4 address is that IPv4 address.
fn plain(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

fn canonical(endpoints: BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
    endpoints.into_iter().map(plain).collect()
}

fn ports(endpoints: &BTreeSet<SocketAddr>) -> BTreeSet<u16> {
    endpoints.iter().map(SocketAddr::port).collect()
}

fn key(at: SocketAddr, sharer: u32) -> ListeningKey {
    ListeningKey { address: at.ip().into(), port: at.port().into(), sharer }
}

fn address(key: &ListeningKey) -> SocketAddr {
    let ip = Ipv6Addr::from(key.address.octets()).to_canonical();
    SocketAddr::new(ip, key.port as u16)
}
