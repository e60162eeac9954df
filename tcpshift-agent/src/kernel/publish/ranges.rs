//! Ranges of rows in chunks of memory that programs read.
//!
//! A chunk is a map that is memory of the agent's too, so that rows are laid out without a call. Ranges have sizes of a few
//! classes, and one that is given back serves another of its class. What is too large for a chunk has one of its own, which
//! goes when it is given back.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use tcpshift_common::layout::{CHUNKS, EndpointRow, HashRow};

use super::free::Numbers;
use crate::kernel::load::{Maps, TableArray};
use crate::kernel::sys::{MapRow, MappedWords};

/// Rows of a chunk that several ranges share: 128 KiB of either kind.
const ENDPOINTS: u32 = 4_096;
const HASHES: u32 = 16_384;

/// Rows that stand one after the other in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    chunk: u32,
    first: u32,
    /// As many as its class has.
    rows: u32,
    /// Whether it has the chunk alone.
    is_alone: bool,
}

impl Range {
    /// Where it begins, as programs read it.
    pub(super) fn word(self) -> u64 {
        u64::from(self.chunk) << 32 | u64::from(self.first)
    }

    /// Takes those chunks away that one of the ranges has alone.
    pub(super) fn clear<R: MapRow>(ranges: &[Self], chunks: &TableArray<R>) -> io::Result<()> {
        let alone: Vec<u32> = ranges.iter().filter(|range| range.is_alone).map(|range| range.chunk).collect();
        if alone.is_empty() { Ok(()) } else { chunks.clear(&alone) }
    }
}

/// All rows of one kind.
pub(super) struct Ranges<R> {
    /// By number.
    chunks: BTreeMap<u32, Chunk>,
    numbers: Numbers,
    /// Rows of a chunk.
    size: u32,
    /// The chunk that is not full yet, and the first row there that no range has had.
    open: Option<(u32, u32)>,
    /// By class.
    free: BTreeMap<u32, Vec<Range>>,
    /// Whether descriptors are kept, so that chunks can be pinned.
    is_shown: bool,
    rows: PhantomData<R>,
}

struct Chunk {
    memory: MappedWords,
    map: Option<OwnedFd>,
}

/// How many rows a range has that is for so many: a quarter more at most.
fn class(rows: u32) -> u32 {
    let bits = u32::BITS - rows.saturating_sub(1).leading_zeros();
    rows.max(1).next_multiple_of(1 << bits.saturating_sub(3))
}

impl Ranges<EndpointRow> {
    pub(super) fn of_endpoints() -> Self {
        Self::new(CHUNKS, ENDPOINTS, true)
    }
}

impl Ranges<HashRow> {
    /// Of so many chunks.
    pub(super) fn of_hashes(chunks: u32) -> Self {
        Self::new(chunks, HASHES, false)
    }
}

impl<R: MapRow> Ranges<R> {
    fn new(chunks: u32, size: u32, is_shown: bool) -> Self {
        let numbers = Numbers::new(chunks);
        Self { chunks: BTreeMap::new(), numbers, size, open: None, free: BTreeMap::new(), is_shown, rows: PhantomData }
    }

    /// Writes rows where no program reads yet.
    pub(super) fn lay_out(
        &mut self,
        maps: &Maps,
        outer: &TableArray<R>,
        rows: impl ExactSizeIterator<Item = R>,
    ) -> Result<Range> {
        let count = u32::try_from(rows.len()).context("a destination has too many endpoints")?;
        let range = self.take(maps, outer, count)?;
        let chunk = self.chunks.get(&range.chunk).context("a chunk of rows is not there")?;
        (range.first..).zip(rows).for_each(|(at, row)| chunk.memory.write_at(at as usize, &row));
        Ok(range)
    }

    /// The maps of chunks, by number.
    pub(super) fn shown(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.chunks.iter().filter_map(|(number, chunk)| Some((*number, chunk.map.as_ref()?.as_fd())))
    }

    fn take(&mut self, maps: &Maps, outer: &TableArray<R>, rows: u32) -> Result<Range> {
        let rows = class(rows);
        if let Some(range) = self.free.get_mut(&rows).and_then(Vec::pop) {
            return Ok(range);
        }
        if rows > self.size {
            let chunk = self.chunk(maps, outer, rows)?;
            return Ok(Range { chunk, first: 0, rows, is_alone: true });
        }
        if let Some((chunk, next)) = self.open.filter(|(_, next)| next + rows <= self.size) {
            self.open = Some((chunk, next + rows));
            return Ok(Range { chunk, first: next, rows, is_alone: false });
        }
        let chunk = self.chunk(maps, outer, self.size)?;
        if let Some((chunk, first)) = self.open.replace((chunk, rows)) {
            self.leave(chunk, first);
        }
        Ok(Range { chunk, first: 0, rows, is_alone: false })
    }

    /// Gives what is left of a chunk to smaller ranges.
    fn leave(&mut self, chunk: u32, mut first: u32) {
        while first < self.size {
            let left = self.size - first;
            // A class is no larger than a power of two is that it begins with.
            let rows = if class(left) == left { left } else { 1 << left.ilog2() };
            self.free.entry(rows).or_default().push(Range { chunk, first, rows, is_alone: false });
            first += rows;
        }
    }

    fn chunk(&mut self, maps: &Maps, outer: &TableArray<R>, rows: u32) -> Result<u32> {
        let number = self.numbers.take().context("no chunk is free for endpoint sets; raise --max-routes")?;
        let made = (|| {
            let (map, memory) = outer.create_memory(maps.types.as_fd(), rows)?;
            outer.hang(&[number], &[map.as_fd()])?;
            io::Result::Ok(Chunk { memory, map: self.is_shown.then_some(map) })
        })();
        match made {
            Ok(chunk) => {
                self.chunks.insert(number, chunk);
                Ok(number)
            }
            Err(error) => {
                self.numbers.give_back(&[number]);
                Err(error).context("the kernel makes no memory for endpoint sets")
            }
        }
    }

    /// Frees ranges. Those that had their chunk alone must be cleared.
    pub(super) fn give_back(&mut self, ranges: &[Range]) {
        for range in ranges {
            if range.is_alone {
                self.chunks.remove(&range.chunk);
                self.numbers.give_back(&[range.chunk]);
            } else {
                self.free.entry(range.rows).or_default().push(*range);
            }
        }
    }
}

impl<R> fmt::Debug for Ranges<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranges").field("chunks", &self.chunks.len()).field("open", &self.open).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_for_and_little_more() {
        for rows in 1..100_000_u32 {
            let class = class(rows);
            assert!(class >= rows && class - rows <= rows / 4, "{rows}: {class}");
            assert_eq!(super::class(class), class, "{rows}");
        }
        assert_eq!([1, 2, 8, 9, 11, 16, 17, 4_096].map(class), [1, 2, 8, 10, 12, 16, 20, 4_096]);
    }
}
