//! The kernel's list of the TCP sockets of this network namespace (`sock_diag(7)`): what it is asked, and what it answers.
//!
//! Messages are those of `include/uapi/linux/inet_diag.h` and `include/uapi/linux/sock_diag.h`
//! (6.18, <https://elixir.bootlin.com/linux/v6.18/source/include/uapi/linux/inet_diag.h>).

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// `AF_NETLINK` and `NETLINK_SOCK_DIAG`.
const NETLINK: i32 = 16;
const SOCK_DIAG: i32 = 4;

/// Types of messages: `NLMSG_ERROR`, `NLMSG_DONE`, `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// `NLM_F_REQUEST | NLM_F_DUMP`, and `NLM_F_REQUEST | NLM_F_ACK`.
const DUMP: u16 = 0x301;
const ACKNOWLEDGED: u16 = 0x5;

/// `IPPROTO_TCP` and `IPPROTO_MPTCP`.
const TCP: u8 = 6;
const MPTCP: u32 = 262;

/// Bytes of `struct nlmsghdr`, of that and `struct inet_diag_req_v2`, and of that and `struct inet_diag_msg`.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const MESSAGE: usize = HEADER + 72;
/// Where `struct inet_diag_sockid` is in a request and in a message.
const ID_ASKED: usize = HEADER + 8;
const ID: usize = HEADER + 4;
/// Where the inode number is in a message.
const INODE: usize = HEADER + 68;

/// Attributes of a request: `INET_DIAG_REQ_SK_BPF_STORAGES` with `SK_DIAG_BPF_STORAGE_REQ_MAP_FD` inside, and
/// `INET_DIAG_REQ_PROTOCOL`.
const ASK_STORAGES: u16 = 2;
const ASK_MAP: u16 = 1;
const ASK_PROTOCOL: u16 = 3;
/// Attributes of an answer: `INET_DIAG_INFO`, and `INET_DIAG_SK_BPF_STORAGES` with `SK_DIAG_BPF_STORAGE` and
/// `SK_DIAG_BPF_STORAGE_MAP_VALUE` inside.
const INFO: u16 = 2;
const STORAGES: u16 = 20;
const STORAGE: u16 = 1;
const VALUE: u16 = 3;
/// `NLA_F_NESTED`, and the bits of a type that are not flags.
const NESTED: u16 = 1 << 15;
const TYPE: u16 = (1 << 14) - 1;

/// How long the kernel may take for one piece of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// States of sockets, each a bit.
pub mod states {
    /// All of them.
    pub const ALL: u32 = u32::MAX;
    /// That of a socket that listens (`TCP_LISTEN`).
    pub const LISTEN: u32 = 1 << 10;
    /// Those of a connection whose socket some process may have: all but `TCP_SYN_RECV`, `TCP_TIME_WAIT`, `TCP_CLOSE`, `TCP_LISTEN`.
    pub const CONNECTED: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
}

/// Which sockets the kernel is asked for, and what of them.
#[derive(Clone, Copy, Debug)]
pub struct Dump<'a> {
    /// Their states, as bits.
    pub states: u32,
    /// Whether `struct tcp_info` is asked for.
    pub has_info: bool,
    /// The storage of sockets whose value is asked for. Needs `CAP_BPF`.
    pub storage: Option<BorrowedFd<'a>>,
    /// Whether sockets of MPTCP are asked for instead of those of TCP, of which each is made.
    pub is_mptcp: bool,
}

impl Dump<'_> {
    /// All connections of TCP, and how much each has moved.
    pub const CONNECTED: Self = Self { states: states::CONNECTED, has_info: true, storage: None, is_mptcp: false };
}

/// The families that are asked for one after the other.
pub const FAMILIES: [u8; 2] = [2, 10];

/// What tells a socket apart from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpEnds {
    /// Its number.
    pub cookie: u64,
    /// The near end.
    pub local: SocketAddr,
    /// The far end.
    pub peer: SocketAddr,
    /// The interface that it is bound to; 0 for none.
    pub interface: u32,
}

