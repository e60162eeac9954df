//! Rows of maps that the programs alone read and write.

use core::ptr::{read_volatile, write_volatile};

use tcpshift_common::layout::{AddressPort, FlowRow};

use crate::settle::Settlement;

/// The row of map `pending`, of each processor.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Pending {
    /// The packet as a connection, and what was decided for it.
    pub(crate) settlement: Settlement,
    /// What is kept of it.
    pub(crate) row: FlowRow,
    /// Whom it may be handed to.
    pub(crate) tries: Tries,
    /// A turn that was taken, and that nobody has had yet.
    pub(crate) turn: Turn,
    /// Whether nobody knows yet what the packet is. A number.
    pub(crate) is_open: u32,
    /// Whether SYN cookies are in use. A number, which the verifier does not know here.
    pub(crate) is_by_cookies: u32,
}

/// A turn of a destination.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Its number.
    pub(crate) number: u64,
    /// Number of the destination, plus 1; 0 if there is no turn.
    pub(crate) counter: u64,
}

/// Copies a row of whole words. Left to LLVM it may become a call of a loop over bytes, which programs would run and verifiers
/// follow.
#[inline(always)]
pub(crate) fn copy<T: Copy>(to: &mut T, from: &T) {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
    let (to, from) = ((&raw mut *to).cast::<u64>(), (&raw const *from).cast::<u64>());
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: Words of two rows, both aligned to words.
        unsafe { write_volatile(to.add(word), read_volatile(from.add(word))) };
    }
}

/// Endpoints of a destination to hand a packet to, and which of them has got it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Tries {
    /// The side of the plan.
    pub(crate) side: u32,
    /// The destination's first endpoint in `endpoints`.
    pub(crate) first: u32,
    /// How many endpoints it has.
    pub(crate) endpoints: u32,
    /// The endpoint that is tried next; where one has got the packet, that one.
    pub(crate) at: u32,
    /// Number of the one that was tried last, which has got the packet if any has.
    pub(crate) number: u32,
    /// Of the others, how many were not tried.
    pub(crate) left: u32,
    /// Where it is.
    pub(crate) endpoint: AddressPort,
}
