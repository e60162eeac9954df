//! What is counted of connections that are steered, by the numbers of destinations and endpoints.
//!
//! It must not decide anything.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::programs::SockOpsContext;
use tcpshift_common::layout::{Assignment, SumRow};

use crate::flow::read;
use crate::maps::{LOADS, SUMS};

#[inline(always)]
fn add(counter: *mut u64, number: u64) {
    // SAFETY: A word in the row of a map, aligned to eight bytes; all who use it do so atomically.
    unsafe { atomic_xadd::<_, u64, { AtomicOrdering::SeqCst }>(counter, number) };
}

macro_rules! counter {
    ($row:expr, $field:ident) => {
        // SAFETY: The row of a map stays while the program runs.
        unsafe { &raw mut (*$row).$field }
    };
}

#[inline(always)]
fn row(destination: u32) -> Option<*mut SumRow> {
    SUMS.get_ptr_mut(destination)
}

/// A connection is refused that a destination has.
#[inline(always)]
pub(crate) fn refused(destination: u32) {
    if let Some(row) = row(destination) {
        add(counter!(row, refused), 1);
    }
}

/// A connection begins, and is a load of its endpoint until it is closed.
#[inline(always)]
pub(crate) fn opened(assignment: &Assignment) {
    if let Some(row) = row(assignment.destination) {
        add(counter!(row, opened), 1);
        add(counter!(row, active), 1);
    }
    if let Some(load) = LOADS.get_ptr_mut(assignment.endpoint) {
        add(load, 1);
    }
}

/// A connection ends that was never established.
#[inline(always)]
pub(crate) fn failed(assignment: &Assignment) {
    if let Some(row) = row(assignment.destination) {
        add(counter!(row, failed), 1);
    }
    ended(assignment);
}

/// A connection ends. What the client's socket has sent, the server's has received.
#[inline(always)]
pub(crate) fn closed(assignment: &Assignment, context: &SockOpsContext, is_client: bool) {
    let ops = context.ops;
    let (sent, received) = (read!((*ops).bytes_acked), read!((*ops).bytes_received));
    let (sent, received) = if is_client { (sent, received) } else { (received, sent) };
    // The kernel keeps eighths of a microsecond.
    let rtt = u64::from(read!((*ops).srtt_us) >> 3);
    if let Some(row) = row(assignment.destination) {
        add(counter!(row, closed), 1);
        add(counter!(row, sent), sent);
        add(counter!(row, received), received);
        add(counter!(row, rtt), rtt);
    }
    ended(assignment);
}

#[inline(always)]
fn ended(assignment: &Assignment) {
    if let Some(row) = row(assignment.destination) {
        add(counter!(row, active), u64::MAX);
    }
    if let Some(load) = LOADS.get_ptr_mut(assignment.endpoint) {
        add(load, u64::MAX);
    }
}
