//! One direction of a connection.
//!
//! Messages are copied; once the direction has become bulk its bytes go through a pipe, until they are few again.

use std::io;
use std::mem;
use std::task::{Context, Poll};

use super::super::carriers::Carriers;
use super::super::pipe::Pipe;
use super::super::pool::{Buffer, Class};
use super::super::stream::Stream;
use super::FirstBytes;
use crate::connections::{Connection, Direction};
use rustix::io::Errno;

/// Bytes carried before others have their turn.
const TURN: usize = 1 << 20;
/// What a pass counts for at least.
const PASS: usize = TURN / 32;

/// Which end of a way broke.
#[derive(Clone, Copy, Debug)]
pub(super) enum Broken {
    /// It cannot be read from; all it sent is read.
    Source,
    /// It cannot be written to.
    Sink {
        /// Whether the write may have taken the error from the socket. To a read the socket then looks as if its peer
        /// had ended its stream.
        told: bool,
    },
}

/// What a way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Its next turn, or bytes to read.
    Bytes,
    /// Room for the bytes it holds.
    Room,
    /// Nothing any more: its end of stream is carried.
    Nothing,
}

impl Waits {
    /// Whether nothing is being read.
    pub(super) fn is_blind(self) -> bool {
        matches!(self, Self::Room | Self::Nothing)
    }
}

/// One direction.
pub(super) struct Way<'a> {
    from: &'a Stream,
    to: &'a Stream,
    carriers: &'a Carriers,
    connection: &'a Connection,
    direction: Direction,
    class: Class,
    held: Held,
    state: State,
    /// Whether its streams cannot be spliced.
    copies: bool,
    /// Whether bytes were spliced into the sink.
    spliced: bool,
    /// Whether bytes went in or out since somebody looked.
    pub(super) moved: bool,
}

/// Bytes that are read and not written; nothing is kept while there are none.
enum Held {
    Nothing,
    Buffer(Buffer),
    Pipe(Box<Pipe>),
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
    pub(super) fn new(
        from: &'a Stream,
        to: &'a Stream,
        carriers: &'a Carriers,
        (connection, direction): (&'a Connection, Direction),
    ) -> Self {
        Self {
            from,
            to,
            carriers,
            connection,
            direction,
            class: Class::default(),
            held: Held::Nothing,
            state: State::Open,
            copies: false,
            spliced: false,
            moved: false,
        }
    }

    /// Takes over what was read before, and written in part.
    pub(super) fn begin_with(&mut self, first: FirstBytes) {
        if let FirstBytes(Some(mut buffer)) = first {
            self.class = self.class.after(buffer.bytes().len());
            if buffer.written() > 0 {
                self.connection.moved(self.direction, buffer.written());
            }
            self.held = Held::Buffer(buffer);
        }
    }

    /// Whether its end of stream is carried.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether it reads from a unix socket.
    pub(super) fn is_from_unix(&self) -> bool {
        self.from.is_unix()
    }

    /// Whether bytes that its source has sent are not written yet, as far as this host has them.
    pub(super) fn has_bytes(&self) -> bool {
        let held = match &self.held {
            Held::Nothing => false,
            Held::Buffer(buffer) => !buffer.unwritten().is_empty(),
            Held::Pipe(pipe) => !pipe.is_empty(),
        };
        held || self.from.has_unread()
    }

    /// The source is known to be broken: the end of what can be read is no end of its stream.
    pub(super) fn cut(&mut self) {
        if self.state == State::Open {
            self.state = State::Cut;
        }
    }

    /// Carries what can be carried now. The last way of two leaves its end to the close that follows.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, is_last: bool) -> Result<Waits, Broken> {
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
                        self.to.shutdown().map_err(|_| Broken::Sink { told: self.spliced })?;
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
        cx.waker().wake_by_ref();
        Ok(Waits::Bytes)
    }

    /// Ends the stream of its sink, as if its source had ended its own.
    pub(super) fn end_sink(&self) {
        if self.state != State::Ended
            && let Err(error) = self.to.shutdown()
        {
            log::debug!("a connection that is closed cannot be ended: {error}");
        }
    }

