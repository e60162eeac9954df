//! The rights room: a helper process that keeps rights which the agent gives up, and does a few things for it.
//!
//! The agent reads files, YAML and HTTP of others, and somebody may find a way to take it over. So it keeps no right after its
//! start that could take over the host. The helper (`tcpshift-rights` in `ps`) is forked before anything is read. It reads nothing
//! but requests of a fixed form, opens nothing, starts nothing, and ends with the agent. It has a thread for each [`Duty`], and
//! each thread has the right for its duty alone; a duty that the agent has no use for ends when [`release`] closes its channel.
//!
//! There is one helper in a process, as there is one set of rights. Without it everything here is done by the process itself.

mod channel;
mod closing;
mod helper;
mod message;
mod new_map;
mod serve;
mod sys;

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::CapabilitySet;

use self::channel::{DutyLine, errno};
use self::message::{BATCH, Received, ask, at};
pub use self::new_map::NewMap;
use crate::host::diag::{self, Dump, TcpEnds};
use crate::host::sockets::{self, Holder};
use crate::trust::rights;

/// How long an answer may take that takes no time by itself.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long a worker of the proxy waits, whose connections wait meanwhile.
const SHORTLY: Duration = Duration::from_millis(20);
/// How long copies of sockets may take, which the loop waits for.
const COPIED: Duration = Duration::from_millis(500);
/// How long a walk through /proc may take.
const WALK: Duration = Duration::from_secs(30);

/// Where the helper is, once it is there.
static HELPER: OnceLock<Helper> = OnceLock::new();

/// What is done for the agent that it has no right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Making maps for plans, and reading the storage of sockets.
    Maps,
    /// Finding and copying listening sockets of other processes, for `lookup`.
    Sockets,
    /// Ending connections that the kernel steers.
    Closing,
    /// Pipes beyond the share of a user (pipe(7), `pipe-user-pages-soft`).
    Pipes,
    /// Ports below 1024.
    Ports,
}

/// All of them. The helper's first thread has the last one that there is.
const DUTIES: [Duty; 5] = [Duty::Maps, Duty::Sockets, Duty::Closing, Duty::Pipes, Duty::Ports];

impl Duty {
    /// The rights that it takes. Without the first one there is no such duty.
    fn capabilities(self) -> CapabilitySet {
        match self {
            Self::Maps => CapabilitySet::BPF,
            // Descriptors of a process of another user are listed in a folder that only that user may read
            // (`proc_fd_permission`, 6.18, <https://elixir.bootlin.com/linux/v6.18/source/fs/proc/fd.c>).
            Self::Sockets => CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH,
            Self::Closing => CapabilitySet::NET_ADMIN,
            Self::Pipes => CapabilitySet::SYS_RESOURCE,
            Self::Ports => CapabilitySet::NET_BIND_SERVICE,
        }
    }

    fn is_possible(self, effective: CapabilitySet) -> bool {
        effective.contains(self.capabilities() - CapabilitySet::DAC_READ_SEARCH)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Maps => "maps",
            Self::Sockets => "sockets",
            Self::Closing => "closing",
            Self::Pipes => "pipes",
            Self::Ports => "ports",
        }
    }
}

/// The helper, as the agent sees it.
#[derive(Debug)]
struct Helper {
    process: Pid,
    lines: Vec<DutyLine>,
    /// How it ended, if it has.
    end: Mutex<Option<String>>,
}

/// Forks the helper, if this process has a right that it can keep. To be called once, before there are other threads.
/// Errors: the host gives no process or thread, or a call to give up rights fails.
pub fn start() -> io::Result<()> {
    let effective = rights::effective()?;
    let duties: Vec<Duty> = DUTIES.into_iter().filter(|duty| duty.is_possible(effective)).collect();
    if duties.is_empty() {
        return Ok(());
    }
    let (process, sockets) = helper::start(&duties)?;
    let lines = duties.into_iter().zip(sockets).map(|(duty, socket)| DutyLine::new(duty, socket)).collect();
    let helper = Helper { process, lines, end: Mutex::default() };
    HELPER.set(helper).map_err(|_| io::Error::other("there is a helper already"))
}

/// Has the helper do without the rights for a duty.
pub fn release(duty: Duty) {
    if let Some(line) = line(duty) {
        line.release();
    }
}

/// How the helper has ended, if it has.
pub fn lost() -> Option<String> {
    let helper = HELPER.get()?;
    // It ends when all of it is released.
    if helper.lines.iter().all(DutyLine::is_released) {
        return None;
    }
    let mut end = helper.end.lock().unwrap_or_else(PoisonError::into_inner);
    if end.is_none() {
        *end = match waitpid(Some(helper.process), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "it is not said how".to_owned(),
            }),
            Err(Errno::CHILD) => Some("it is not said how".to_owned()),
            _ => None,
        };
    }
    end.clone()
}

/// Makes a map, of these types.
pub fn create_map(map: &NewMap, types: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    if !is_with_helper(Duty::Maps) {
        return sys::create_map(map, types);
    }
    let [map] = ask_for(Duty::Maps, ask::MAP, &map.words(), &[types], DEADLINE)?.take()?;
    Ok(map)
}

/// Has only programs write to a map from now on.
pub fn freeze_map(map: BorrowedFd<'_>) -> io::Result<()> {
    match sys::freeze_map(map) {
        // Before Linux 6.5 it takes CAP_BPF (`map_freeze`, 6.4,
        // <https://elixir.bootlin.com/linux/v6.4/source/kernel/bpf/syscall.c>).
        Err(error) if error.kind() == ErrorKind::PermissionDenied && is_with_helper(Duty::Maps) => {
            ask_for(Duty::Maps, ask::FREEZE, &[], &[map], DEADLINE).map(drop)
        }
        done => done,
    }
}

