//! The TCP sockets of this network namespace by their cookies, as the kernel tells them (`sock_diag(7)`).

use std::collections::{HashMap, HashSet};
use std::io;

use super::diag::{self, Dump, states};

/// One socket: its cookie and its inode number, which is 0 if no process has it open.
type Found = (u64, u64);

/// The cookies of all TCP sockets that are open or listen, of both families.
pub fn of_tcp_sockets() -> io::Result<HashSet<u64>> {
    Ok(ask(states::ALL)?.into_iter().map(|(cookie, _)| cookie).collect())
}

/// The cookies of listening TCP sockets of both families, by inode number.
pub fn of_listening() -> io::Result<HashMap<u64, u64>> {
    Ok(ask(states::LISTEN)?.into_iter().map(|(cookie, inode)| (inode, cookie)).collect())
}

fn ask(states: u32) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for family in diag::FAMILIES {
        let answer = diag::begin(family, &Dump { states, has_info: false, storage: None, is_mptcp: false })?;
        diag::read(answer, |socket| found.push((socket.ends.cookie, socket.inode)))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use rustix::net::sockopt::socket_cookie;

    use super::*;

    #[test]
    fn sockets_of_both_families_are_found_and_closed_ones_are_not() {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let client = TcpStream::connect(v4.local_addr().unwrap()).unwrap();
        let cookies = [socket_cookie(&v4).unwrap(), socket_cookie(&v6).unwrap(), socket_cookie(&client).unwrap()];
        let found = of_tcp_sockets().unwrap();
        assert!(cookies.iter().all(|cookie| found.contains(cookie)), "{cookies:?} are not all in {found:?}");
        drop(v6);
        assert!(!of_tcp_sockets().unwrap().contains(&cookies[1]));
    }

    #[test]
    fn sockets_that_listen_are_found_by_their_inodes_and_others_are_not() {
        let inode = |socket: &dyn std::os::fd::AsFd| rustix::fs::fstat(socket.as_fd()).unwrap().st_ino;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let found = of_listening().unwrap();
        assert_eq!(found.get(&inode(&listener)), Some(&socket_cookie(&listener).unwrap()));
        assert_eq!(found.get(&inode(&client)), None);
    }
}
