//! Who has a port already: read from the kernel's socket and process tables.
//!
//! Used only when a bind has failed. It must not know of listeners.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::host::sockets::{self, Holder};

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    /// Nobody but listening sockets of this process.
    Ourselves,
    /// Somebody listens there: `haproxy (pid 42)`, or `another process`.
    Listener(String),
    /// It is the near end of somebody's connection.
    Connection(String),
    /// The tables name nobody.
    Unknown,
}

/// Finds who stands in the way of binding `address`.
pub(super) fn find(address: SocketAddr) -> Occupant {
    let entries: Vec<_> = sockets::all().into_iter().filter(|entry| overlap(entry.local, address)).collect();
    let ours = sockets::own();
    let listening: Vec<u64> = entries.iter().filter(|entry| entry.listens).map(|entry| entry.inode).collect();
    let others: HashSet<u64> = listening.iter().copied().filter(|inode| !ours.contains(inode)).collect();
    if !others.is_empty() {
        return Occupant::Listener(process(&others));
    }
    if !listening.is_empty() {
        return Occupant::Ourselves;
    }
    let connected: HashSet<u64> = entries.iter().map(|entry| entry.inode).filter(|&inode| inode != 0).collect();
    if connected.is_empty() { Occupant::Unknown } else { Occupant::Connection(process(&connected)) }
}

/// Name and pid of the first process that has one of the sockets open.
fn process(inodes: &HashSet<u64>) -> String {
    sockets::holders(inodes).first().map_or_else(|| "another process".to_owned(), Holder::process)
}

/// Whether two sockets bound to these addresses exclude each other.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    // The unspecified IPv6 address takes both families; that of IPv4 takes only its own.
    let covers = |wide: IpAddr, ip: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4());
    a.port() == b.port() && (one == other || covers(one, other) || covers(other, one))
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ourselves => f.write_str("already served by this agent"),
            Self::Listener(process) => {
                write!(f, "already served by {process}; stop it or choose another port")
            }
            Self::Connection(process) => write!(
                f,
                "the port is the near end of a connection of {process}; wait for its end, choose another port, or \
                 keep the port from being used so (sysctl net.ipv4.ip_local_reserved_ports)"
            ),
            Self::Unknown => f.write_str("the port is in use; choose another port"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener};

    use super::*;

    #[test]
    fn a_listener_of_ours_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(find(address), Occupant::Ourselves);
        assert_eq!(find(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port())), Occupant::Ourselves);
        assert_eq!(find(SocketAddr::new([127, 0, 0, 9].into(), address.port())), Occupant::Unknown);
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
