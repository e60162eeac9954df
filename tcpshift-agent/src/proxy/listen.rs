//! Opens the listening sockets of one address, one for each worker.
//!
//! The first is bound without `SO_REUSEPORT`, so that any other socket at the port makes bind(2) fail; only then
//! the port is opened to the sockets of the other workers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{limits, socket};
use crate::rights;

/// Connections that may wait to be accepted, for each worker; the host's `net.core.somaxconn` may lower it.
pub(super) const BACKLOG: i32 = 4096;

/// Why an address cannot be listened at.
#[derive(Debug)]
pub(super) enum ListenError {
    /// Another socket has the port.
    Taken,
    /// In words for people, with the cure.
    Otherwise(String),
}

/// Opens `count` sockets at an address; `mark` sees each before anybody can connect to it. With `beside` the port may be one
/// that a socket of this agent has, which covers the address or is covered by it.
pub(super) fn open(
    address: SocketAddr,
    count: usize,
    beside: bool,
    mark: impl Fn(BorrowedFd<'_>),
) -> Result<Vec<TcpListener>, ListenError> {
    match open_at(address, count, beside, &mark) {
        // A host without IPv6: every address is every IPv4 address.
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && is_without(&error) => {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            open_at(address, count, beside, &mark).map_err(|error| explain(address, &error))
        }
        opened => opened.map_err(|error| explain(address, &error)),
    }
}

fn is_without(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn open_at(
    address: SocketAddr,
    count: usize,
    beside: bool,
    mark: &impl Fn(BorrowedFd<'_>),
) -> io::Result<Vec<TcpListener>> {
    let bind = |shared| bind(address, shared, mark);
    let first = bind(beside)?;
    first.set_reuse_port(true)?;
    let mut sockets = vec![first.into()];
    for _ in 1..count {
        sockets.push(bind(true)?.into());
    }
    Ok(sockets)
}

/// Binds and listens: only the two together exclude others.
fn bind(address: SocketAddr, shared: bool, mark: &impl Fn(BorrowedFd<'_>)) -> io::Result<Socket> {
    let listener = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    listener.set_nonblocking(true)?;
    // Connections of an earlier listener may live on or linger.
    listener.set_reuse_address(true)?;
    listener.set_reuse_port(shared)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        listener.set_only_v6(false)?;
    }
    // Accepted streams inherit these.
    socket::tune(&SockRef::from(&listener))?;
    match listener.bind(&address.into()) {
        // A port that takes a right, which another process has.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::ACCESS)) => {
            rights::bind(listener.as_fd(), address).map_err(|refused| refusal(error, refused))?;
        }
        bound => bound?,
    }
    mark(listener.as_fd());
    listener.listen(BACKLOG)?;
    Ok(listener)
}

/// Why bind(2) is refused: as it was at first, if nobody has the right.
fn refusal(first: io::Error, second: io::Error) -> io::Error {
    if Errno::from_io_error(&second) == Some(Errno::PERM) { first } else { second }
}

fn explain(address: SocketAddr, error: &io::Error) -> ListenError {
    if error.kind() == io::ErrorKind::AddrInUse {
        ListenError::Taken
    } else {
        ListenError::Otherwise(cure(address, error))
    }
}

/// In words, with the cure.
fn cure(address: SocketAddr, error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::ADDRNOTAVAIL) => {
            format!("{} is not an address of this host; choose another `bind` or --listen-address", address.ip())
        }
        Some(Errno::ACCESS | Errno::PERM) => format!(
            "no permission for port {}; run as root, give the program the right \
             (setcap cap_net_bind_service=+ep, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit), \
             or choose a port from 1024 on",
            address.port()
        ),
        Some(Errno::MFILE) => match limits::current_limit() {
            Some(limit) => format!("all {limit} descriptors are in use (RLIMIT_NOFILE); raise the limit"),
            None => "no descriptor left".to_owned(),
        },
        Some(Errno::AFNOSUPPORT) => "this host has no IPv6; choose an IPv4 address".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// A port that the kernel gives to nobody else while the socket is held, and that can be listened at.
    fn reserve() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn every_socket_of_the_group_is_given_connections() {
        let (_held, address) = reserve();
        let sockets = open(address, 3, false, |_| {}).unwrap();
        let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let accepted: Vec<usize> =
            sockets.iter().map(|socket| std::iter::from_fn(|| socket.accept().ok()).count()).collect();
        assert_eq!(accepted.iter().sum::<usize>(), clients.len());
        assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
    }

    #[test]
    fn accepted_streams_inherit_the_options() {
        let (_held, address) = reserve();
        let sockets = open(address, 1, false, |_| {}).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (stream, _) = sockets[0].accept().unwrap();
        let stream = SockRef::from(&stream);
        assert!(stream.tcp_nodelay().unwrap() && stream.keepalive().unwrap());
        assert_eq!(stream.tcp_keepalive_time().unwrap().as_secs(), 300);
    }

    #[test]
    fn a_listener_opens_again_while_its_connections_live() {
        let (_held, address) = reserve();
        let sockets = open(address, 2, false, |_| {}).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let _stream = sockets.iter().find_map(|socket| socket.accept().ok()).unwrap();
        drop(sockets);
        assert_eq!(open(address, 2, false, |_| {}).unwrap().len(), 2);
    }

    #[test]
    fn a_foreign_address_and_a_foreign_family_are_named() {
        let refused = open("192.0.2.1:31400".parse().unwrap(), 1, false, |_| {}).unwrap_err();
        let ListenError::Otherwise(error) = refused else { panic!("{refused:?}") };
        assert!(error.contains("192.0.2.1 is not an address of this host"), "{error}");
    }

    #[test]
    fn two_addresses_of_ours_may_cover_each_other() {
        let (_held, address) = reserve();
        let port = address.port();
        let wide: SocketAddr = format!("[::]:{port}").parse().unwrap();
        let narrow: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
        let _wide = open(wide, 2, false, |_| {}).unwrap();
        assert!(matches!(open(narrow, 2, false, |_| {}), Err(ListenError::Taken)));
        let sockets = open(narrow, 2, true, |_| {}).unwrap();
        let _client = TcpStream::connect(narrow).unwrap();
        assert!(sockets.iter().any(|socket| socket.accept().is_ok()), "the narrow one takes what is its own");
    }
}
