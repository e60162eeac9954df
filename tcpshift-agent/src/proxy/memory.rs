//! One bound for the memory of all connections that are carried, whichever worker has them.
//!
//! A connection is granted a part when it begins, for its own state and a small buffer each way, so that it can always
//! go on; one that cannot have it is refused. Larger buffers and pipes are granted while they are used, up to a part of
//! the bound, so that slow readers leave room for new connections. What is not granted is not waited for: the bytes
//! then go through the small buffer, and their sender is held back by that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Bytes that a connection is granted when it begins: what the kernel has of its two sockets and their descriptors,
/// its task, and a buffer of the smallest size each way.
pub(super) const CONNECTION: u64 = 16 << 10;

/// The bound, and what is granted.
#[derive(Debug)]
pub(super) struct MemoryBound {
    /// Bytes that may be granted in all.
    most: u64,
    granted: AtomicU64,
    /// Whether a connection was refused since there was room again.
    refuses: AtomicBool,
}

/// Bytes that were granted, until it is dropped.
#[derive(Debug)]
pub(super) struct Grant {
    memory: Arc<MemoryBound>,
    bytes: u64,
}

impl MemoryBound {
    /// Nothing is granted yet, and no more than `most` bytes will be.
    pub(super) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, granted: AtomicU64::new(0), refuses: AtomicBool::new(false) })
    }

    /// What a connection needs to begin; none if it is to be refused. The first one that is refused is said, and the
    /// first one again after there was room.
    pub(super) fn connection(self: &Arc<Self>) -> Option<Grant> {
        let granted = self.grant(CONNECTION, self.most);
        if granted.is_none() && !self.refuses.swap(true, Relaxed) {
            log::error!(
                "connections are refused: those that are open hold all of the {} MiB that they may (--max-memory)",
                self.most >> 20
            );
        }
        if granted.is_some() && self.refuses.load(Relaxed) && !self.is_short() {
            self.refuses.store(false, Relaxed);
            log::info!("connections are accepted again: there is memory");
        }
        granted
    }

    /// For a buffer or a pipe; none if one has to do with less.
    pub(super) fn buffer(self: &Arc<Self>, bytes: usize) -> Option<Grant> {
        self.grant(bytes as u64, self.most / 4 * 3)
    }

    /// Whether more than half is granted: what can do without should, and nothing is kept for later.
    pub(super) fn is_short(&self) -> bool {
        self.granted.load(Relaxed) > self.most / 2
    }

    fn grant(self: &Arc<Self>, bytes: u64, most: u64) -> Option<Grant> {
        let after = |granted: u64| granted.checked_add(bytes).filter(|after| *after <= most);
        self.granted.try_update(Relaxed, Relaxed, after).ok()?;
        Some(Grant { memory: Arc::clone(self), bytes })
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.memory.granted.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_leave_room_for_connections_and_all_is_given_back() {
        let memory = MemoryBound::new(64 * CONNECTION);
        let buffers: Vec<_> = std::iter::from_fn(|| memory.buffer(CONNECTION as usize)).collect();
        assert_eq!(buffers.len(), 48);
        assert!(memory.is_short());
        let connections: Vec<_> = std::iter::from_fn(|| memory.connection()).collect();
        assert_eq!(connections.len(), 16);
        assert!(memory.refuses.load(Relaxed));
        drop((buffers, connections));
        assert_eq!(memory.granted.load(Relaxed), 0);
        assert!(memory.connection().is_some() && !memory.refuses.load(Relaxed));
    }

    #[test]
    fn a_grant_beyond_every_bound_is_none() {
        let memory = MemoryBound::new(u64::MAX);
        let _all = memory.grant(u64::MAX, u64::MAX).unwrap();
        assert!(memory.connection().is_none() && memory.buffer(usize::MAX).is_none());
    }
}
