//! What the helper does for the agent: each thread has one right and one channel, on which it answers a few requests. All that
//! is asked is checked, since an agent that somebody has taken over may ask for anything.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_protocol, socket_type};
use rustix::net::{AddressFamily, SocketType, bind, ipproto};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::message::{BATCH, Received, WORDS, ask, at, receive, send};
use super::{Duty, NewMap, closing, sys};
use crate::host::diag;
use crate::host::sockets::{self, Holder};

/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;
/// Ports below this one take a right.
const FIRST_FREE_PORT: u16 = 1024;
/// Bytes of a pipe at most.
const LARGEST_PIPE: u64 = 1 << 20;

/// What is answered: words, and descriptors.
type Answer = io::Result<(Vec<u64>, Vec<OwnedFd>)>;

/// Answers requests until the agent closes the channel.
pub(super) fn serve(duty: Duty, channel: BorrowedFd<'_>) {
    loop {
        // The agent is gone, needs this no more, or says what no agent says.
        let Ok(Some(asked)) = receive(channel, None) else { return };
        let answer = answer(duty, &asked);
        let (mut words, mut descriptors) = ([0; WORDS], Vec::new());
        words[at::NUMBER] = asked.words[at::NUMBER];
        match answer {
            Ok((body, opened)) => {
                words[at::BODY..].iter_mut().zip(body).for_each(|(word, said)| *word = said);
                descriptors = opened;
            }
            Err(error) => words[at::HEAD] = number(&error),
        }
        let opened: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = send(channel, &words, &opened).or_else(|error| {
            // Too many descriptors of this user are on their way (unix(7), ETOOMANYREFS).
            (words, words[at::NUMBER]) = ([0; WORDS], asked.words[at::NUMBER]);
            words[at::HEAD] = number(&error);
            send(channel, &words, &[])
        });
        if sent.is_err() {
            return;
        }
    }
}

fn number(error: &io::Error) -> u64 {
    let error = Errno::from_io_error(error).unwrap_or(Errno::INVAL);
    u64::from(error.raw_os_error().unsigned_abs())
}

fn answer(duty: Duty, asked: &Received) -> Answer {
    let body = &asked.words[at::BODY..];
    let descriptor = || asked.descriptors.first().map(AsFd::as_fd).ok_or(Errno::BADF);
    match (duty, asked.words[at::HEAD]) {
        (Duty::Maps, ask::MAP) => {
            let map = NewMap::read(body).filter(NewMap::is_ours).ok_or(Errno::INVAL)?;
            Ok((Vec::new(), vec![sys::create_map(&map, descriptor()?)?]))
        }
        (Duty::Maps, ask::FREEZE) => sys::freeze_map(descriptor()?).map(|()| Default::default()),
        (Duty::Maps, ask::LIST) => {
            let family = diag::FAMILIES.into_iter().find(|family| u64::from(*family) == body[0]).ok_or(Errno::INVAL)?;
            Ok((Vec::new(), vec![diag::begin(family, &super::listing(descriptor()?))?]))
        }
        (Duty::Closing, ask::CLOSE) => {
            let ends = closing::read(body).ok_or(Errno::INVAL)?;
            let done = diag::destroy(&ends)?;
            Ok((done.iter().map(|done| done.as_ref().map_or_else(number, |()| 0)).collect(), Vec::new()))
        }
        (Duty::Ports, ask::BIND) => bind_low(descriptor()?, body).map(|()| Default::default()),
        (Duty::Sockets, ask::HOLDERS) => Ok((holders(body), Vec::new())),
        (Duty::Sockets, ask::COPY) => Ok(copies(body)),
        (Duty::Pipes, ask::PIPE) => {
            let size = body[0].min(LARGEST_PIPE);
            let (exit, entry) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
            fcntl_setpipe_size(&entry, size as usize)?;
            Ok((Vec::new(), vec![exit, entry]))
        }
        _ => Err(Errno::OPNOTSUPP.into()),
    }
}

