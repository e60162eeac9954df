//! Who has a port already: read from the kernel's socket and process tables.
//!
//! Used only when a bind has failed. Without the right to read another process's descriptors its name stays
//! unknown. It must not know of listeners.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// State of a listening socket in the kernel's table.
const LISTEN: &str = "0A";

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

/// One line of a socket table.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    local: SocketAddr,
    listens: bool,
    inode: u64,
}

/// Finds who stands in the way of binding `address`.
pub(super) fn find(address: SocketAddr) -> Occupant {
    let entries: Vec<Entry> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(parse).collect::<Vec<_>>())
        .filter(|entry| overlap(entry.local, address))
        .collect();
    let ours = sockets(Path::new("/proc/self/fd"));
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

/// Whether two sockets bound to these addresses exclude each other.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    // The unspecified IPv6 address takes both families; that of IPv4 takes only its own.
    let covers = |wide: IpAddr, ip: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4());
    a.port() == b.port() && (one == other || covers(one, other) || covers(other, one))
}

/// Reads `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`.
fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    let state = words.nth(1)?;
    let inode = words.nth(5)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    // Each word of the address is printed as this machine reads it from network order.
    let bytes: Vec<u8> = (0..ip.len() / 8)
        .map(|at| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(octets) => IpAddr::V4(Ipv4Addr::from(octets)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Entry { local: SocketAddr::new(ip, port), listens: state == LISTEN, inode })
}

/// The sockets among the descriptors listed in a folder.
fn sockets(descriptors: &Path) -> HashSet<u64> {
    let Ok(folder) = fs::read_dir(descriptors) else { return HashSet::new() };
    folder.flatten().filter_map(|entry| socket(&entry.path())).collect()
}

/// The inode of a socket, if that is what a descriptor is.
fn socket(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Name and pid of the first process that has one of the sockets open.
fn process(inodes: &HashSet<u64>) -> String {
    let Ok(processes) = fs::read_dir("/proc") else { return "another process".to_owned() };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(folder) = fs::read_dir(entry.path().join("fd")) else { continue };
        if folder.flatten().filter_map(|entry| socket(&entry.path())).any(|inode| inodes.contains(&inode)) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return format!("{} (pid {pid})", name.trim());
        }
    }
    "another process".to_owned()
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
    use std::net::TcpListener;

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
    fn a_name_is_found_by_socket() {
        let _listener = TcpListener::bind("[::1]:0").unwrap();
        let inodes = sockets(Path::new("/proc/self/fd"));
        assert!(process(&inodes).ends_with(&format!("(pid {})", std::process::id())));
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

    #[test]
    fn lines_that_are_none_are_passed_over() {
        for line in ["", "sl local_address", "0: zz:1 x 0A 0 0 0 0 0 1", "0: 0100007F 0 0A 0 0 0 0 0 1"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
