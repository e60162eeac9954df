//! Counters in a map as memory, shared with kernel programs.

use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Release;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{MapRow, bytes, map_info};

/// A map of counters as memory, shared with kernel programs.
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
        let info = map_info(map)?;
        let words = info.value as usize / size_of::<AtomicU64>();
        if words == 0 || !(info.value as usize).is_multiple_of(size_of::<AtomicU64>()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the rows of the map are no words"));
        }
        let count = info.entries as usize * words;
        let length = count * size_of::<AtomicU64>();
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: A new mapping, where the kernel wants it.
        let memory = unsafe { mmap(std::ptr::null_mut(), length, protection, flags, map, 0) }?;
        let first = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first, count })
    }
}

impl MappedWords {
    /// Writes the one row of a map, each word whole and the first one last: a reader that sees the new first word sees the
    /// other new words.
    pub(in crate::kernel) fn write<R: MapRow>(&self, row: &R) {
        let words = bytes(row).chunks_exact(size_of::<u64>()).zip(self.as_ref());
        for (bytes, word) in words.rev() {
            let mut value = [0; size_of::<u64>()];
            value.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(value), Release);
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
            log::debug!("counters stay mapped: {error}");
        }
    }
}
