//! Which process has a port already: read from the kernel's socket and process tables.
//!
//! Used only when a bind has failed. Finding a listening socket is quick. Finding its process may take long on a host with
//! many processes, so that is done beside the control loop.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::host::sockets::{self, Holder, SocketEntry};
use crate::rights;

/// What keeps a port from being listened at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Other processes listen there, with sockets of these inodes.
    Listener(BTreeSet<u64>),
    /// No socket listens there: a connection has the port, or a socket that is only bound.
    Connection,
    /// A listening socket of this agent that cannot be shared.
    Ourselves,
    /// It is not another socket.
    Other,
}

/// The listening sockets of this network namespace, read when they are first asked for.
#[derive(Debug, Default)]
pub(super) struct ListeningTable {
    entries: Option<Vec<SocketEntry>>,
}

impl ListeningTable {
    /// Listening sockets that keep `address` from being listened at, but for `own` ones.
    pub(super) fn others(&mut self, address: SocketAddr, own: &HashSet<u64>) -> BTreeSet<u64> {
        let entries = self.entries.get_or_insert_with(sockets::listening);
        let there = entries.iter().filter(|entry| overlap(entry.local, address));
        there.map(|entry| entry.inode).filter(|inode| !own.contains(inode)).collect()
    }
}

/// An obstacle in words, without the name of its process.
pub(super) fn explain(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Listener(_) => served_by("another process (`ss -tlnp`, as root, names it)"),
        Obstacle::Connection => busy_with("a connection"),
        Obstacle::Ourselves => "already served by this agent".to_owned(),
        Obstacle::Other => "the port is in use; choose another port".to_owned(),
    }
}

/// As [`explain`], with the names of processes, in the order of what is asked. The process table is walked once for all.
pub(super) fn name(obstacles: &[(SocketAddr, &Obstacle)]) -> Vec<String> {
    let is_busy = obstacles.iter().any(|(_, obstacle)| **obstacle == Obstacle::Connection);
    let all = if is_busy { sockets::all() } else { Vec::new() };
    let sockets = |(address, obstacle): &(SocketAddr, &Obstacle)| match obstacle {
        Obstacle::Listener(inodes) => inodes.clone(),
        Obstacle::Connection => {
            let there = all.iter().filter(|entry| !entry.listens && overlap(entry.local, *address));
            there.map(|entry| entry.inode).filter(|&inode| inode != 0).collect()
        }
        Obstacle::Ourselves | Obstacle::Other => BTreeSet::new(),
    };
    let wanted: Vec<BTreeSet<u64>> = obstacles.iter().map(sockets).collect();
    let inodes: HashSet<u64> = wanted.iter().flatten().copied().collect();
    let holders = if inodes.is_empty() { Vec::new() } else { rights::holders(&inodes) };
    let holder = |inodes: &BTreeSet<u64>| holders.iter().find(|holder| inodes.contains(&holder.inode));
    let named = obstacles.iter().zip(&wanted).map(|((_, obstacle), inodes)| {
        match (obstacle, holder(inodes).map(Holder::process)) {
            (Obstacle::Listener(_), Some(process)) => served_by(&process),
            (Obstacle::Connection, Some(process)) => busy_with(&format!("a connection of {process}")),
            _ => explain(obstacle),
        }
    });
    named.collect()
}

fn served_by(process: &str) -> String {
    format!("already served by {process}; stop it or choose another port")
}

fn busy_with(connection: &str) -> String {
    format!(
        "the port is the near end of {connection}; it is taken as soon as that has ended. To keep ports from being used \
         so: sysctl net.ipv4.ip_local_reserved_ports"
    )
}

/// Whether two sockets bound to these addresses exclude each other.
pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    // The unspecified IPv6 address takes both families; that of IPv4 takes only its own.
    let covers = |wide: IpAddr, ip: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4());
    a.port() == b.port() && (one == other || covers(one, other) || covers(other, one))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_listener_is_found_and_named_unless_it_is_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let wide = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        let found = |address, own: &HashSet<u64>| ListeningTable::default().others(address, own);
        let inodes = found(address, &HashSet::new());
        assert_eq!(inodes.len(), 1);
        assert_eq!(found(wide, &HashSet::new()), inodes);
        assert_eq!(found(wide, &inodes.iter().copied().collect()), BTreeSet::new());
        assert_eq!(found(SocketAddr::new([127, 0, 0, 9].into(), address.port()), &HashSet::new()), BTreeSet::new());
        let own = format!("(pid {})", std::process::id());
        let listener = Obstacle::Listener(inodes);
        let stream = TcpStream::connect(address).unwrap();
        let near = stream.local_addr().unwrap();
        let names = name(&[(address, &listener), (near, &Obstacle::Connection)]);
        assert!(names.iter().all(|name| name.contains(&own)), "{names:?}");
        assert!(names[0].starts_with("already served by "), "{names:?}");
        assert!(names[1].contains("near end of a connection of "), "{names:?}");
    }

    #[test]
    fn addresses_exclude_each_other_as_the_kernel_has_it() {
        let overlap = |a: &str, b: &str| overlap(a.parse().unwrap(), b.parse().unwrap());
        assert!(overlap("[::]:1", "10.0.0.1:1"));
        assert!(overlap("0.0.0.0:1", "10.0.0.1:1"));
        assert!(overlap("0.0.0.0:1", "[::]:1"));
        assert!(overlap("[::1]:1", "[::]:1"));
        assert!(!overlap("0.0.0.0:1", "[::1]:1"));
        assert!(!overlap("10.0.0.1:1", "10.0.0.2:1"));
        assert!(!overlap("10.0.0.1:1", "10.0.0.1:2"));
    }
}
