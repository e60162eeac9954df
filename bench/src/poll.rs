//! One epoll instance, thin enough to cost nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// An epoll instance and room for its events.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// Watches a descriptor; its events carry the token.
    pub(crate) fn add(&self, source: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(token), flags)?)
    }

    /// Watches for something else.
    pub(crate) fn modify(&self, source: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(token), flags)?)
    }

    /// Waits until something happens, or for so many nanoseconds, and lists what happened; the list is emptied first.
    pub(crate) fn wait_into(&mut self, happened: &mut Vec<(u64, EventFlags)>, patience: Option<u64>) -> io::Result<()> {
        let patience = patience.map(|nanoseconds| rustix::time::Timespec {
            tv_sec: (nanoseconds / 1_000_000_000).cast_signed(),
            tv_nsec: (nanoseconds % 1_000_000_000).cast_signed(),
        });
        happened.clear();
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // The fields of a packed event are copied out.
        happened.extend(self.events.iter().map(|event| ({ event.data }.u64(), { event.flags })));
        Ok(())
    }
}
