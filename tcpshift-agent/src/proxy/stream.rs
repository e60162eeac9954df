//! The two kinds of streams that are carried: TCP, and unix sockets of this host.
//!
//! Calls do not wait. One that would have is told to the reactor, which then says when to try again.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;

use super::pipe::Pipe;
use super::reactor::{Readiness, Ready};

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    // First, so that nothing is heard of it once it is closed.
    readiness: Readiness,
    socket: OwnedFd,
    is_unix: bool,
    haste: Cell<Haste>,
}

/// Whether what is written is sent at once.
#[derive(Clone, Copy, Debug)]
enum Haste {
    /// It is, for nothing was written yet.
    First,
    /// It may not be.
    Needed,
    /// It is.
    Set,
}

impl Stream {
    /// A TCP socket that was accepted, from a listener that hands its haste on. What its client sent at once may be there already.
    pub(super) fn accepted(socket: OwnedFd) -> Self {
        Self {
            readiness: Readiness::new(Ready::READ | Ready::WRITE),
            socket,
            is_unix: false,
            haste: Cell::new(Haste::Set),
        }
    }

    /// A TCP socket that is being connected.
    pub(super) fn connecting(socket: OwnedFd) -> Self {
        Self { readiness: Readiness::new(Ready::NONE), socket, is_unix: false, haste: Cell::new(Haste::First) }
    }

    /// A unix socket that is connected.
    pub(super) fn unix(socket: OwnedFd) -> Self {
        Self { readiness: Readiness::new(Ready::WRITE), socket, is_unix: true, haste: Cell::new(Haste::Set) }
    }

    /// Whether a close ends the stream with RST and forgets what is unsent, or sends it and ends with FIN. A unix
    /// socket knows no reset: its peer reads what was sent, and then an end of stream.
    pub(super) fn reset_on_close(&self, resets: bool) -> io::Result<()> {
        if self.is_unix {
            return Ok(());
        }
        SockRef::from(&self.socket).set_linger(resets.then_some(Duration::ZERO))
    }

    /// The error that the socket has to give, which is taken thereby.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(&self.socket).take_error()
    }

    /// Whether nothing was heard of an error, such as a reset that came after the end of the stream. The socket itself is asked,
    /// and its error taken, only where nobody has listened to it.
    pub(super) fn is_sound(&self) -> bool {
        if self.readiness.is_registered() {
            !self.readiness.is_ready(Ready::ERROR)
        } else {
            matches!(self.take_error(), Ok(None))
        }
    }

    /// Address and port at this end; none of a unix socket.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        SockRef::from(&self.socket).local_addr().ok()?.as_socket()
    }

    /// Its descriptor.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether it is a unix socket.
    pub(super) fn is_unix(&self) -> bool {
        self.is_unix
    }

    /// Waits until it can be read from, or has ended or is broken.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.readiness.poll(cx, self.as_fd(), Ready::READ)
    }

    /// Waits until it can be written to, or is broken.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.readiness.poll(cx, self.as_fd(), Ready::WRITE)
    }

    /// Waits until it is broken.
    pub(super) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<()> {
        // One that cannot be registered is broken too.
        self.readiness.poll(cx, self.as_fd(), Ready::ERROR).map(drop)
    }

    /// Reads what there is room for; fails with `WouldBlock` if there is nothing.
    pub(super) fn read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        // Not read(2), which passes through the layer of files first.
        match recv(&self.socket, spare_capacity(buffer), RecvFlags::DONTWAIT).map(|(count, _)| count) {
            Err(Errno::AGAIN) => {
                self.readiness.blocked(Ready::READ);
                Err(Errno::AGAIN.into())
            }
            Ok(count) => {
                // That was all, and the next byte is an edge.
                if count > 0 && count < room {
                    self.readiness.clear(Ready::READ);
                }
                Ok(count)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Moves what waits to be read into a pipe; fails with `WouldBlock` if nothing can be moved. The reactor is not
    /// told of it.
    pub(super) fn fill(&self, pipe: &mut Pipe) -> io::Result<usize> {
        pipe.fill(&self.socket)
    }

    /// Writes what a pipe holds; fails with `WouldBlock` if there is no room.
    pub(super) fn empty(&self, pipe: &mut Pipe) -> io::Result<usize> {
        self.hurry()?;
        pipe.empty(&self.socket).inspect_err(|error| self.note_full(error))
    }

    /// Writes what there is room for; fails with `WouldBlock` if there is none.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.hurry()?;
        let sent = send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        sent.map_err(io::Error::from).inspect_err(|error| self.note_full(error))
    }

    /// Has what is written sent at once. The first write is in any case: only a small packet behind another small one that is not
    /// acknowledged is held back (`tcp_nagle_check`, Linux 5.10 to 6.18). So most connections of one request need no call for it.
    fn hurry(&self) -> io::Result<()> {
        match self.haste.get() {
            Haste::Set => return Ok(()),
            Haste::First => self.haste.set(Haste::Needed),
            Haste::Needed => {
                SockRef::from(&self.socket).set_tcp_nodelay(true)?;
                self.haste.set(Haste::Set);
            }
        }
        Ok(())
    }

    fn note_full(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.readiness.blocked(Ready::WRITE);
        }
    }

    /// Whether bytes wait to be read.
    pub(super) fn has_unread(&self) -> bool {
        ioctl_fionread(&self.socket).is_ok_and(|count| count > 0)
    }

    /// Ends the stream that way.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }
}
