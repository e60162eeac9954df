//! What is known of a socket: whether it can be read or written, or is broken.
//!
//! A socket is registered when somebody has to wait for it first. Its readiness is a guess before that, and afterwards what was
//! heard last: a call that would block clears it, and the next edge sets it again. One task waits for a socket at a time.

use std::cell::{Cell, RefCell};
use std::io;
use std::num::NonZeroU64;
use std::ops::BitOr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::{CURRENT, current};
use crate::connections::Waiter;

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Ready(u8);

impl Ready {
    pub(in crate::proxy) const NONE: Self = Self(0);
    /// It may be read from.
    pub(in crate::proxy) const READ: Self = Self(1);
    /// It may be written to.
    pub(in crate::proxy) const WRITE: Self = Self(2);
    /// It has an error to tell.
    pub(in crate::proxy) const ERROR: Self = Self(4);
    /// Its peer sends no more: that stays so.
    const READ_CLOSED: Self = Self(8);
    /// It cannot be written to any more: that stays so.
    const WRITE_CLOSED: Self = Self(16);

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What stands for the end of that.
    fn closed(self) -> Self {
        let one = |is_so: bool, closed: Self| if is_so { closed } else { Self::NONE };
        one(self.has(Self::READ), Self::READ_CLOSED) | one(self.has(Self::WRITE), Self::WRITE_CLOSED)
    }

    fn of(flags: EventFlags) -> Self {
        let mut ready = Self::NONE;
        let mut add = |is_so: bool, one: Self| {
            if is_so {
                ready = ready | one;
            }
        };
        let (has, read, write) = (|flag| flags.contains(flag), EventFlags::IN, EventFlags::OUT);
        let (error, hup) = (has(EventFlags::ERR), has(EventFlags::HUP));
        add(has(read), Self::READ);
        add(has(write), Self::WRITE);
        add(error, Self::ERROR);
        add(hup || has(read) && has(EventFlags::RDHUP), Self::READ_CLOSED);
        add(hup || error, Self::WRITE_CLOSED);
        ready
    }
}

impl BitOr for Ready {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The registered sockets of a thread, by index.
#[derive(Debug, Default)]
pub(super) struct ReadinessTable {
    cells: RefCell<Vec<WatchedCell>>,
    free: RefCell<Vec<u32>>,
}

#[derive(Debug)]
struct WatchedCell {
    /// An event that was on its way when the socket before was closed has another one.
    generation: u32,
    state: Option<Rc<State>>,
}

/// One socket.
#[derive(Debug)]
pub(in crate::proxy) struct Readiness {
    state: Rc<State>,
    token: Cell<Option<NonZeroU64>>,
    /// Whether it is told again while it is ready. It has to be deregistered then before it rests.
    is_level: bool,
}

#[derive(Debug)]
struct State {
    ready: Cell<Ready>,
    waiter: Waiter,
}

impl ReadinessTable {
    /// Hears of a socket.
    pub(super) fn note(&self, token: u64, flags: EventFlags) {
        let cells = self.cells.borrow();
        let (index, generation) = parts(token);
        let cell = cells.get(index as usize).filter(|cell| cell.generation == generation);
        let Some(state) = cell.and_then(|cell| cell.state.as_ref()) else { return };
        state.ready.set(state.ready.get() | Ready::of(flags));
        state.waiter.wake();
    }

    fn insert(&self, state: Rc<State>) -> NonZeroU64 {
        let mut cells = self.cells.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            cells.push(WatchedCell { generation: 0, state: None });
            cells.len() as u32 - 1
        });
        let cell = &mut cells[index as usize];
        cell.state = Some(state);
        token_of(index, cell.generation)
    }

    fn remove(&self, token: NonZeroU64) {
        let (index, _) = parts(token.get());
        let mut cells = self.cells.borrow_mut();
        let Some(cell) = cells.get_mut(index as usize) else { return };
        // One bit less: no token is that of the descriptor by which other threads wake.
        cell.generation = cell.generation.wrapping_add(1) & (u32::MAX >> 1);
        cell.state = None;
        self.free.borrow_mut().push(index);
    }
}

/// The token of a cell and the socket in it: never 0, so that none takes no room.
fn token_of(index: u32, generation: u32) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(u64::from(generation) << 32 | u64::from(index))
}

/// Index and generation.
fn parts(token: u64) -> (u32, u32) {
    let token = token.wrapping_sub(1);
    (token as u32, (token >> 32) as u32)
}

impl Readiness {
    /// A socket of which this is guessed.
    pub(in crate::proxy) fn new(ready: Ready) -> Self {
        let state = State { ready: Cell::new(ready), waiter: Waiter::default() };
        Self { state: Rc::new(state), token: Cell::new(None), is_level: false }
    }

    /// A socket that listens: nobody takes all that wait at once.
    pub(in crate::proxy) fn level() -> Self {
        let mut readiness = Self::new(Ready::NONE);
        readiness.is_level = true;
        readiness
    }

    /// Waits until a socket is ready for one of these. Fails if it cannot be registered.
    pub(in crate::proxy) fn poll(
        &self,
        cx: &mut Context<'_>,
        socket: BorrowedFd<'_>,
        wanted: Ready,
    ) -> Poll<io::Result<()>> {
        if self.is_ready(wanted) {
            return Poll::Ready(Ok(()));
        }
        if self.token.get().is_none() {
            self.register(socket)?;
        }
        self.state.waiter.wait(cx);
        Poll::Pending
    }

    /// What is known: whether it is ready for one of these.
    pub(in crate::proxy) fn is_ready(&self, wanted: Ready) -> bool {
        let ready = self.state.ready.get();
        ready.has(wanted | wanted.closed())
    }

    /// Whether anything is heard of it.
    pub(in crate::proxy) fn is_registered(&self) -> bool {
        self.token.get().is_some()
    }

    /// A call for that would have blocked, whatever was heard.
    pub(in crate::proxy) fn blocked(&self, what: Ready) {
        self.clear(Ready(what.0 | what.closed().0));
    }

    /// There is nothing left of that, unless its peer has ended it.
    pub(in crate::proxy) fn clear(&self, what: Ready) {
        self.state.ready.set(Ready(self.state.ready.get().0 & !what.0));
    }

    fn register(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let reactor = current();
        let token = reactor.watched.insert(Rc::clone(&self.state));
        let edges = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let flags = if self.is_level { EventFlags::IN } else { edges };
        if let Err(error) = epoll::add(&reactor.epoll, socket, EventData::new_u64(token.get()), flags) {
            reactor.watched.remove(token);
            return Err(error.into());
        }
        self.token.set(Some(token));
        Ok(())
    }

    /// Hears nothing more of a socket that other processes may have copies of, so that closing it would not do.
    pub(in crate::proxy) fn deregister(&self, socket: BorrowedFd<'_>) {
        let Some(token) = self.token.take() else { return };
        let reactor = current();
        if let Err(error) = epoll::delete(&reactor.epoll, socket) {
            log::debug!("a socket cannot be deregistered: {error}");
        }
        reactor.watched.remove(token);
        self.clear(Ready::READ);
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let Some(token) = self.token.take() else { return };
        CURRENT.with_borrow(|current| current.iter().for_each(|reactor| reactor.watched.remove(token)));
    }
}
