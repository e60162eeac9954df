//! A table by stable number that grows and never moves, so that any thread reaches a cell without a lock.

use std::sync::OnceLock;

/// Cells of the first segment; each further one is twice as long as the one before.
const FIRST: u64 = 64;
/// Enough segments for every `u32`.
const SEGMENTS: usize = (u32::BITS - FIRST.ilog2()) as usize + 1;

/// Cells by number. A number that was never asked for costs nothing before its segment is needed; numbers
/// are meant to be dense, since a segment is made whole.
#[derive(Debug)]
pub struct Cells<T> {
    segments: [OnceLock<Box<[T]>>; SEGMENTS],
}

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self { segments: std::array::from_fn(|_| OnceLock::new()) }
    }
}

impl<T: Default> Cells<T> {
    /// The cell of a number; a new one holds the default.
    pub fn get(&self, number: u32) -> &T {
        // Counted from FIRST on, the segment is the index of the highest bit.
        let at = u64::from(number) + FIRST;
        let segment = (at.ilog2() - FIRST.ilog2()) as usize;
        let start = FIRST << segment;
        let cells = self.segments[segment].get_or_init(|| (0..start).map(|_| T::default()).collect());
        &cells[(at - start) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn each_number_has_its_own_cell() {
        let cells = Cells::<AtomicU64>::default();
        for number in 0..5_000 {
            cells.get(number).store(u64::from(number) + 1, Ordering::Relaxed);
        }
        for number in 0..5_000 {
            assert_eq!(cells.get(number).load(Ordering::Relaxed), u64::from(number) + 1);
        }
    }

    #[test]
    fn the_highest_number_has_a_segment() {
        let at = u64::from(u32::MAX) + FIRST;
        assert_eq!((at.ilog2() - FIRST.ilog2()) as usize, SEGMENTS - 1);
    }

    #[test]
    fn threads_meet_in_the_same_cell() {
        let cells = Cells::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..1_000 {
                        cells.get(number).fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert!((0..1_000).all(|number| cells.get(number).load(Ordering::Relaxed) == 4));
    }
}
