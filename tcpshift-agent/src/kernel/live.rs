//! Live connections that programs steer: what is decided stands in their rows, and where they are and what they have moved in
//! the kernel's list of sockets. They are read without a lock, and nobody waits for the reader.
//!
//! A row is in the cell of its socket's cookie, or in storage of the socket. Storage is read with the list of sockets, which
//! takes `CAP_BPF` (`bpf_sk_storage_diag_alloc`, 6.18,
//! <https://elixir.bootlin.com/linux/v6.18/source/net/core/bpf_sk_storage.c>).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::mem::{offset_of, size_of};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::io::Errno;
use tcpshift_common::layout::{ConnectionRow, CookieRow, NONE, stage};

use super::Kernel;
use super::load::Maps;
use super::sys::{self, MappedWords};
use crate::connections::{KeptDecision, LiveConnection, LiveFilter, LiveStage};
use crate::host::diag::{self, Dump, ListedSocket, TcpEnds};
use crate::rights;

/// Words of a row, and where the row of a connection begins in it.
const ROW: usize = size_of::<CookieRow>() / size_of::<u64>();
const CONNECTION: usize = offset_of!(CookieRow, row) / size_of::<u64>();

/// States of sockets, as `TCP_SYN_SENT`.
const SYN_SENT: u8 = 2;
const ESTABLISHED: u8 = 1;
const FIN_WAIT2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

/// Where `struct tcp_info` has milliseconds since data were sent and received, and bytes that were acknowledged and received.
const LAST_SENT: usize = 44;
const LAST_RECEIVED: usize = 52;
const ACKNOWLEDGED: usize = 120;
const RECEIVED: usize = 128;

/// Where `struct mptcp_info` has its flags, and `MPTCP_INFO_FLAG_FALLBACK`: the connection is one of plain TCP.
const MPTCP_FLAGS: usize = 8;
const FALLBACK: u32 = 1;

/// Reads steered connections, and ends them, for as long as there are the maps.
#[derive(Clone, Debug)]
pub struct SteeredReader {
    maps: Weak<Maps>,
    agent: u64,
}

/// A live connection that a program steers.
#[derive(Clone, Debug)]
pub struct SteeredConnection {
    /// As others are told it.
    pub live: LiveConnection,
    /// Whether its client was pointed at the endpoint; else it was handed over.
    pub is_client: bool,
    ends: TcpEnds,
}

/// What was found of steered connections.
#[derive(Debug, Default)]
pub struct SteeredList {
    /// Those that are meant.
    pub found: Vec<SteeredConnection>,
    /// How many were decided by agents before this one, whose numbers mean nothing here.
    pub before: u64,
    /// Why those are missing that have storage of their own, if they are.
    pub missing: Option<String>,
}

/// What became of steered connections that were to be ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SteeredClosed {
    /// How many were ended.
    pub closed: u64,
    /// How many could not be, and why.
    pub left: BTreeMap<String, u64>,
}

impl Kernel {
    /// Reads what programs steer; none if none does.
    pub fn steered(&self) -> Option<SteeredReader> {
        let steers = self.connects().is_ok() || self.hands_over().is_ok();
        steers.then(|| SteeredReader { maps: Arc::downgrade(&self.maps), agent: self.agent })
    }
}

impl SteeredReader {
    /// The connections that are meant. It takes some microseconds for each socket of this network namespace, and is not for a
    /// thread that others wait for.
    pub fn list(&self, filter: &LiveFilter) -> io::Result<SteeredList> {
        let Some(maps) = self.maps.upgrade() else { return Ok(SteeredList::default()) };
        let words = MappedWords::new(maps.cookies.as_fd())?;
        // Rows are read before sockets: a row without a socket belongs to a connection that is closed.
        let rows: HashMap<u64, ConnectionRow> = words.as_ref().chunks_exact(ROW).filter_map(row).collect();
        let mut list = SteeredList::default();
        if rows.is_empty() && !maps.are_connections_open()? {
            return Ok(list);
        }
        for family in diag::FAMILIES {
            let answer = match rights::list(family, maps.connections.as_fd()) {
                Ok(answer) => answer,
                Err(error) => {
                    list.missing =
                        Some(format!("connections whose rows are in storage of their sockets are not listed: {error}"));
                    diag::begin(family, &Dump::CONNECTED)?
                }
            };
            diag::read(answer, |socket| {
                let row = rows.get(&socket.ends.cookie).copied().or_else(|| sys::row(socket.storage));
                let Some(row) = row.filter(|row| row.stage == stage::OPENED) else { return };
                if row.agent == self.agent {
                    list.found.extend(connection(&row, &socket, filter));
                } else {
                    list.before += 1;
                }
            })?;
        }
        Ok(list)
    }
}