    /// Waits for the end of its source. False if bytes come, or it breaks.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.is_over() {
            return Poll::Ready(true);
        }
        match self.read(cx) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(0)) if self.state == State::Open => {
                self.state = State::Ended;
                Poll::Ready(true)
            }
            Ok(Poll::Ready(_)) | Err(_) => Poll::Ready(false),
        }
    }

    /// Writes all that is held.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        loop {
            let moved = match &mut self.held {
                Held::Nothing => return Ok(Poll::Ready(())),
                Held::Buffer(buffer) if buffer.unwritten().is_empty() => return Ok(Poll::Ready(())),
                Held::Pipe(pipe) if pipe.is_empty() => return Ok(Poll::Ready(())),
                Held::Buffer(buffer) => self.to.write(buffer.unwritten()).inspect(|count| buffer.wrote(*count)),
                Held::Pipe(pipe) => self.to.empty(pipe).inspect(|_| self.spliced = true),
            };
            match moved {
                Ok(count) => {
                    self.connection.moved(self.direction, count);
                    self.moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.to.poll_write_ready(cx).map_err(|_| Broken::Sink { told: true })?.is_pending() {
                        return Ok(Poll::Pending);
                    }
                }
                Err(error) if is_unspliceable(&error) && matches!(self.held, Held::Pipe(_)) => {
                    self.copy_from_now_on()?;
                }
                Err(error) => return Err(self.broken_sink(&error)),
            }
        }
    }

    /// Reads once; how many bytes, 0 at the end. Nothing may be held.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, Broken> {
        loop {
            // Only who has something to read is given a buffer or a pipe.
            if self.from.poll_read_ready(cx).map_err(|_| Broken::Source)?.is_pending() {
                return Ok(Poll::Pending);
            }
            // It may only have been thought to have; then the wait begins.
            if let Some(count) = self.try_read()? {
                return Ok(Poll::Ready(count));
            }
        }
    }

    /// Reads once without a wait; none if there is nothing.
    fn try_read(&mut self) -> Result<Option<usize>, Broken> {
        if self.class.is_bulk()
            && !self.copies
            && let Some(count) = self.splice()?
        {
            return Ok(Some(count));
        }
        let mut buffer = self.carriers.pool.take(self.class);
        let read = self.from.read(buffer.bytes());
        self.held = Held::Buffer(buffer);
        match read {
            Ok(count) => Ok(Some(count)),
            Err(error) => {
                self.release();
                if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(Broken::Source) }
            }
        }
    }

    /// Reads once, into a pipe. None if nothing came of it: that is neither an end nor a lack of bytes yet, since
    /// splice(2) stops before urgent data and says either. What a copy says is true.
    fn splice(&mut self) -> Result<Option<usize>, Broken> {
        let Some(mut pipe) = self.carriers.pipes.take() else { return Ok(None) };
        let filled = self.from.fill(&mut pipe);
        self.held = Held::Pipe(Box::new(pipe));
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
            let buffer = pipe.take_out().map_err(|_| Broken::Sink { told: true })?;
            self.release();
            self.held = Held::Buffer(buffer);
        }
        Ok(())
    }

    /// What a failed write says.
    ///
    /// EPIPE is what the socket says that has no error to give: a unix socket whose peer does not read any more, or a
    /// TCP socket whose peer had ended its stream before the reset (`tcp_reset`, since Linux 2.6). What it sent before
    /// can be read, and its end is true. But of two writes in one splice(2) the second may have taken the error, and
    /// the call then tells of the first alone (`splice_to_socket`, Linux 6.5).
    fn broken_sink(&self, error: &io::Error) -> Broken {
        Broken::Sink { told: self.spliced || Errno::from_io_error(error) != Some(Errno::PIPE) }
    }

    /// Gives the buffer or the pipe back.
    fn release(&mut self) {
        match mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => {}
            Held::Buffer(buffer) => self.carriers.pool.give(buffer),
            Held::Pipe(pipe) => self.carriers.pipes.give(*pipe),
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
