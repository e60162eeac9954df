//! Carries the bytes of one connection, both ways, in one task.
//!
//! Nothing is read while bytes are unwritten, so a slow reader slows its writer. An end of stream is carried
//! as one, each way for itself; a reset is carried as a reset. A connection that is still holds no buffer. It
//! must not know who is client and who is endpoint.

use std::future::{self, Future};
use std::io;
use std::mem;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, Interest};

use super::lifetime::Lifetime;
use super::pipe::{Pipe, Pipes};
use super::pool::{Class, Pool};
use super::stream::{Reader, Stream, Writer};
use crate::connections::Ended;

/// Bytes carried before others have their turn.
const TURN: usize = 1 << 20;
/// What a pass counts for at least.
const PASS: usize = TURN / 32;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both directions were carried to their end.
    InOrder,
    /// One side broke; the other has to be reset.
    Reset,
    /// It has lasted as long as it may.
    Expired(Ended),
}

/// Carries bytes between two streams until both directions have ended, one side breaks, or its lifetime is over.
pub(super) async fn relay(
    one: &mut Stream,
    other: &mut Stream,
    (pool, pipes): (&Pool, &Pipes),
    mut lifetime: Option<Lifetime>,
) -> Ending {
    let (one_reader, one_writer) = one.split();
    let (other_reader, other_writer) = other.split();
    let mut forth = Way::new(one_reader, &one_writer, &other_writer, pool, pipes);
    let mut back = Way::new(other_reader, &other_writer, &one_writer, pool, pipes);
    let over = {
        let mut one_broken = pin!(one_writer.ready(Interest::ERROR));
        let mut other_broken = pin!(other_writer.ready(Interest::ERROR));
        future::poll_fn(|cx| {
            let (forth_waits, back_waits) = match (forth.poll(cx, back.is_over()), back.poll(cx, forth.is_over())) {
                (Ok(Waits::Nothing), Ok(Waits::Nothing)) => return Poll::Ready(Over::InOrder),
                (Ok(forth), Ok(back)) => (forth, back),
                (Err(Broken::Source), _) | (_, Err(Broken::Sink)) => return Poll::Ready(Over::Broken(Side::One)),
                (Err(Broken::Sink), _) | (_, Err(Broken::Source)) => return Poll::Ready(Over::Broken(Side::Other)),
            };
            // Who is read from is seen to break by that, after the last byte. Else the error itself is watched
            // for: it is an event only, and stays with the socket.
            if forth_waits.is_blind() && one_broken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Over::Broken(Side::One));
            }
            if back_waits.is_blind() && other_broken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Over::Broken(Side::Other));
            }
            let Some(lifetime) = &mut lifetime else { return Poll::Pending };
            if mem::take(&mut forth.moved) | mem::take(&mut back.moved) {
                lifetime.note();
            }
            lifetime.poll(cx).map(Over::Expired)
        })
        .await
    };
    let side = match over {
        Over::InOrder => return Ending::InOrder,
        Over::Expired(reason) => return Ending::Expired(reason),
        Over::Broken(side) => side,
    };
    // A write may find out before what the side sent last is read.
    let last = match side {
        Side::One => &mut forth,
        Side::Other => &mut back,
    };
    future::poll_fn(|cx| last.poll_last(cx)).await;
    Ending::Reset
}

/// Why no more is carried.
#[derive(Clone, Copy, Debug)]
enum Over {
    InOrder,
    Broken(Side),
    Expired(Ended),
}

/// Which side broke.
#[derive(Clone, Copy, Debug)]
enum Side {
    One,
    Other,
}

/// Which end of a way broke.
#[derive(Clone, Copy, Debug)]
enum Broken {
    /// It cannot be read from; all it sent is read.
    Source,
    /// It cannot be written to.
    Sink,
}

/// What a way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Its next turn, or bytes to read.
    Bytes,
    /// Room for the bytes it holds.
    Room,
    /// Nothing any more: its end of stream is carried.
    Nothing,
}

impl Waits {
    /// Whether nothing is being read.
    fn is_blind(self) -> bool {
        matches!(self, Self::Room | Self::Nothing)
    }
}

/// One direction. Messages are copied; once it has become bulk its bytes go through a pipe, until they are few again.
struct Way<'a> {
    reader: Reader<'a>,
    from: &'a Writer<'a>,
    to: &'a Writer<'a>,
    pool: &'a Pool,
    pipes: &'a Pipes,
    class: Class,
    held: Held,
    state: State,
    /// Whether its streams cannot be spliced.
    copies: bool,
    /// Whether bytes went in or out since somebody looked.
    moved: bool,
}

/// Bytes that are read and not written; nothing is kept while there are none.
enum Held {
    Nothing,
    /// And how many of them are written.
    Buffer(BytesMut, usize),
    Pipe(Pipe),
}

/// How far a way has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The source is broken: the end of its stream is none.
    Cut,
    Ended,
}

