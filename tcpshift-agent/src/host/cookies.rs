//! The TCP sockets of this network namespace by their cookies, as the kernel tells them (`sock_diag(7)`).

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// `AF_NETLINK` and `NETLINK_SOCK_DIAG`.
const NETLINK: i32 = 16;
const SOCK_DIAG: i32 = 4;

/// Types of messages: `NLMSG_ERROR`, `NLMSG_DONE` and `SOCK_DIAG_BY_FAMILY`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;

/// Bytes of `struct nlmsghdr`, and of that and `struct inet_diag_req_v2`.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
/// Where the cookie is in a message, behind `struct nlmsghdr` and in `struct inet_diag_msg`.
const COOKIE: usize = HEADER + 44;

/// And its inode number, behind the rest of `struct inet_diag_msg`
/// (6.18, <https://elixir.bootlin.com/linux/v6.18/source/include/uapi/linux/inet_diag.h>).
const INODE: usize = HEADER + 68;

/// All states, and that of a socket that listens (`TCP_LISTEN`), each a bit.
const ALL: u32 = u32::MAX;
const LISTEN: u32 = 1 << 10;

/// How long the kernel may take for one piece of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// One socket: its cookie and its inode number, which is 0 if no process has it open.
type Found = (u64, u64);

/// The cookies of all TCP sockets that are open or listen, of both families.
pub fn of_tcp_sockets() -> io::Result<HashSet<u64>> {
    Ok(ask(ALL)?.into_iter().map(|(cookie, _)| cookie).collect())
}

/// The cookies of listening TCP sockets of both families, by inode number.
pub fn of_listening() -> io::Result<HashMap<u64, u64>> {
    Ok(ask(LISTEN)?.into_iter().map(|(cookie, inode)| (inode, cookie)).collect())
}

fn ask(states: u32) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for family in [Domain::IPV4, Domain::IPV6] {
        let mut socket = Socket::new(Domain::from(NETLINK), Type::RAW, Some(Protocol::from(SOCK_DIAG)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(&request(i32::from(family) as u8, states))?;
        let mut answer = vec![0; 65_536];
        loop {
            let length = socket.read(&mut answer)?;
            if collect(&answer[..length], &mut found)? {
                break;
            }
        }
    }
    Ok(found)
}

/// Asks for all TCP sockets of a family in some states.
fn request(family: u8, states: u32) -> [u8; REQUEST] {
    const TCP: u8 = 6;
    let mut request = [0; REQUEST];
    request[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    request[HEADER] = family;
    request[HEADER + 1] = TCP;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    request
}

/// Collects the sockets of one piece of an answer. Returns whether it is the last.
fn collect(mut piece: &[u8], found: &mut Vec<Found>) -> io::Result<bool> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is cut");
    while !piece.is_empty() {
        let (length, kind) = (word(piece, 0).ok_or_else(malformed)?, word(piece, 4).ok_or_else(malformed)?);
        let length = length as usize;
        if length < HEADER || length > piece.len() {
            return Err(malformed());
        }
        match kind as u16 {
            DONE => return Ok(true),
            ERROR => {
                let number = word(piece, HEADER).ok_or_else(malformed)?;
                return Err(io::Error::from_raw_os_error(number.cast_signed().saturating_neg()));
            }
            BY_FAMILY => {
                let message = &piece[..length];
                let low = word(message, COOKIE).ok_or_else(malformed)?;
                let high = word(message, COOKIE + 4).ok_or_else(malformed)?;
                let inode = word(message, INODE).ok_or_else(malformed)?;
                found.push((u64::from(high) << 32 | u64::from(low), inode.into()));
            }
            _ => {}
        }
        // Messages begin at multiples of four bytes.
        piece = piece.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// A word of four bytes.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
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

    #[test]
    fn an_answer_that_is_cut_or_says_an_error_is_an_error() {
        let mut found = Vec::new();
        let mut whole = request(2, ALL);
        whole[4..6].copy_from_slice(&DONE.to_ne_bytes());
        assert!(collect(&whole, &mut found).unwrap());
        assert!(collect(&[], &mut found).is_ok_and(|is_last| !is_last));
        for cut in [1, 8, HEADER, REQUEST - 1] {
            assert!(collect(&whole[..cut], &mut found).is_err(), "{cut}");
        }
        whole[..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert!(collect(&whole, &mut found).is_err());
        whole[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
        whole[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        whole[HEADER..HEADER + 4].copy_from_slice(&(-2_i32).to_ne_bytes());
        assert_eq!(collect(&whole, &mut found).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(found.is_empty());
    }
}
