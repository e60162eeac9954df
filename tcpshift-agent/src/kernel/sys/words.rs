//! Maps as memory, shared with kernel programs: counters, and rows that the agent lays out.

use std::io;
use std::mem::{size_of, size_of_val};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{MapRow, bytes, map_info};

/// A map as memory, shared with kernel programs.
#[derive(Debug)]
pub(in crate::kernel) struct MappedWords {
    first: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: The memory is only used atomically.
unsafe impl Send for MappedWords {}
// SAFETY: The memory is only used atomically.
unsafe impl Sync for MappedWords {}

impl MappedWords {
    /// The rows of a map that was made to be memory (`BPF_F_MMAPABLE`), and whose rows are words of eight bytes.
    pub(in crate::kernel) fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        Self::map(map, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn map(map: BorrowedFd<'_>, protection: ProtFlags) -> io::Result<Self> {
        let info = map_info(map)?;
        let words = info.value as usize / size_of::<AtomicU64>();
        if words == 0 || !(info.value as usize).is_multiple_of(size_of::<AtomicU64>()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the rows of the map are no words"));
        }
        let count = info.entries as usize * words;
        let length = count * size_of::<AtomicU64>();
        // SAFETY: A new mapping, where the kernel wants it.
        let memory = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, map, 0) }?;
        let first = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first, count })
    }
}

impl MappedWords {
    /// Writes the one row of a map, each word whole and the first one last: a reader that sees the new first word sees the
    /// other new words.
    pub(in crate::kernel) fn write<R: MapRow>(&self, row: &R) {
        self.write_at(0, row);
    }

    /// As [`MappedWords::write`], for the row with an index. There must be such a row.
    pub(in crate::kernel) fn write_at<R: MapRow>(&self, index: usize, row: &R) {
        let words = size_of::<R>() / size_of::<u64>();
        let all = &self.as_ref()[index * words..(index + 1) * words];
        for (bytes, word) in bytes(row).chunks_exact(size_of::<u64>()).zip(all).rev() {
            let mut value = [0; size_of::<u64>()];
            value.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(value), Release);
        }
    }

    /// Writes zeros to rows of so many bytes each. There must be such rows.
    pub(in crate::kernel) fn clear(&self, rows: Range<usize>, bytes: usize) {
        let words = bytes / size_of::<u64>();
        let all = self.as_ref().get(rows.start * words..rows.end * words).unwrap_or_default();
        for word in all {
            word.store(0, Relaxed);
        }
    }

    /// Copies rows of so many words each from another map, where they have the same indices. There must be such rows in both.
    pub(in crate::kernel) fn copy(&self, other: &Self, rows: Range<usize>, words: usize) {
        let range = rows.start * words..rows.end * words;
        for (to, from) in self.as_ref()[range.clone()].iter().zip(&other.as_ref()[range]) {
            to.store(from.load(Relaxed), Relaxed);
        }
    }
}

impl AsRef<[AtomicU64]> for MappedWords {
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: The mapping holds as many words, aligned to a page, until it is dropped.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl Drop for MappedWords {
    fn drop(&mut self) {
        let length = size_of_val(self.as_ref());
        // SAFETY: This value owns the mapping, and no reference to it is left.
        if let Err(error) = unsafe { munmap(self.first.as_ptr().cast(), length) } {
            log::debug!("a map stays mapped: {error}");
        }
    }
}
