//! What was decided for connections that were handed over, from when they are established until they are closed.
//!
//! A row has the place that the cookie of its socket has. Finding one costs next to nothing: no key is hashed, nothing is
//! allocated, and neighbours are in the processor's cache. Whose place is taken has storage of its socket, which costs more
//! and is there for any number. It must not know what becomes of connections.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};
use core::ptr::{read_volatile, write_volatile};

use tcpshift_common::layout::{Assignment, SERVED, ServedRow};

use crate::maps::PLACES;

#[inline(always)]
fn place(cookie: u64) -> Option<*mut ServedRow> {
    PLACES.get_ptr_mut((cookie % u64::from(SERVED)) as u32)
}

/// Keeps what was decided for a socket. Returns whether there was a place for it.
#[inline(always)]
pub(crate) fn keep(cookie: u64, assignment: &Assignment) -> bool {
    let Some(place) = place(cookie) else { return false };
    // SAFETY: The row of a map, aligned to eight bytes; whoever finds the place free has it alone.
    unsafe {
        let holder = &raw mut (*place).cookie;
        if read_volatile(holder) != 0
            || !atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(holder, 0, cookie).1
        {
            return false;
        }
        (*place).assignment = *assignment;
    }
    true
}

/// What was decided for a socket, if it is here. It is not afterwards.
#[inline(always)]
pub(crate) fn take(cookie: u64) -> Option<Assignment> {
    let place = place(cookie)?;
    // SAFETY: The row of a map; a cookie is never another socket's, so nobody else has the place.
    unsafe {
        let holder = &raw mut (*place).cookie;
        if read_volatile(holder) != cookie {
            return None;
        }
        let assignment = (*place).assignment;
        write_volatile(holder, 0);
        Some(assignment)
    }
}