/// Asks the kernel for the connections of a family, with `struct tcp_info` and with what a map has in the storage of each
/// socket. The answer is read by [`diag::read`].
pub fn list(family: u8, storage: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    if !is_with_helper(Duty::Maps) {
        return diag::begin(family, &listing(storage));
    }
    let [answer] = ask_for(Duty::Maps, ask::LIST, &[family.into()], &[storage], DEADLINE)?.take()?;
    Ok(answer)
}

fn listing(storage: BorrowedFd<'_>) -> Dump<'_> {
    Dump { storage: Some(storage), ..Dump::CONNECTED }
}

/// Ends connections of this network namespace by resets. Returns of each what came of it, in their order.
pub fn close(sockets: &[TcpEnds]) -> Vec<io::Result<()>> {
    sockets.chunks(closing::BATCH).flat_map(close_few).collect()
}

fn close_few(sockets: &[TcpEnds]) -> Vec<io::Result<()>> {
    let done = if is_with_helper(Duty::Closing) {
        ask_for(Duty::Closing, ask::CLOSE, &closing::words(sockets), &[], DEADLINE)
            .map(|answer| closing::outcomes(&answer.words[at::BODY..], sockets.len()))
    } else {
        diag::destroy(sockets)
    };
    done.unwrap_or_else(|error| sockets.iter().map(|_| Err(io::Error::new(error.kind(), error.to_string()))).collect())
}

/// Binds a TCP socket to an address whose port takes a right.
pub fn bind(socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let scope = if let SocketAddr::V6(address) = address { address.scope_id() } else { 0 };
    let (high, low) = ((ip.to_bits() >> 64) as u64, ip.to_bits() as u64);
    let words = [u64::from(address.port()), scope.into(), high, low];
    ask_for(Duty::Ports, ask::BIND, &words, &[socket], DEADLINE).map(drop)
}

/// The first process that is found to have each of some sockets open, as [`sockets::holders`] says it.
pub fn holders<S: BuildHasher>(inodes: &HashSet<u64, S>) -> Vec<Holder> {
    if !is_with_helper(Duty::Sockets) {
        return sockets::holders(inodes);
    }
    let all: Vec<u64> = inodes.iter().copied().collect();
    let mut found = Vec::new();
    for some in all.chunks(BATCH) {
        let words: Vec<u64> = std::iter::once(some.len() as u64).chain(some.iter().copied()).collect();
        match ask_for(Duty::Sockets, ask::HOLDERS, &words, &[], WALK) {
            Ok(answer) => {
                let body = &answer.words[at::BODY..];
                let pairs = body[1..].chunks_exact(2).take(body[0].min(BATCH as u64) as usize);
                found.extend(pairs.filter_map(|pair| serve::holder(pair[0], pair[1])));
            }
            Err(error) => {
                log::debug!("who has listening sockets is not known: {error}");
                break;
            }
        }
    }
    found
}

/// Copies of listening sockets, each in the order of what is asked.
pub fn copies(holders: &[Holder]) -> Vec<io::Result<OwnedFd>> {
    if !is_with_helper(Duty::Sockets) {
        return holders.iter().map(|holder| holder.copy().map_err(Into::into)).collect();
    }
    holders.chunks(BATCH).flat_map(copies_of_few).collect()
}

fn copies_of_few(holders: &[Holder]) -> Vec<io::Result<OwnedFd>> {
    let each = holders.iter().flat_map(|holder| [holder.inode, serve::word(holder)]);
    let words: Vec<u64> = std::iter::once(holders.len() as u64).chain(each).collect();
    match ask_for(Duty::Sockets, ask::COPY, &words, &[], COPIED) {
        Ok(Received { words, descriptors }) => {
            let mut copies = descriptors.into_iter();
            let errors = words[at::BODY..].iter().take(holders.len());
            let next = |error: &u64| match error {
                0 => copies.next().ok_or_else(|| ErrorKind::InvalidData.into()),
                error => Err(errno(*error)),
            };
            errors.map(next).collect()
        }
        Err(error) => holders.iter().map(|_| Err(io::Error::new(error.kind(), error.to_string()))).collect(),
    }
}

/// Both ends of a pipe that holds so many bytes, the end that is read first. None if there is none at once.
pub fn pipe(bytes: usize) -> Option<(OwnedFd, OwnedFd)> {
    // A worker does not wait for another one.
    let answer = line(Duty::Pipes)?.ask_if_free(ask::PIPE, &[bytes as u64], &[], Instant::now() + SHORTLY)?;
    let [exit, entry] = answer.and_then(Received::take).ok()?;
    Some((exit, entry))
}

fn ask_for(
    duty: Duty,
    what: u64,
    body: &[u64],
    descriptors: &[BorrowedFd<'_>],
    within: Duration,
) -> io::Result<Received> {
    line(duty).ok_or(Errno::PERM)?.ask(what, body, descriptors, within)
}

/// Whether it is the helper's, and not released.
fn is_with_helper(duty: Duty) -> bool {
    line(duty).is_some_and(|line| !line.is_released())
}

fn line(duty: Duty) -> Option<&'static DutyLine> {
    HELPER.get()?.lines.iter().find(|line| line.duty == duty)
}
