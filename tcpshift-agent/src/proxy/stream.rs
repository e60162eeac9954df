//! The two kinds of streams that are carried: TCP, and unix sockets of this host.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionread};
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

    /// Whether a close ends the stream with RST and forgets what is unsent, or sends it and ends with FIN. A unix
    /// socket knows no reset: its peer reads what was sent, and then an end of stream.
    pub(super) fn reset_on_close(&self, resets: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).set_linger(resets.then_some(Duration::ZERO)),
            Self::Unix(_) => Ok(()),
        }
    }

    /// The error that the socket has to give, which is taken thereby.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
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

    /// Whether it is a unix socket.
    pub(super) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether bytes wait to be read.
    pub(super) fn has_unread(&self) -> bool {
        let count = match self {
            Self::Tcp(half) => ioctl_fionread(half.as_ref()),
            Self::Unix(half) => ioctl_fionread(half.as_ref()),
        };
        count.is_ok_and(|count| count > 0)
    }

    /// Whether no error waits to be said, such as a reset that came after the end of the stream. One that waits is
    /// taken.
    pub(super) fn is_sound(&self) -> bool {
        let error = match self {
            Self::Tcp(half) => half.as_ref().take_error(),
            Self::Unix(half) => half.as_ref().take_error(),
        };
        matches!(error, Ok(None))
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
