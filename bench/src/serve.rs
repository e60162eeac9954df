//! The server behind every contender: one thread, one epoll, and per connection what its first byte asks for.
//!
//! Each address is a version of the service; every answer begins with the number of the version that gave it.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::{Errno, read, write};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::poll::Poll;

/// Bytes of a message of [`EXCHANGE`], both ways.
pub const MESSAGE: usize = 64;
/// Bytes that bulk is written and read by.
pub const CHUNK: usize = 128 * 1024;

/// First byte of a connection whose every message is to be answered.
pub const EXCHANGE: u8 = b'x';
/// First byte of a connection that sends bulk.
pub const SINK: u8 = b's';
/// First byte of a connection that is to be sent bulk.
pub const SOURCE: u8 = b'g';

/// Tokens of listeners are above all descriptors.
const LISTENERS: u64 = 1 << 32;
/// Bulk is sent by so many chunks before others have their turn.
const TURN: usize = 4;

struct Peer {
    stream: OwnedFd,
    version: u8,
    way: Way,
}

enum Way {
    /// The first byte has not come.
    Unasked,
    /// With bytes of a message that is not whole yet.
    Exchange(usize),
    Sink,
    Source,
}

/// Listeners that are bound, so that a caller can learn their ports.
pub struct BenchServer {
    listeners: Vec<OwnedFd>,
}

impl BenchServer {
    /// Binds each address. Fails if one is taken.
    pub fn bind(addresses: &[SocketAddrV4]) -> io::Result<Self> {
        let listeners = addresses.iter().map(|address| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            net::bind(&socket, address)?;
            net::listen(&socket, 4096)?;
            Ok(socket)
        });
        Ok(Self { listeners: listeners.collect::<io::Result<_>>()? })
    }

    /// Where it listens, in the order of the addresses it was given.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddrV4>> {
        let address = |listener| Ok(net::getsockname(listener)?.try_into()?);
        self.listeners.iter().map(address).collect()
    }

    /// Serves for ever. Fails only if the machine does not let it.
    pub fn run(self) -> io::Result<()> {
        let mut poll = Poll::new()?;
        for (number, listener) in (0_u64..).zip(&self.listeners) {
            poll.add(listener, LISTENERS + number, EventFlags::IN)?;
        }
        let mut peers: Vec<Option<Peer>> = Vec::new();
        let mut bytes = vec![0; CHUNK];
        let mut happened = Vec::new();
        loop {
            poll.wait_into(&mut happened, None)?;
            for (token, flags) in happened.drain(..) {
                if let Some(number) = token.checked_sub(LISTENERS) {
                    self.accept(number as usize, &poll, &mut peers)?;
                    continue;
                }
                let cell = &mut peers[token as usize];
                let stays = cell.as_mut().is_some_and(|peer| peer.act(token, flags, &poll, &mut bytes));
                if !stays {
                    // Closing takes it from the epoll too.
                    *cell = None;
                }
            }
        }
    }

    fn accept(&self, number: usize, poll: &Poll, peers: &mut Vec<Option<Peer>>) -> io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let stream = match net::accept_with(&self.listeners[number], flags) {
                Ok(stream) => stream,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            sockopt::set_tcp_nodelay(&stream, true)?;
            let cell = stream.as_raw_fd() as usize;
            poll.add(&stream, cell as u64, EventFlags::IN)?;
            if peers.len() <= cell {
                peers.resize_with(cell + 1, || None);
            }
            peers[cell] = Some(Peer { stream, version: number as u8, way: Way::Unasked });
        }
    }
}

impl Peer {
    /// Does what is due. Returns whether the connection stays.
    fn act(&mut self, token: u64, flags: EventFlags, poll: &Poll, bytes: &mut [u8]) -> bool {
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            let count = match read(&self.stream, &mut *bytes) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            };
            if matches!(self.way, Way::Unasked) {
                self.way = match bytes[0] {
                    SINK => Way::Sink,
                    SOURCE if poll.modify(&self.stream, token, EventFlags::IN | EventFlags::OUT).is_ok() => Way::Source,
                    EXCHANGE => Way::Exchange(0),
                    _ => return false,
                };
            }
            if let Way::Exchange(begun) = &mut self.way {
                let whole = (*begun + count) / MESSAGE;
                *begun = (*begun + count) % MESSAGE;
                let mut answer = [b'.'; MESSAGE];
                answer[0] = self.version;
                return (0..whole).all(|_| write(&self.stream, &answer) == Ok(MESSAGE));
            }
        }
        if flags.contains(EventFlags::OUT) && matches!(self.way, Way::Source) {
            for _ in 0..TURN {
                match write(&self.stream, bytes) {
                    Ok(_) => {}
                    Err(Errno::AGAIN | Errno::INTR) => break,
                    Err(_) => return false,
                }
            }
        }
        true
    }
}
