//! The kernel's table of TCP sockets, and the processes that have them open.
//!
//! Without the right to read another process's descriptors, what it has stays unknown.

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::trust::text;

/// State of a listening socket in the kernel's table.
const LISTEN: &str = "0A";

/// One table for each family.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// One line of a socket table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketEntry {
    /// What it is bound to.
    pub local: SocketAddr,
    /// Whether it listens.
    pub listens: bool,
    /// Its inode number; 0 if no process has it open.
    pub inode: u64,
}

/// All sockets of this network namespace.
pub fn all() -> Vec<SocketEntry> {
    let tables = TABLES.iter().filter_map(|table| fs::read_to_string(table).ok());
    tables.flat_map(|table| table.lines().filter_map(parse).collect::<Vec<_>>()).collect()
}

/// Listening sockets of this network namespace. The kernel lists them first, so that other sockets cost nothing.
pub fn listening() -> Vec<SocketEntry> {
    let mut found = Vec::new();
    for table in TABLES {
        let Ok(table) = File::open(table) else { continue };
        let entries = BufReader::new(table).lines().skip(1).map_while(Result::ok).map_while(|line| parse(&line));
        found.extend(entries.take_while(|entry| entry.listens));
    }
    found
}

/// The sockets that this process has open.
pub fn own() -> HashSet<u64> {
    let Ok(folder) = fs::read_dir("/proc/self/fd") else { return HashSet::new() };
    folder.flatten().filter_map(|entry| socket(&entry.path())).collect()
}

/// Where some process has a socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The socket.
    pub inode: u64,
    /// The process.
    pub pid: i32,
    /// Its descriptor.
    pub descriptor: RawFd,
}

impl Holder {
    /// A copy of the descriptor. Needs the right to trace the process. Fails if it is another socket by now, be it of another
    /// process.
    pub fn copy(&self) -> rustix::io::Result<OwnedFd> {
        let pid = Pid::from_raw(self.pid).ok_or(Errno::SRCH)?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let copy = pidfd_getfd(process, self.descriptor, PidfdGetfdFlags::empty())?;
        if fstat(&copy)?.st_ino == self.inode { Ok(copy) } else { Err(Errno::STALE) }
    }

    /// Name and number of the process.
    pub fn process(&self) -> String {
        // A process may set its name to any bytes (prctl(2), PR_SET_NAME).
        let name = fs::read(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        format!("{} (pid {})", text::name(&String::from_utf8_lossy(&name)), self.pid)
    }
}

/// The first process that is found to have each of some sockets open. Looks no further when all are found.
pub fn holders<S: BuildHasher>(inodes: &HashSet<u64, S>) -> Vec<Holder> {
    let (mut found, mut met) = (Vec::new(), HashSet::new());
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(folder) = fs::read_dir(entry.path().join("fd")) else { continue };
        for descriptor in folder.flatten() {
            let Some(number) = descriptor.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some(inode) = socket(&descriptor.path()).filter(|inode| inodes.contains(inode)) else { continue };
            if met.insert(inode) {
                found.push(Holder { inode, pid, descriptor: number });
            }
            if found.len() == inodes.len() {
                return found;
            }
        }
    }
    found
}

/// Reads `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`.
fn parse(line: &str) -> Option<SocketEntry> {
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
    Some(SocketEntry { local: SocketAddr::new(ip, port), listens: state == LISTEN, inode })
}

/// The inode of a socket, if that is what a descriptor is.
fn socket(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_listening_socket_is_found_with_its_holder() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let local = listener.local_addr().unwrap();
        let entry = *listening().iter().find(|entry| entry.local == local).unwrap();
        assert!(own().contains(&entry.inode));
        let holders = holders(&HashSet::from([entry.inode]));
        let [holder] = holders[..] else { panic!("{holders:?}") };
        assert_eq!((holder.pid as u32, holder.descriptor), (std::process::id(), listener.as_raw_fd()));
        assert!(holder.process().ends_with(&format!("(pid {})", std::process::id())));
        let copy = TcpListener::from(holder.copy().unwrap());
        assert_eq!(copy.local_addr().unwrap(), local);
        let other = Holder { inode: holder.inode + 1, ..holder };
        assert_eq!(other.copy().unwrap_err(), Errno::STALE);
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        for line in ["", "sl local_address", "0: zz:1 x 0A 0 0 0 0 0 1", "0: 0100007F 0 0A 0 0 0 0 0 1"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
