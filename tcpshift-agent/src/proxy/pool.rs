//! Buffers of one worker, in four sizes, kept for the next connection with bytes to carry.
//!
//! An idle connection holds no buffer; what is free here is bounded, and all but the smallest size is granted by the
//! bound of all workers. Where that is reached, a buffer is smaller than the one asked for.

use std::cell::RefCell;
use std::sync::Arc;

use super::memory::{Grant, MemoryBound};

/// Bytes of each size class. A direction begins with the first and climbs while its reads fill the buffer. Above the
/// last there is one more, of bulk, which needs no buffer: it is spliced.
const SIZES: [usize; 4] = [2 << 10, 16 << 10, 64 << 10, 256 << 10];
/// Free buffers of each class that are kept: 0.25, 2, 4 and 8 MiB.
const KEPT: [usize; 4] = [128, 128, 64, 32];

/// As much as that in a pass is bulk, and as little as this is not any more.
const BULK: (usize, usize) = (64 << 10, 16 << 10);

/// A size class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Class(usize);

impl Class {
    /// The largest of those with a buffer.
    const LAST: usize = SIZES.len() - 1;

    /// Whether it is that of bulk.
    pub(super) fn is_bulk(self) -> bool {
        self.0 > Self::LAST
    }

    /// The class for the next pass, when one of this class moved `bytes`.
    pub(super) fn after(self, bytes: usize) -> Self {
        let Self(class) = self;
        let next = match class {
            class if class > Self::LAST => {
                if bytes < BULK.1 {
                    Self::LAST - 1
                } else {
                    class
                }
            }
            Self::LAST if bytes >= BULK.0 => class + 1,
            class if bytes >= SIZES[class] => class + 1,
            0 => class,
            // So little would fill half of the next smaller one at most.
            class if bytes <= SIZES[class - 1] / 2 => class - 1,
            _ => class,
        };
        Self(next)
    }
}

/// Bytes in memory that was granted, and how many of them are written. A pointer, since a connection that is still has room for
/// one too.
#[derive(Debug)]
pub(super) struct Buffer(Box<Content>);

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    written: usize,
    /// None for the smallest size, which is part of what its connection was granted.
    grant: Option<Grant>,
}

impl Buffer {
    /// Bytes, and the grant for them.
    pub(super) fn new(bytes: Vec<u8>, grant: Option<Grant>) -> Self {
        Self(Box::new(Content { bytes, written: 0, grant }))
    }

    /// All that was read.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0.bytes
    }

    /// What was read and is not written.
    pub(super) fn unwritten(&self) -> &[u8] {
        self.0.bytes.get(self.0.written..).unwrap_or_default()
    }

    /// So many more are written.
    pub(super) fn wrote(&mut self, count: usize) {
        self.0.written += count;
    }

    /// How many are written.
    pub(super) fn written(&self) -> usize {
        self.0.written
    }
}

/// The free buffers.
#[derive(Debug)]
pub(super) struct Pool {
    free: RefCell<[Vec<Buffer>; SIZES.len()]>,
    memory: Arc<MemoryBound>,
}

impl Pool {
    /// Without a buffer yet.
    pub(super) fn new(memory: Arc<MemoryBound>) -> Self {
        Self { free: RefCell::default(), memory }
    }

    /// An empty buffer, of a class or a smaller one.
    pub(super) fn take(&self, Class(class): Class) -> Buffer {
        for class in (1..=class.min(Class::LAST)).rev() {
            if let Some(buffer) = self.free.borrow_mut()[class].pop() {
                return buffer;
            }
            if let Some(grant) = self.memory.buffer(SIZES[class]) {
                return Buffer::new(Vec::with_capacity(SIZES[class]), Some(grant));
            }
        }
        let free = self.free.borrow_mut()[0].pop();
        free.unwrap_or_else(|| Buffer::new(Vec::with_capacity(SIZES[0]), None))
    }

    /// Gives back what was granted for free buffers, if memory is short.
    pub(super) fn relieve(&self) {
        if self.memory.is_short() {
            self.free.borrow_mut()[1..].iter_mut().for_each(Vec::clear);
        }
    }

    /// Gives a buffer back. Where memory is short, none of those that were granted is kept.
    pub(super) fn give(&self, mut buffer: Buffer) {
        self.relieve();
        if buffer.0.grant.is_some() && self.memory.is_short() {
            return;
        }
        buffer.0.bytes.clear();
        buffer.0.written = 0;
        let capacity = buffer.0.bytes.capacity();
        let mut free = self.free.borrow_mut();
        let class = SIZES.iter().rposition(|&size| capacity >= size);
        // What was taken out of a pipe may be larger than any class.
        if let Some(class) = class.filter(|class| capacity < SIZES[*class] * 2)
            && (class == 0) == buffer.0.grant.is_none()
            && free[class].len() < KEPT[class]
        {
            free[class].push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_climbs_while_it_fills_and_comes_down_again() {
        let mut class = Class::default();
        let mut sizes = vec![];
        while !class.is_bulk() {
            sizes.push(SIZES[class.0]);
            class = class.after(SIZES[class.0]);
        }
        assert_eq!(sizes, [2 << 10, 16 << 10, 64 << 10, 256 << 10]);
        assert!(class.after(BULK.0).is_bulk());
        for _ in 0..5 {
            class = class.after(100);
        }
        assert_eq!(class, Class::default());
    }

    #[test]
    fn what_is_free_is_bounded_and_used_again() {
        let pool = Pool::new(MemoryBound::new(1 << 30));
        let big = Class(3);
        let taken: Vec<_> = (0..100).map(|_| pool.take(big)).collect();
        for buffer in taken {
            pool.give(buffer);
        }
        assert_eq!(pool.free.borrow()[3].len(), KEPT[3]);
        let mut buffer = pool.take(big);
        assert_eq!(pool.free.borrow()[3].len(), KEPT[3] - 1);
        buffer.bytes().extend_from_slice(b"left over");
        pool.give(buffer);
        assert!(pool.take(big).unwritten().is_empty());
    }

    #[test]
    fn where_memory_is_short_buffers_are_small_and_none_is_kept() {
        let memory = MemoryBound::new(1 << 20);
        let pool = Pool::new(Arc::clone(&memory));
        let taken: Vec<_> = (0..50).map(|_| pool.take(Class(3))).collect();
        let sizes: Vec<_> = taken.iter().map(|buffer| buffer.0.bytes.capacity()).collect();
        assert_eq!(sizes[..3], [SIZES[3]; 3]);
        assert!(sizes[3..].iter().all(|&size| size == SIZES[0]), "{sizes:?}");
        for buffer in taken {
            pool.give(buffer);
        }
        assert!(!memory.is_short());
        assert!(pool.free.borrow()[3].len() <= 2, "{:?}", pool.free.borrow()[3].len());
    }

    #[test]
    fn what_is_free_gives_way_to_connections() {
        let memory = MemoryBound::new(1 << 20);
        let pool = Pool::new(Arc::clone(&memory));
        pool.give(pool.take(Class(3)));
        assert_eq!(pool.free.borrow()[3].len(), 1);
        let mut connections: Vec<_> = std::iter::from_fn(|| memory.connection()).collect();
        assert_eq!(connections.len(), 48);
        pool.relieve();
        connections.extend(std::iter::from_fn(|| memory.connection()));
        assert_eq!(connections.len(), 64);
    }
}
