//! Listening sockets of endpoints of this host, as `lookup` finds them: who is there, and who is put there.
//!
//! A socket that begins to listen is put there by `record`, and leaves when it is closed, whether or not there is an agent.
//! Those that listened before the agent came are found in the host's tables and copied for a moment. This file must not
//! know routes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::net::sockopt::{socket_cookie, socket_protocol};
use socket2::SockRef;
use tcpshift_common::layout::{ListeningKey, PORT_WORDS, SHARERS};

use super::load::Maps;
use super::sys::Map;
use crate::host::sockets::{self, Entry};

/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;

/// Who listens at the ports of endpoints.
#[derive(Debug)]
pub struct Listening {
    maps: Arc<Maps>,
    /// Ports of endpoints of this host.
    ports: BTreeSet<u16>,
    /// Ports of listeners whose connections may be handed over.
    listeners: BTreeSet<u16>,
    /// What listening sockets in the map are bound to.
    fit: HashSet<SocketAddr>,
    /// What others are bound to that listen and cannot be in the map, and why.
    unfit: HashMap<SocketAddr, String>,
    /// Sockets that were looked at and cannot be put into the map.
    seen: HashSet<u64>,
}

/// Who listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence<'a> {
    /// Somebody, and connections can be handed over.
    Fit,
    /// Nobody.
    Nobody,
    /// Somebody, and connections cannot be handed over, for this reason.
    Unfit(&'a str),
}

impl Listening {
    pub(super) fn new(maps: Arc<Maps>) -> Self {
        Self {
            maps,
            ports: BTreeSet::new(),
            listeners: BTreeSet::new(),
            fit: HashSet::new(),
            unfit: HashMap::new(),
            seen: HashSet::new(),
        }
    }

    /// Has sockets kept that listen at these ports, and looks for them if any is new. Returns whether something changed.
    pub fn want(&mut self, ports: BTreeSet<u16>) -> io::Result<bool> {
        if ports.is_subset(&self.ports) {
            return Ok(false);
        }
        self.ports.extend(ports);
        self.maps.set_ports(0, &self.ports)?;
        self.look()
    }

    /// Has packets for these ports looked at.
    pub(super) fn serve(&mut self, ports: &BTreeSet<u16>) -> io::Result<()> {
        if !ports.is_subset(&self.listeners) {
            self.listeners.extend(ports);
            self.maps.set_ports(PORT_WORDS, &self.listeners)?;
        }
        Ok(())
    }

    /// Has no other ports looked at than these: of endpoints, and of listeners whose connections may be handed over.
    pub fn narrow(&mut self, ports: BTreeSet<u16>, listeners: BTreeSet<u16>) -> io::Result<()> {
        if ports != self.ports {
            self.maps.set_ports(0, &ports)?;
            self.ports = ports;
        }
        if listeners != self.listeners {
            self.maps.set_ports(PORT_WORDS, &listeners)?;
            self.listeners = listeners;
        }
        Ok(())
    }

    /// Looks who is there now. Returns whether something changed.
    pub fn look(&mut self) -> io::Result<bool> {
        if self.ports.is_empty() {
            return Ok(false);
        }
        let mut held = self.held()?;
        let entries: Vec<Entry> = sockets::listening()
            .into_iter()
            .filter(|entry| self.ports.contains(&entry.local.port()))
            .map(canonical)
            .collect();
        let inodes: HashSet<u64> = entries.iter().map(|entry| entry.inode).collect();
        self.seen.retain(|inode| inodes.contains(inode));
        let seen: HashSet<SocketAddr> =
            entries.iter().filter(|entry| self.seen.contains(&entry.inode)).map(|entry| entry.local).collect();
        let stay = self.unfit.iter().filter(|(at, _)| seen.contains(at));
        let mut unfit: HashMap<SocketAddr, String> = stay.map(|(at, why)| (*at, why.clone())).collect();
        // How many sockets there should be of each kind, against how many there are.
        let mut count: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for entry in &entries {
            *count.entry(entry.local).or_default() += 1;
        }
        let is_held = |at: &SocketAddr, held: &HashMap<SocketAddr, HashSet<u64>>| {
            held.get(at).map_or(0, HashSet::len) >= count.get(at).copied().unwrap_or(0).min(SHARERS as usize)
        };
        let missing: Vec<Entry> = entries
            .iter()
            .filter(|entry| !is_held(&entry.local, &held) && !self.seen.contains(&entry.inode))
            .copied()
            .collect();
        if !missing.is_empty() {
            let missing: HashMap<u64, SocketAddr> = missing.iter().map(|entry| (entry.inode, entry.local)).collect();
            for holder in sockets::holders(&missing.keys().copied().collect::<HashSet<_>>()) {
                let Some(at) = missing.get(&holder.inode) else { continue };
                let put = holder.copy().map_err(io::Error::from).and_then(|socket| self.put(&socket, *at, &held));
                match put {
                    Ok(Ok(cookie)) => drop(held.entry(*at).or_default().insert(cookie)),
                    Ok(Err(why)) => {
                        self.seen.insert(holder.inode);
                        unfit.insert(*at, why);
                    }
                    // It has been closed meanwhile, or this agent may not look.
                    Err(error) => log::debug!("the socket that listens at {at} cannot be copied: {error}"),
                }
            }
        }
        let fit: HashSet<SocketAddr> = held
            .into_iter()
            .filter(|(at, cookies)| !cookies.is_empty() && count.contains_key(at))
            .map(|(at, _)| at)
            .collect();
        let changed = fit != self.fit || unfit != self.unfit;
        (self.fit, self.unfit) = (fit, unfit);
        Ok(changed)
    }