/// Why the kernel ends no connection of MPTCP.
const OF_MPTCP: &str = "MPTCP: the kernel ends single paths alone, and a client opens another one";

impl SteeredList {
    /// How many would be ended, and how many left and why.
    pub fn closable(&self) -> SteeredClosed {
        let (left, ends) = self.parted();
        SteeredClosed { closed: ends.len() as u64, ..said(&left) }
    }

    /// Ends those that are meant, each by a reset to both its ends.
    pub fn close(&self) -> SteeredClosed {
        let (left, ends) = self.parted();
        let mut done = said(&left);
        for outcome in rights::close(&ends) {
            let Err(error) = outcome else {
                done.closed += 1;
                continue;
            };
            let reason = match Errno::from_io_error(&error) {
                // It has ended since it was listed.
                Some(Errno::NOENT | Errno::STALE) => continue,
                Some(Errno::OPNOTSUPP | Errno::INVAL) => "this kernel has no CONFIG_INET_DIAG_DESTROY".to_owned(),
                _ => error.to_string(),
            };
            *done.left.entry(reason).or_default() += 1;
        }
        done
    }

    /// Those that may have several paths, and the others.
    fn parted(&self) -> (Vec<TcpEnds>, Vec<TcpEnds>) {
        let several = of_several_paths(&self.found);
        self.found.iter().map(|one| one.ends).partition(|ends| several.contains(&(ends.local, ends.peer)))
    }
}

/// What is left, and why.
fn said(left: &[TcpEnds]) -> SteeredClosed {
    let count = left.len() as u64;
    SteeredClosed { closed: 0, left: (count > 0).then(|| (OF_MPTCP.to_owned(), count)).into_iter().collect() }
}

/// The ends of connections of MPTCP that may have several paths, if any of some could be one.
fn of_several_paths(found: &[SteeredConnection]) -> HashSet<(SocketAddr, SocketAddr)> {
    let mut several = HashSet::new();
    // A socket that takes MPTCP is handed no connection.
    if !found.iter().any(|one| one.is_client) {
        return several;
    }
    for family in diag::FAMILIES {
        let listed = diag::begin(family, &Dump { is_mptcp: true, ..Dump::CONNECTED }).and_then(|answer| {
            diag::read(answer, |socket| {
                let flags = number(socket.info, MPTCP_FLAGS).map(u32::from_ne_bytes).unwrap_or_default();
                if flags & FALLBACK == 0 {
                    several.insert((socket.ends.local, socket.ends.peer));
                }
            })
        });
        if let Err(error) = listed {
            // A kernel without MPTCP, or without `CONFIG_INET_MPTCP_DIAG`.
            log::debug!("sockets of MPTCP cannot be listed: {error}");
        }
    }
    several
}

/// The row of a cell, if a connection has it; none of a cell that is written at that moment.
fn row(words: &[AtomicU64]) -> Option<(u64, ConnectionRow)> {
    let cell = words.first()?;
    let cookie = cell.load(Acquire);
    if cookie == 0 {
        return None;
    }
    let mut bytes = [0; (ROW - CONNECTION) * size_of::<u64>()];
    for (word, bytes) in words[CONNECTION..].iter().zip(bytes.as_chunks_mut().0) {
        *bytes = word.load(Acquire).to_ne_bytes();
    }
    fence(SeqCst);
    (cell.load(Acquire) == cookie).then_some((cookie, sys::row(&bytes)?))
}

