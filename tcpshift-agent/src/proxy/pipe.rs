//! Pipes of one worker, through which bulk goes from socket to socket without being copied.
//!
//! A pipe costs two descriptors, so their number is bounded, and one is held only while bytes are on their way through
//! it. For as long as it is held, what it has room for is granted by the bound of all workers.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

use super::limits;
use super::memory::{Grant, MemoryBound};
use super::pool::Buffer;
use crate::rights;

/// Bytes that a pipe is asked to hold. The system may give less: without `CAP_SYS_RESOURCE`, which the helper may have, users
/// have 64 MiB of pipes in all (`fs.pipe-user-pages-soft`), and two pages for each pipe beyond.
const CAPACITY: usize = 1 << 20;
/// With less than this a pass moves too little to be worth its two system calls.
const WORTHWHILE: usize = 64 << 10;
/// Pipes of one worker at once; further bulk is copied.
const MOST: usize = 256;
/// Passes that are copied before a pipe is asked for again, where none was to be had.
const REST: u32 = 1_024;
/// Free pipes that are kept.
const KEPT: usize = 16;

/// One pipe, and how much is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    exit: OwnedFd,
    entry: OwnedFd,
    capacity: usize,
    held: usize,
    /// None while it is free.
    grant: Option<Grant>,
}

/// The pipes that there are.
#[derive(Debug)]
pub(super) struct Pipes {
    free: RefCell<Vec<Pipe>>,
    /// How many there are, in use or free.
    count: Cell<usize>,
    /// For how many passes none is asked for, since none was to be had.
    rest: Cell<u32>,
    memory: Arc<MemoryBound>,
}

impl Pipes {
    /// None yet.
    pub(super) fn new(memory: Arc<MemoryBound>) -> Self {
        Self { free: RefCell::default(), count: Cell::new(0), rest: Cell::new(0), memory }
    }

    /// An empty pipe; none if there are too many, memory is short, or the system gives none that is worth it.
    pub(super) fn take(&self) -> Option<Pipe> {
        let grant = self.memory.buffer(CAPACITY)?;
        let mut pipe = self.take_free().or_else(|| self.take_new())?;
        pipe.grant = Some(grant);
        Some(pipe)
    }

    fn take_free(&self) -> Option<Pipe> {
        self.free.borrow_mut().pop()
    }

    fn take_new(&self) -> Option<Pipe> {
        if self.rest.get() > 0 {
            self.rest.set(self.rest.get() - 1);
            return None;
        }
        let made = if self.count.get() < MOST { make() } else { None };
        match made {
            Some(_) => self.count.set(self.count.get() + 1),
            None => self.rest.set(REST),
        }
        made
    }

    /// Takes a pipe back. One that still holds bytes is closed: they belong to the connection that had it.
    pub(super) fn give(&self, mut pipe: Pipe) {
        pipe.grant = None;
        let mut free = self.free.borrow_mut();
        if pipe.held == 0 && free.len() < KEPT {
            free.push(pipe);
        } else {
            self.count.set(self.count.get() - 1);
        }
    }

    /// How many there are, in use or free.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.count.get()
    }
}

/// A new pipe, if the system gives one that is worth it.
fn make() -> Option<Pipe> {
    let (exit, entry) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
    // Accepting comes first.
    if limits::is_scarce(entry.as_fd(), limits::current_limit()) {
        return None;
    }
    let (exit, entry) = match fcntl_setpipe_size(&entry, CAPACITY) {
        // This user has its share.
        Err(Errno::PERM) => rights::pipe(CAPACITY).unwrap_or((exit, entry)),
        _ => (exit, entry),
    };
    let capacity = fcntl_getpipe_size(&entry).ok()?;
    if capacity < WORTHWHILE {
        return None;
    }
    Some(Pipe { exit, entry, capacity: capacity.min(CAPACITY), held: 0, grant: None })
}

impl Pipe {
    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves what a socket has into the pipe, which must be empty: it would block only if the socket does.
    pub(super) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = splice(from, None, &self.entry, None, self.capacity, flags)?;
        self.held += count;
        Ok(count)
    }

    /// Moves what is in the pipe into a socket.
    pub(super) fn empty(&mut self, to: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = splice(&self.exit, None, to, None, self.held, flags)?;
        self.held -= count;
        Ok(count)
    }

    /// Takes what is in it out, to be written as it is.
    pub(super) fn take_out(&mut self) -> io::Result<Buffer> {
        let mut bytes = vec![0; self.held];
        let mut taken = 0;
        while taken < bytes.len() {
            match rustix::io::read(&self.exit, &mut bytes[taken..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => taken += count,
            }
        }
        self.held = 0;
        Ok(Buffer::new(bytes, self.grant.take()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bytes_go_through_and_a_pipe_is_used_again() {
        let pipes = Pipes::new(MemoryBound::new(1 << 40));
        let (mut one, from) = UnixStream::pair().unwrap();
        let (to, mut other) = UnixStream::pair().unwrap();
        let mut pipe = pipes.take().unwrap();
        assert!(pipe.capacity >= WORTHWHILE);
        one.write_all(b"through the pipe").unwrap();
        assert_eq!(pipe.fill(&from).unwrap(), 16);
        assert!(!pipe.is_empty());
        while !pipe.is_empty() {
            pipe.empty(&to).unwrap();
        }
        let mut got = [0; 16];
        other.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"through the pipe");
        pipes.give(pipe);
        drop(pipes.take().unwrap());
        assert_eq!(pipes.count(), 1);
    }

    #[test]
    fn what_cannot_be_spliced_is_taken_out_and_a_pipe_with_a_residue_is_closed() {
        let pipes = Pipes::new(MemoryBound::new(1 << 40));
        let (mut one, from) = UnixStream::pair().unwrap();
        one.write_all(b"rest").unwrap();
        let mut pipe = pipes.take().unwrap();
        pipe.fill(&from).unwrap();
        assert_eq!(pipe.take_out().unwrap().unwritten(), b"rest");
        assert!(pipe.is_empty());
        one.write_all(b"residue").unwrap();
        pipe.fill(&from).unwrap();
        pipes.give(pipe);
        assert_eq!((pipes.count(), pipes.free.borrow().len()), (0, 0));
    }

    #[test]
    fn there_are_no_more_than_the_most() {
        let pipes = Pipes::new(MemoryBound::new(1 << 40));
        let taken: Vec<_> = std::iter::from_fn(|| pipes.take()).take(MOST + 1).collect();
        assert!(taken.len() <= MOST);
        for pipe in taken {
            pipes.give(pipe);
        }
        assert_eq!(pipes.count(), KEPT);
    }
}