/// Binds a TCP socket to a port that takes a right.
fn bind_low(socket: BorrowedFd<'_>, body: &[u64]) -> io::Result<()> {
    let port = u16::try_from(body[0]).ok().filter(|port| (1..FIRST_FREE_PORT).contains(port)).ok_or(Errno::INVAL)?;
    let scope = u32::try_from(body[1]).map_err(|_| Errno::INVAL)?;
    let ip = Ipv6Addr::from(u128::from(body[2]) << 64 | u128::from(body[3]));
    let family = socket_domain(socket)?;
    if socket_type(socket)? != SocketType::STREAM || !is_tcp(socket)? {
        return Err(Errno::INVAL.into());
    }
    let address = match ip.to_ipv4_mapped() {
        Some(ip) if family == AddressFamily::INET => SocketAddr::new(ip.into(), port),
        _ if family == AddressFamily::INET6 => SocketAddrV6::new(ip, port, 0, scope).into(),
        _ => return Err(Errno::AFNOSUPPORT.into()),
    };
    Ok(bind(socket, &address)?)
}

fn is_tcp(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let protocol = socket_protocol(socket)?;
    Ok(protocol == Some(ipproto::TCP) || protocol.is_some_and(|protocol| protocol.as_raw().get() == MPTCP))
}

/// Which processes have sockets open.
fn holders(body: &[u64]) -> Vec<u64> {
    let wanted: HashSet<u64> = body[1..].iter().copied().take(count(body)).collect();
    let found = sockets::holders(&wanted);
    let each = found.iter().take(BATCH).flat_map(|holder| [holder.inode, word(holder)]);
    std::iter::once(found.len().min(BATCH) as u64).chain(each).collect()
}

/// Copies of listening TCP sockets of this network namespace: of each the number of an error, and the copies of the others.
fn copies(body: &[u64]) -> (Vec<u64>, Vec<OwnedFd>) {
    let listening: HashSet<u64> = sockets::listening().into_iter().map(|entry| entry.inode).collect();
    let asked = body[1..].chunks_exact(2).take(count(body));
    let (mut errors, mut copies) = (Vec::new(), Vec::new());
    for pair in asked {
        let holder = holder(pair[0], pair[1]).ok_or(Errno::INVAL.into());
        let made = holder.and_then(|holder| copy(&holder, &listening));
        errors.push(made.as_ref().map_or_else(number, |_| 0));
        copies.extend(made);
    }
    (errors, copies)
}

fn copy(holder: &Holder, listening: &HashSet<u64>) -> io::Result<OwnedFd> {
    if !listening.contains(&holder.inode) {
        return Err(Errno::PERM.into());
    }
    let copy = holder.copy()?;
    // An inode may have been given to another socket since the table was read.
    if socket_acceptconn(&copy)? && is_tcp(copy.as_fd())? { Ok(copy) } else { Err(Errno::PERM.into()) }
}

fn count(body: &[u64]) -> usize {
    body[0].min(BATCH as u64) as usize
}

/// A process and its descriptor in one word.
pub(super) fn word(holder: &Holder) -> u64 {
    u64::from(holder.pid.cast_unsigned()) << 32 | u64::from(holder.descriptor.cast_unsigned())
}

