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
use tokio::io::{AsyncReadExt, Interest};

use super::lifetime::Lifetime;
use super::pool::{Class, Pool};
use super::stream::{Reader, Stream, Writer};
use crate::connections::Ended;

/// Reads and writes before others have their turn.
const TURN: usize = 32;

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
pub(super) async fn relay(one: &mut Stream, other: &mut Stream, pool: &Pool, mut lifetime: Option<Lifetime>) -> Ending {
    let (one_reader, one_writer) = one.split();
    let (other_reader, other_writer) = other.split();
    let mut forth = Way::new(one_reader, &one_writer, &other_writer, pool);
    let mut back = Way::new(other_reader, &other_writer, &one_writer, pool);
    let over = {
        let mut one_broken = pin!(one_writer.ready(Interest::ERROR));
        let mut other_broken = pin!(other_writer.ready(Interest::ERROR));
        future::poll_fn(|cx| {
            let (forth_waits, back_waits) = match (forth.poll(cx), back.poll(cx)) {
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

/// One direction.
struct Way<'a> {
    reader: Reader<'a>,
    from: &'a Writer<'a>,
    to: &'a Writer<'a>,
    pool: &'a Pool,
    class: Class,
    /// Bytes read; held only while some are unwritten, or about to be read.
    buffer: Option<BytesMut>,
    /// How many of them are written.
    written: usize,
    state: State,
    /// Whether bytes went in or out since somebody looked.
    moved: bool,
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
    fn new(reader: Reader<'a>, from: &'a Writer<'a>, to: &'a Writer<'a>, pool: &'a Pool) -> Self {
        Self {
            reader,
            from,
            to,
            pool,
            class: Class::default(),
            buffer: None,
            written: 0,
            state: State::Open,
            moved: false,
        }
    }

    /// Carries what can be carried now.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<Waits, Broken> {
        if self.state == State::Ended {
            return Ok(Waits::Nothing);
        }
        for _ in 0..TURN {
            if self.write(cx)?.is_pending() {
                return Ok(Waits::Room);
            }
            self.release();
            match self.read(cx)? {
                Poll::Pending => return Ok(Waits::Bytes),
                Poll::Ready(0) if self.state == State::Cut => return Err(Broken::Source),
                Poll::Ready(0) => {
                    self.release();
                    self.to.shutdown().map_err(|_| Broken::Sink)?;
                    self.state = State::Ended;
                    return Ok(Waits::Nothing);
                }
                Poll::Ready(_) => {}
            }
        }
        // There may be more; others have their turn first.
        cx.waker().wake_by_ref();
        Ok(Waits::Bytes)
    }

    /// Carries what a broken source has sent before, as far as the sink takes it without waiting.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state == State::Open {
            self.state = State::Cut;
        }
        match self.poll(cx) {
            Ok(Waits::Bytes) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Writes all that is held.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        let Some(buffer) = &self.buffer else { return Ok(Poll::Ready(())) };
        while self.written < buffer.len() {
            match self.to.try_write(&buffer[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.to.poll_write_ready(cx).map_err(|_| Broken::Sink)?.is_pending() {
                        return Ok(Poll::Pending);
                    }
                }
                Err(_) => return Err(Broken::Sink),
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Reads once; how many bytes, 0 at the end. Nothing may be held.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, Broken> {
        // Only who has something to read is given a buffer.
        if self.from.poll_read_ready(cx).map_err(|_| Broken::Source)?.is_pending() {
            return Ok(Poll::Pending);
        }
        let mut buffer = self.pool.take(self.class);
        let read = pin!(self.reader.read_buf(&mut buffer)).poll(cx).map_err(|_| Broken::Source)?;
        if let Poll::Ready(count) = read {
            self.class = self.class.after(count);
            self.moved = true;
        }
        self.buffer = Some(buffer);
        self.written = 0;
        if read.is_pending() {
            self.release();
        }
        Ok(read)
    }

    /// Gives the buffer back.
    fn release(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.pool.give(buffer);
        }
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
