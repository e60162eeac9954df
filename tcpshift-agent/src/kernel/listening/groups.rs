//! Addresses and ports whose listening sockets are kept. Each has a row of map `groups`, which gives the range of its cells.
//!
//! Programs and the agent write those rows as words, since several sockets of a group may begin to listen at once.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use tcpshift_common::layout::{AddressPort, GROUP_WORDS, GROUPS, SHARERS};

use crate::kernel::load::Maps;
use crate::kernel::sys::MappedWords;

/// The groups that are kept.
#[derive(Debug)]
pub(super) struct Groups {
    maps: Arc<Maps>,
    words: MappedWords,
    /// The row of each.
    rows: HashMap<SocketAddr, u32>,
    free: Vec<u32>,
    next: u32,
}

impl Groups {
    pub(super) fn new(maps: Arc<Maps>) -> io::Result<Self> {
        let words = MappedWords::new(maps.groups.as_fd())?;
        Ok(Self { maps, words, rows: HashMap::new(), free: Vec::new(), next: 0 })
    }

    /// Whether sockets that are bound to an address and port are kept.
    pub(super) fn has(&self, at: SocketAddr) -> bool {
        self.rows.contains_key(&at)
    }

    /// Has sockets kept that listen at these endpoints, or at every address of their ports, and no others.
    pub(super) fn keep(&mut self, endpoints: &BTreeSet<SocketAddr>) -> io::Result<()> {
        let kept = with_every_address(endpoints);
        let gone: Vec<SocketAddr> = self.rows.keys().filter(|at| !kept.contains(at)).copied().collect();
        for at in gone {
            self.maps.own_endpoints.remove(&address_port(at))?;
            self.free.extend(self.rows.remove(&at));
        }
        for at in kept {
            if !self.has(at) {
                self.add(at)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, at: SocketAddr) -> io::Result<()> {
        let row = self.free.last().copied().unwrap_or(self.next);
        if row >= GROUPS {
            return Err(io::Error::other(format!("{GROUPS} addresses and ports are kept already")));
        }
        let [upto, hint] = self.words(row)?;
        hint.store(0, Relaxed);
        upto.store(0, SeqCst);
        self.maps.own_endpoints.set(&address_port(at), &row)?;
        if self.free.pop().is_none() {
            self.next += 1;
        }
        self.rows.insert(at, row);
        Ok(())
    }

    /// Has programs look for sockets of a group in all cells below a number.
    pub(super) fn raise(&self, at: SocketAddr, to: u32) {
        if let Some(row) = self.rows.get(&at)
            && let Ok([upto, _]) = self.words(*row)
        {
            upto.fetch_max(to.into(), SeqCst);
        }
    }

    /// Has programs look into a cell first, in which there is a socket: where they look into few, the others may be empty.
    pub(super) fn hint(&self, at: SocketAddr, sharer: u32) {
        if let Some(row) = self.rows.get(&at)
            && let Ok([_, hint]) = self.words(*row)
        {
            hint.store(sharer.into(), Relaxed);
        }
    }

    /// The number that all cells of a group are below; 0 if it is not kept.
    pub(super) fn upto(&self, at: SocketAddr) -> u32 {
        let words = self.rows.get(&at).and_then(|row| self.words(*row).ok());
        words.map_or(0, |[upto, _]| upto.load(SeqCst).min(SHARERS.into()) as u32)
    }

    /// In the order of a [`GroupRow`](tcpshift_common::layout::GroupRow).
    fn words(&self, row: u32) -> io::Result<&[AtomicU64; GROUP_WORDS as usize]> {
        let first = row as usize * GROUP_WORDS as usize;
        let words = self.words.as_ref().get(first..first + GROUP_WORDS as usize);
        words
            .and_then(|words| words.try_into().ok())
            .ok_or_else(|| io::Error::other("the map `groups` has no such row"))
    }
}

/// Endpoints, and every address of their ports.
fn with_every_address(endpoints: &BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
    let every = endpoints.iter().flat_map(|at| {
        let v4 = at.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let ips = [Some(at.ip()), v4, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))];
        ips.into_iter().flatten().map(|ip| SocketAddr::new(ip, at.port()))
    });
    every.collect()
}

fn address_port(at: SocketAddr) -> AddressPort {
    AddressPort { address: at.ip().into(), port: at.port().into(), reserved: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_rows_for_as_many_endpoints_as_are_promised() {
        let endpoints: BTreeSet<SocketAddr> = (0..tcpshift_common::layout::OWN_ENDPOINTS)
            .map(|number| SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(1 + number).unwrap())))
            .collect();
        assert_eq!(with_every_address(&endpoints).len(), GROUPS as usize);
    }
}