    /// Puts a socket into the map, if it is one that can be. Returns its cookie, or why it cannot be there.
    fn put(
        &self,
        socket: &OwnedFd,
        at: SocketAddr,
        held: &HashMap<SocketAddr, HashSet<u64>>,
    ) -> io::Result<Result<u64, String>> {
        if socket_protocol(socket)?.is_some_and(|protocol| protocol.as_raw().get() == MPTCP) {
            return Ok(Err("it listens with MPTCP, whose connections the kernel cannot hand over".to_owned()));
        }
        if SockRef::from(socket).device()?.is_some() {
            return Ok(Err("it is bound to an interface, and takes the connections of that one alone".to_owned()));
        }
        let cookie = socket_cookie(socket)?;
        if held.get(&at).is_some_and(|held| held.contains(&cookie)) {
            return Ok(Ok(cookie));
        }
        let value = u64::from(socket.as_raw_fd().cast_unsigned());
        for sharer in 0..SHARERS {
            match self.maps.listening.add(&key(at, sharer), &value) {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => return Ok(Err(format!("the kernel does not take its socket: {error}"))),
            }
        }
        Ok(Ok(cookie))
    }

    /// Sockets in the map, by what they are bound to.
    fn held(&self) -> io::Result<HashMap<SocketAddr, HashSet<u64>>> {
        let map: &Map<ListeningKey, u64> = &self.maps.listening;
        let mut held: HashMap<SocketAddr, HashSet<u64>> = HashMap::new();
        let mut last = None;
        // A key that is gone meanwhile has the first one after it.
        let mut met = HashSet::new();
        while let Some(key) = map.next_key(last.as_ref())? {
            if !met.insert(key) {
                break;
            }
            // One that is gone meanwhile is not there.
            if let Ok(cookie) = map.get(&key) {
                held.entry(address(&key)).or_default().insert(cookie);
            }
            last = Some(key);
        }
        Ok(held)
    }

    /// Who listens at an address of this host.
    pub fn presence(&self, at: SocketAddr) -> Presence<'_> {
        let ip = at.ip().to_canonical();
        let everywhere = ip.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let bound = [Some(ip), everywhere, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))];
        for ip in bound.into_iter().flatten() {
            let at = SocketAddr::new(ip, at.port());
            if self.fit.contains(&at) {
                return Presence::Fit;
            }
            if let Some(why) = self.unfit.get(&at) {
                return Presence::Unfit(why);
            }
        }
        Presence::Nobody
    }
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

/// A mapped IPv4 address is that IPv4 address.
fn canonical(entry: Entry) -> Entry {
    Entry { local: SocketAddr::new(entry.local.ip().to_canonical(), entry.local.port()), ..entry }
}

fn key(at: SocketAddr, sharer: u32) -> ListeningKey {
    ListeningKey { address: at.ip().into(), port: at.port().into(), sharer }
}

fn address(key: &ListeningKey) -> SocketAddr {
    let ip = Ipv6Addr::from(key.address.octets()).to_canonical();
    SocketAddr::new(ip, key.port as u16)
}
