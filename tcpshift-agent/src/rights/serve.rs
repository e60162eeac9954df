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
use super::{Duty, NewMap, sys};
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
        let copied = holder(pair[0], pair[1]).ok_or(Errno::INVAL.into()).and_then(|holder| copy(&holder, &listening));
        errors.push(copied.as_ref().map_or_else(number, |_| 0));
        copies.extend(copied);
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