/// The socket of a process, from its words.
pub(super) fn holder(inode: u64, word: u64) -> Option<Holder> {
    let descriptor = (word & u64::from(u32::MAX)) as u32;
    let holder = Holder { inode, pid: ((word >> 32) as u32).cast_signed(), descriptor: descriptor.cast_signed() };
    (holder.pid > 0 && holder.descriptor >= 0).then_some(holder)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::thread;
    use std::time::Duration;

    use rustix::fs::fstat;
    use rustix::net::{SocketFlags, socketpair};
    use rustix::pipe::fcntl_getpipe_size;

    use super::super::channel::DutyLine;
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A thread that has a duty, with the rights of the test.
    fn at_work(duty: Duty) -> DutyLine {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        thread::spawn(move || serve(duty, theirs.as_fd()));
        DutyLine::new(duty, ours)
    }

    #[track_caller]
    fn refused(asked: io::Result<Received>, expected: Errno) {
        assert_eq!(asked.map(|answer| answer.descriptors.len()).map_err(|error| number(&error)), Err(code(expected)));
    }

    fn code(error: Errno) -> u64 {
        error.raw_os_error() as u64
    }

    fn own(socket: impl AsFd) -> [u64; 3] {
        let holder = Holder {
            inode: fstat(&socket).unwrap().st_ino,
            pid: std::process::id().cast_signed(),
            descriptor: socket.as_fd().as_raw_fd(),
        };
        [1, holder.inode, word(&holder)]
    }

    #[test]
    fn only_listening_tcp_sockets_are_copied() {
        let line = at_work(Duty::Sockets);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let copied = line.ask(ask::COPY, &own(&listener), &[], LONG).unwrap();
        assert_eq!((copied.words[at::BODY], copied.descriptors.len()), (0, 1));
        let copy = TcpListener::from(copied.descriptors.into_iter().next().unwrap());
        assert_eq!(copy.local_addr().unwrap(), listener.local_addr().unwrap());
        // One that is connected, one of another protocol, a file, and a descriptor that is another socket.
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let [_, inode, _] = own(&listener);
        let [one, _, at_stream] = own(&stream);
        for (asked, error) in [
            (own(&stream), Errno::PERM),
            (own(&datagrams), Errno::PERM),
            (own(&file), Errno::PERM),
            ([one, inode, at_stream], Errno::STALE),
            ([one, inode, u64::MAX], Errno::INVAL),
        ] {
            let answer = line.ask(ask::COPY, &asked, &[], LONG).unwrap();
            assert_eq!((answer.words[at::BODY], answer.descriptors.len()), (code(error), 0));
        }
    }

    #[test]
    fn who_has_a_socket_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let [_, inode, at_listener] = own(&listener);
        let answer = at_work(Duty::Sockets).ask(ask::HOLDERS, &[2, inode, u64::MAX], &[], LONG).unwrap();
        assert_eq!(answer.words[at::BODY..][..3], [1, inode, at_listener]);
    }

    #[test]
    fn nothing_but_tcp_is_bound_and_only_to_low_ports() {
        let line = at_work(Duty::Ports);
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let ip: u128 = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().to_bits();
        let words = |port: u64| [port, 0, (ip >> 64) as u64, ip as u64];
        refused(line.ask(ask::BIND, &words(80), &[datagrams.as_fd()], LONG), Errno::INVAL);
        for port in [0, 1024, 31_400, 65_536 + 80] {
            refused(line.ask(ask::BIND, &words(port), &[tcp.as_fd()], LONG), Errno::INVAL);
        }
        refused(line.ask(ask::BIND, &words(80), &[], LONG), Errno::BADF);
        // An address of IPv6 for a socket of IPv4.
        refused(line.ask(ask::BIND, &[80, 0, 0, 1], &[tcp.as_fd()], LONG), Errno::AFNOSUPPORT);
    }

    #[test]
    fn a_thread_does_what_its_duty_is_and_nothing_else() {
        let map =
            NewMap { kind: 2, key: 4, value: 8, entries: 1, flags: 1 << 3, name: [0; 16], key_type: 0, value_type: 0 };
        let file = std::fs::File::open("/dev/null").unwrap();
        let line = at_work(Duty::Maps);
        refused(line.ask(ask::MAP, &map.words(), &[file.as_fd()], LONG), Errno::INVAL);
        for (duty, what) in [
            (Duty::Maps, ask::BIND),
            (Duty::Ports, ask::COPY),
            (Duty::Sockets, ask::PIPE),
            (Duty::Pipes, ask::MAP),
            (Duty::Pipes, ask::CLOSE),
            (Duty::Closing, ask::LIST),
            (Duty::Pipes, u64::MAX),
        ] {
            refused(at_work(duty).ask(what, &[], &[], LONG), Errno::OPNOTSUPP);
        }
    }

    #[test]
    fn a_pipe_is_no_larger_than_the_proxy_wants() {
        let line = at_work(Duty::Pipes);
        let [_exit, entry] = line.ask(ask::PIPE, &[u64::MAX], &[], LONG).and_then(Received::take).unwrap();
        assert_eq!(fcntl_getpipe_size(&entry).unwrap(), 1 << 20);
    }
}
