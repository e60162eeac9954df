//! The two kinds of streams that are carried: TCP, and unix sockets of this host.
//!
//! It must not know what is carried or how a stream came to be.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use super::pipe::Pipe;

/// One stream.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// What reads from it, and what writes to it and waits for it.
    pub(super) fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Self::Tcp(stream) => {
                let (reader, writer) = stream.split();
                (Reader::Tcp(reader), Writer::Tcp(writer))
            }
            Self::Unix(stream) => {
                let (reader, writer) = stream.split();
                (Reader::Unix(reader), Writer::Unix(writer))
            }
        }
    }

    /// Has the stream end with RST and forget what is unsent. A unix socket knows no such end: it is closed.
    pub(super) fn break_off(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_zero_linger(),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Address and port at this end; none of a unix socket.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Its descriptor.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }
}

/// What reads.
pub(super) enum Reader<'a> {
    Tcp(tcp::ReadHalf<'a>),
    Unix(unix::ReadHalf<'a>),
}

impl AsyncRead for Reader<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(reader) => Pin::new(reader).poll_read(cx, buffer),
            Self::Unix(reader) => Pin::new(reader).poll_read(cx, buffer),
        }
    }
}

/// What writes, and what can be waited for.
pub(super) enum Writer<'a> {
    Tcp(tcp::WriteHalf<'a>),
    Unix(unix::WriteHalf<'a>),
}

impl Writer<'_> {
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_read_ready(cx),
            Self::Unix(half) => half.as_ref().poll_read_ready(cx),
        }
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Unix(half) => half.as_ref().poll_write_ready(cx),
        }
    }

    /// Moves what waits to be read into a pipe; fails with `WouldBlock` if nothing can be moved. The runtime is not
    /// told of it.
    pub(super) fn fill(&self, pipe: &mut Pipe) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => pipe.fill(half.as_ref()),
            Self::Unix(half) => pipe.fill(half.as_ref()),
        }
    }

    /// Writes what a pipe holds; fails with `WouldBlock` if there is no room.
    pub(super) fn try_empty(&self, pipe: &mut Pipe) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.as_ref().try_io(Interest::WRITABLE, || pipe.empty(half.as_ref())),
            Self::Unix(half) => half.as_ref().try_io(Interest::WRITABLE, || pipe.empty(half.as_ref())),
        }
    }

    /// Writes what there is room for; fails with `WouldBlock` if there is none.
    ///
    /// The socket is tried before the runtime is asked, which has not heard yet that a new one takes bytes.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => match write(half.as_ref(), bytes) {
                Err(Errno::AGAIN) => half.try_write(bytes),
                done => Ok(done?),
            },
            Self::Unix(half) => match write(half.as_ref(), bytes) {
                Err(Errno::AGAIN) => half.try_write(bytes),
                done => Ok(done?),
            },
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(half) => half.ready(interest).await,
            Self::Unix(half) => half.ready(interest).await,
        }
    }

    /// Ends the stream that way.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()).shutdown(Shutdown::Write),
            Self::Unix(half) => SockRef::from(half.as_ref()).shutdown(Shutdown::Write),
        }
    }
}

fn write(socket: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}
