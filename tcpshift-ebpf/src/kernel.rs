//! What the kernel has that the programs run on, and atomic operations on each kernel.
//!
//! Before Linux 5.12 no instruction may be an atomic one that gives a value, even where it is never reached: the agent takes
//! them out of the programs when it loads them. So all of them are here, each behind [`has`].

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};
use core::ptr::read_volatile;

use aya_ebpf::Global;
use tcpshift_common::layout::kernel::{ALL, FETCH};

/// Bits of [`tcpshift_common::layout::kernel`].
#[unsafe(no_mangle)]
static KERNEL: Global<u64> = Global::new(ALL);

/// Whether the kernel has what a bit stands for.
#[inline(always)]
pub(crate) fn has(feature: u64) -> bool {
    KERNEL.load() & feature != 0
}

/// Adds to a counter.
///
/// # Safety
///
/// The pointer must be a word in the row of a map, aligned to eight bytes; all who use the word must do so atomically.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, number: u64) {
    // SAFETY: The caller's.
    unsafe { atomic_xadd::<_, u64, { AtomicOrdering::Relaxed }>(counter, number) };
}

/// Takes the next number of a counter. Without [`FETCH`] two processors that take one at the same moment may both get the
/// later of two numbers.
///
/// # Safety
///
/// As of [`add`].
#[inline(always)]
pub(crate) unsafe fn next(counter: *mut u64) -> u64 {
    if has(FETCH) {
        // With a weaker order LLVM 22 makes an addition of it that does not give the number.
        // SAFETY: The caller's.
        return unsafe { atomic_xadd::<_, u64, { AtomicOrdering::SeqCst }>(counter, 1) };
    }
    // SAFETY: The caller's.
    unsafe {
        add(counter, 1);
        read_volatile(counter).wrapping_sub(1)
    }
}

/// Replaces a word if it is still the old one. Returns whether it was; without [`FETCH`] it is left as it is.
///
/// # Safety
///
/// As of [`add`].
#[inline(always)]
pub(crate) unsafe fn replace(word: *mut u64, old: u64, new: u64) -> bool {
    if !has(FETCH) {
        return false;
    }
    // SAFETY: The caller's.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new).1 }
}