/// A socket as the kernel lists it.
#[derive(Clone, Copy, Debug)]
pub struct ListedSocket<'a> {
    /// Which one.
    pub ends: TcpEnds,
    /// Its state, as `TCP_ESTABLISHED`.
    pub state: u8,
    /// Its inode number, which is 0 if no process has it open.
    pub inode: u64,
    /// `struct tcp_info`, or `struct mptcp_info`; empty if it was not asked for.
    pub info: &'a [u8],
    /// What the storage has of it; empty if nothing, or if it was not asked for.
    pub storage: &'a [u8],
}

/// Asks for sockets of a family. The answer is read from what is returned, by [`read`].
pub fn begin(family: u8, dump: &Dump<'_>) -> io::Result<OwnedFd> {
    let mut socket = open()?;
    socket.write_all(&request(family, dump))?;
    Ok(socket.into())
}

/// Reads an answer to its end.
pub fn read(socket: OwnedFd, mut each: impl FnMut(ListedSocket<'_>)) -> io::Result<()> {
    let mut socket = Socket::from(socket);
    let mut answer = vec![0; 65_536];
    loop {
        let length = socket.read(&mut answer)?;
        if piece(&answer[..length], &mut each)? {
            return Ok(());
        }
    }
}

/// Ends the connections of sockets, each by a reset: its process finds `ECONNABORTED`, its peer a reset. Returns of each what came
/// of it, in the order of the sockets. Needs `CAP_NET_ADMIN`, and a kernel with `CONFIG_INET_DIAG_DESTROY`.
pub fn destroy(sockets: &[TcpEnds]) -> io::Result<Vec<io::Result<()>>> {
    let mut socket = open()?;
    let requests = (0..).zip(sockets).flat_map(|(number, ends)| destruction(number, ends)).collect::<Vec<u8>>();
    socket.write_all(&requests)?;
    let mut done: Vec<io::Result<()>> = sockets.iter().map(|_| Err(io::ErrorKind::InvalidData.into())).collect();
    let (mut told, mut answer) = (0, vec![0; 65_536]);
    while told < sockets.len() {
        let length = socket.read(&mut answer)?;
        for message in messages(&answer[..length]) {
            let message = message?;
            let (Some(number), Some(error)) = (word(message, 8), word(message, HEADER)) else { return Err(cut()) };
            if let Some(one) = done.get_mut(number as usize) {
                *one = if error == 0 { Ok(()) } else { Err(refusal(error)) };
            }
            told += 1;
        }
    }
    Ok(done)
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(NETLINK), Type::RAW, Some(Protocol::from(SOCK_DIAG)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn request(family: u8, dump: &Dump<'_>) -> Vec<u8> {
    let mut request = head(BY_FAMILY, DUMP, 0, family);
    if dump.has_info {
        request[HEADER + 2] = 1 << (INFO - 1);
    }
    request[HEADER + 4..HEADER + 8].copy_from_slice(&dump.states.to_ne_bytes());
    if dump.is_mptcp {
        request.extend(attribute(ASK_PROTOCOL, &MPTCP.to_ne_bytes()));
    }
    if let Some(map) = dump.storage {
        let map = attribute(ASK_MAP, &map.as_raw_fd().to_ne_bytes());
        request.extend(attribute(ASK_STORAGES | NESTED, &map));
    }
    let length = request.len() as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request
}

/// The request that a connection is ended. The kernel finds the socket by its ends, and compares its cookie
/// (`inet_diag_find_one_icsk`, 6.18, <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/inet_diag.c>).
fn destruction(number: u32, ends: &TcpEnds) -> Vec<u8> {
    let TcpEnds { cookie, local, peer, interface } = ends;
    let [local_ip, peer_ip] = [local, peer].map(|end| end.ip().to_canonical());
    let family = if local_ip.is_ipv4() && peer_ip.is_ipv4() { FAMILIES[0] } else { FAMILIES[1] };
    let mut request = head(DESTROY, ACKNOWLEDGED, number, family);
    let mut put = |at: usize, bytes: &[u8]| request[ID_ASKED + at..][..bytes.len()].copy_from_slice(bytes);
    put(0, &local.port().to_be_bytes());
    put(2, &peer.port().to_be_bytes());
    for (at, ip) in [(4, local_ip), (20, peer_ip)] {
        match ip {
            IpAddr::V4(ip) if family == FAMILIES[0] => put(at, &ip.octets()),
            IpAddr::V4(ip) => put(at, &ip.to_ipv6_mapped().octets()),
            IpAddr::V6(ip) => put(at, &ip.octets()),
        }
    }
    put(36, &interface.to_ne_bytes());
    put(40, &(*cookie as u32).to_ne_bytes());
    put(44, &((cookie >> 32) as u32).to_ne_bytes());
    request
}

fn head(kind: u16, flags: u16, number: u32, family: u8) -> Vec<u8> {
    let mut request = vec![0; REQUEST];
    request[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[8..12].copy_from_slice(&number.to_ne_bytes());
    request[HEADER] = family;
    request[HEADER + 1] = TCP;
    request
}

/// An attribute whose value has a multiple of four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (value.len() + 4) as u16;
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
}

/// Hands on the sockets of one piece of an answer. Returns whether it is the last.
fn piece(piece: &[u8], each: &mut impl FnMut(ListedSocket<'_>)) -> io::Result<bool> {
    for message in messages(piece) {
        let message = message?;
        match kind(message) {
            DONE => return Ok(true),
            ERROR => return Err(refusal(word(message, HEADER).ok_or_else(cut)?)),
            BY_FAMILY => each(listed(message).ok_or_else(cut)?),
            _ => {}
        }
    }
    Ok(false)
}

/// The messages of a piece of an answer, each with its head.
fn messages(mut piece: &[u8]) -> impl Iterator<Item = io::Result<&[u8]>> {
    std::iter::from_fn(move || {
        if piece.is_empty() {
            return None;
        }
        let length = word(piece, 0).map(|length| length as usize).filter(|length| *length >= HEADER);
        let Some(message) = length.and_then(|length| piece.get(..length)) else {
            piece = &[];
            return Some(Err(cut()));
        };
        // Messages begin at multiples of four bytes.
        piece = piece.get(message.len().next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(message))
    })
}

fn listed(message: &[u8]) -> Option<ListedSocket<'_>> {
    let is_v6 = *message.get(HEADER)? == FAMILIES[1];
    let end = |port: usize, address: usize| {
        let port = u16::from_be_bytes(message.get(ID + port..ID + port + 2)?.try_into().ok()?);
        let octets: [u8; 16] = message.get(ID + address..ID + address + 16)?.try_into().ok()?;
        let [a, b, c, d, ..] = octets;
        let ip = if is_v6 { IpAddr::V6(Ipv6Addr::from(octets)) } else { IpAddr::V4(Ipv4Addr::new(a, b, c, d)) };
        Some(SocketAddr::new(ip, port))
    };
    let cookie = u64::from(word(message, ID + 44)?) << 32 | u64::from(word(message, ID + 40)?);
    let ends = TcpEnds { cookie, local: end(0, 4)?, peer: end(2, 20)?, interface: word(message, ID + 36)? };
    let (mut info, mut storage): (&[u8], &[u8]) = (&[], &[]);
    for (kind, value) in attributes(message.get(MESSAGE..)?) {
        match kind {
            INFO => info = value,
            STORAGES => storage = inner(value, STORAGE).and_then(|one| inner(one, VALUE)).unwrap_or_default(),
            _ => {}
        }
    }
    Some(ListedSocket { ends, state: *message.get(HEADER + 1)?, inode: word(message, INODE)?.into(), info, storage })
}

/// The attributes of a message, or of another attribute: type and value. What is cut is left out.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let short = |at: usize| Some(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(short(0)?), short(2)? & TYPE);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn inner(attribute: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(attribute).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn kind(message: &[u8]) -> u16 {
    word(message, 4).unwrap_or_default() as u16
}

/// A word of four bytes.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is cut")
}

/// An error as the kernel answers it, by its negative number.
fn refusal(number: u32) -> io::Error {
    io::Error::from_raw_os_error(number.cast_signed().saturating_neg())
}

#[cfg(test)]
mod tests;