/// A connection as others are told it, if it is meant.
fn connection(row: &ConnectionRow, socket: &ListedSocket<'_>, filter: &LiveFilter) -> Option<SteeredConnection> {
    let ConnectionRow { assignment, is_client, .. } = *row;
    let decided = KeptDecision {
        generation: assignment.generation,
        // A row does not say it.
        listener: NONE,
        route: assignment.route,
        destination: assignment.destination,
        slot: assignment.decision.slot,
    };
    let endpoint = Some(assignment.endpoint).filter(|number| *number != NONE);
    if !filter.fits(&decided, endpoint) {
        return None;
    }
    let (is_client, ends) = (is_client == 1, socket.ends);
    let client = if is_client { ends.local } else { ends.peer };
    let stage = match socket.state {
        SYN_SENT => LiveStage::Dialling,
        ESTABLISHED => LiveStage::Open,
        _ => LiveStage::HalfClosed,
    };
    let live = LiveConnection {
        decided,
        client: Some(SocketAddr::new(client.ip().to_canonical(), client.port())),
        endpoint,
        stage,
        age: None,
        idle: idle(socket.info),
        bytes: bytes(socket, is_client),
    };
    Some(SteeredConnection { live, is_client, ends })
}

fn idle(info: &[u8]) -> Option<Duration> {
    let since = |at: usize| Some(u32::from_ne_bytes(number(info, at)?));
    Some(Duration::from_millis(since(LAST_SENT)?.min(since(LAST_RECEIVED)?).into()))
}

/// Bytes to the endpoint and to the client. The kernel counts sequence numbers, of which a SYN and a FIN have one each: see
/// `sums::closed` of the programs.
fn bytes(socket: &ListedSocket<'_>, is_client: bool) -> Option<[u64; 2]> {
    let count = |at: usize| Some(u64::from_ne_bytes(number(socket.info, at)?));
    let fin = u64::from(socket.state == FIN_WAIT2);
    let far_fin = u64::from([CLOSE_WAIT, LAST_ACK, CLOSING].contains(&socket.state));
    let sent = count(ACKNOWLEDGED)?.saturating_sub(u64::from(is_client) + fin);
    let received = count(RECEIVED)?.saturating_sub(far_fin);
    Some(if is_client { [sent, received] } else { [received, sent] })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use rustix::net::sockopt::socket_cookie;

    use super::*;

    fn listed(socket: impl AsFd, row: &ConnectionRow) -> SteeredConnection {
        let (cookie, mut found) = (socket_cookie(socket).unwrap(), None);
        let answer = diag::begin(diag::FAMILIES[0], &Dump::CONNECTED).unwrap();
        diag::read(answer, |socket| {
            if socket.ends.cookie == cookie {
                found = connection(row, &socket, &LiveFilter::default());
            }
        })
        .unwrap();
        found.unwrap()
    }

    #[test]
    fn bytes_are_those_that_were_written_at_both_ends_and_in_each_state() {
        use std::io::{Read, Write};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let at_client = ConnectionRow { is_client: 1, ..ConnectionRow::default() };
        let at_server = ConnectionRow::default();
        let check = |client: &TcpStream, server: &TcpStream, bytes: [u64; 2], stage: LiveStage| {
            let both = [listed(client, &at_client), listed(server, &at_server)];
            for one in both {
                assert_eq!((one.live.bytes, one.live.stage), (Some(bytes), stage), "{one:?}");
                assert_eq!(one.live.client, Some(client.local_addr().unwrap()));
            }
        };
        check(&client, &server, [0, 0], LiveStage::Open);
        client.write_all(b"hello").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        server.write_all(b"well met").unwrap();
        client.read_exact(&mut [0; 8]).unwrap();
        // What is acknowledged late has gone with the bytes of the other way.
        client.write_all(b"!").unwrap();
        server.read_exact(&mut [0; 1]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        check(&client, &server, [6, 8], LiveStage::Open);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
        std::thread::sleep(Duration::from_millis(100));
        check(&client, &server, [6, 8], LiveStage::HalfClosed);
    }

    #[test]
    fn a_cell_that_is_free_has_no_row() {
        let words: Vec<AtomicU64> = (0..ROW as u64).map(AtomicU64::new).collect();
        assert!(row(&words).is_none());
        words[0].store(9, SeqCst);
        let (cookie, row) = row(&words).unwrap();
        assert_eq!((cookie, row.agent), (9, 1));
        assert!(super::row(&[]).is_none());
    }
}