impl<'a> Way<'a> {
    fn new(reader: Reader<'a>, from: &'a Writer<'a>, to: &'a Writer<'a>, pool: &'a Pool, pipes: &'a Pipes) -> Self {
        Self {
            reader,
            from,
            to,
            pool,
            pipes,
            class: Class::default(),
            held: Held::Nothing,
            state: State::Open,
            copies: false,
            moved: false,
        }
    }

    /// Whether its end of stream is carried.
    fn is_over(&self) -> bool {
        self.state == State::Ended
    }

    /// Carries what can be carried now. The last way of two leaves its end to the close that follows.
    fn poll(&mut self, cx: &mut Context<'_>, is_last: bool) -> Result<Waits, Broken> {
        if self.is_over() {
            return Ok(Waits::Nothing);
        }
        let mut carried = 0;
        while carried < TURN {
            if self.write(cx)?.is_pending() {
                return Ok(Waits::Room);
            }
            self.release();
            match self.read(cx)? {
                Poll::Pending => return Ok(Waits::Bytes),
                Poll::Ready(0) if self.state == State::Cut => return Err(Broken::Source),
                Poll::Ready(0) => {
                    self.release();
                    if !is_last {
                        self.to.shutdown().map_err(|_| Broken::Sink)?;
                    }
                    self.state = State::Ended;
                    return Ok(Waits::Nothing);
                }
                Poll::Ready(count) => {
                    self.class = self.class.after(count);
                    self.moved = true;
                    carried += count.max(PASS);
                }
            }
        }
        // There may be more; others have their turn first, those too whom only the next look at the sockets wakes.
        let _pending = pin!(tokio::task::yield_now()).poll(cx);
        Ok(Waits::Bytes)
    }

    /// Carries what a broken source has sent before, as far as the sink takes it without waiting.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state == State::Open {
            self.state = State::Cut;
        }
        match self.poll(cx, false) {
            Ok(Waits::Bytes) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Writes all that is held.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        loop {
            let moved = match &mut self.held {
                Held::Nothing => return Ok(Poll::Ready(())),
                Held::Buffer(bytes, written) if *written == bytes.len() => return Ok(Poll::Ready(())),
                Held::Pipe(pipe) if pipe.is_empty() => return Ok(Poll::Ready(())),
                Held::Buffer(bytes, written) => self.to.try_write(&bytes[*written..]).map(|count| *written += count),
                Held::Pipe(pipe) => self.to.try_empty(pipe).map(drop),
            };
            match moved {
                Ok(()) => self.moved = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.to.poll_write_ready(cx).map_err(|_| Broken::Sink)?.is_pending() {
                        return Ok(Poll::Pending);
                    }
                }
                Err(error) if is_unspliceable(&error) && matches!(self.held, Held::Pipe(_)) => {
                    self.copy_from_now_on()?;
                }
                Err(_) => return Err(Broken::Sink),
            }
        }
    }

    /// Reads once; how many bytes, 0 at the end. Nothing may be held.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, Broken> {
        // Only who has something to read is given a buffer or a pipe.
        if self.from.poll_read_ready(cx).map_err(|_| Broken::Source)?.is_pending() {
            return Ok(Poll::Pending);
        }
        if self.class.is_bulk()
            && !self.copies
            && let Some(count) = self.splice()?
        {
            return Ok(Poll::Ready(count));
        }
        let mut buffer = self.pool.take(self.class);
        let read = pin!(self.reader.read_buf(&mut buffer)).poll(cx).map_err(|_| Broken::Source);
        self.held = Held::Buffer(buffer, 0);
        if !matches!(read, Poll::Ready(Ok(_))) {
            self.release();
        }
        Ok(read?)
    }

    /// Reads once, into a pipe. None if nothing came of it: that is neither an end nor a lack of bytes yet, since
    /// splice(2) stops before urgent data and says either. What a copy says is true.
    fn splice(&mut self) -> Result<Option<usize>, Broken> {
        let Some(mut pipe) = self.pipes.take() else { return Ok(None) };
        let filled = self.from.fill(&mut pipe);
        self.held = Held::Pipe(pipe);
        match filled {
            Ok(count) if count > 0 => return Ok(Some(count)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_unspliceable(&error) => self.copies = true,
            Err(_) => return Err(Broken::Source),
        }
        self.release();
        Ok(None)
    }

    /// What is in the pipe cannot be spliced out of it.
    fn copy_from_now_on(&mut self) -> Result<(), Broken> {
        self.copies = true;
        if let Held::Pipe(pipe) = &mut self.held {
            let bytes = pipe.take_out().map_err(|_| Broken::Sink)?;
            self.release();
            self.held = Held::Buffer(bytes, 0);
        }
        Ok(())
    }

    /// Gives the buffer or the pipe back.
    fn release(&mut self) {
        match mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => {}
            Held::Buffer(buffer, _) => self.pool.give(buffer),
            Held::Pipe(pipe) => self.pipes.give(pipe),
        }
    }
}

/// Whether an error of splice(2) says that it cannot be done with these streams at all.
fn is_unspliceable(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
