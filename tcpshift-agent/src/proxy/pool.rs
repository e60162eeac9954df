//! Buffers of one worker, in four sizes, kept for whoever has something to carry next.
//!
//! An idle connection holds no buffer; what is free here is bounded. It must not know of connections.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes of each size class. A direction begins with the first and climbs while its reads fill the buffer. Above the
/// last there is one more, of bulk, which needs no buffer: it is spliced.
const SIZES: [usize; 4] = [2 << 10, 16 << 10, 64 << 10, 256 << 10];
/// Free buffers of each class that are kept: 2, 4, 4 and 8 MiB.
const KEPT: [usize; 4] = [1024, 256, 64, 32];

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

/// The free buffers.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: RefCell<[Vec<BytesMut>; SIZES.len()]>,
}

impl Pool {
    /// An empty buffer.
    pub(super) fn take(&self, Class(class): Class) -> BytesMut {
        let class = class.min(Class::LAST);
        let free = self.free.borrow_mut()[class].pop();
        free.unwrap_or_else(|| BytesMut::with_capacity(SIZES[class]))
    }

    /// Gives a buffer back.
    pub(super) fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        let class = SIZES.iter().rposition(|&size| buffer.capacity() >= size);
        // What was taken out of a pipe may be larger than any class.
        if let Some(class) = class.filter(|class| buffer.capacity() < SIZES[*class] * 2) {
            let mut free = self.free.borrow_mut();
            if free[class].len() < KEPT[class] {
                free[class].push(buffer);
            }
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
        let pool = Pool::default();
        let big = Class(3);
        for _ in 0..100 {
            pool.give(BytesMut::with_capacity(SIZES[3]));
        }
        assert_eq!(pool.free.borrow()[3].len(), KEPT[3]);
        let mut buffer = pool.take(big);
        assert_eq!(pool.free.borrow()[3].len(), KEPT[3] - 1);
        buffer.extend_from_slice(b"left over");
        pool.give(buffer);
        assert!(pool.take(big).is_empty());
    }
}
