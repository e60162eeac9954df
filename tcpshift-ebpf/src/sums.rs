//! What is counted of connections that are steered, by the numbers of destinations and endpoints.
//!
//! It must not decide anything.

use aya_ebpf::programs::SockOpsContext;
use tcpshift_common::layout::{Assignment, ConnectionRow, EndpointSumRow, NONE, SumRow, end};

use crate::flow::read;
use crate::kernel;
use crate::maps::{ENDPOINT_SUMS, SUMS};

#[inline(always)]
fn add(counter: *mut u64, number: u64) {
    // SAFETY: A word in the row of a map, aligned to eight bytes; all who use it do so atomically.
    unsafe { kernel::add(counter, number) };
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

#[inline(always)]
fn endpoint_row(endpoint: u32) -> Option<*mut EndpointSumRow> {
    ENDPOINT_SUMS.get_ptr_mut(endpoint)
}

/// A connection is refused that a destination has.
#[inline(always)]
pub(crate) fn refused(destination: u32) {
    if let Some(row) = row(destination) {
        add(counter!(row, refused), 1);
    }
}

/// Says of a connection that it begins in the system call in which it is decided.
pub(crate) const JUST_NOW: u64 = u64::MAX;

/// A connection begins that was decided at a time of the monotonic clock, or [`JUST_NOW`]. It is a load of its endpoint until it
/// is closed. What stands for somebody else by now is taken out of the assignment: numbers may have been given out again since.
#[inline(always)]
pub(crate) fn opened(assignment: &mut Assignment, decided: u64) {
    if let Some(row) = row(assignment.destination) {
        if read!((*row).since) > assignment.generation {
            assignment.destination = NONE;
        } else {
            add(counter!(row, opened), 1);
            add(counter!(row, active), 1);
        }
    }
    if let Some(row) = endpoint_row(assignment.endpoint) {
        if read!((*row).since) > decided {
            assignment.endpoint = NONE;
        } else {
            add(counter!(row, opened), 1);
            add(counter!(row, active), 1);
        }
    }
}

/// A connection ends that was never established.
#[inline(always)]
pub(crate) fn failed(assignment: &Assignment) {
    if let Some(row) = row(assignment.destination) {
        add(counter!(row, failed), 1);
    }
    if let Some(row) = endpoint_row(assignment.endpoint) {
        add(counter!(row, failed), 1);
    }
    ended(assignment);
}

/// A connection ends. What the client's socket has sent, the server's has received.
///
/// The kernel counts sequence numbers, of which a SYN and a FIN have one each: what is acknowledged of a client's begins with its
/// SYN (`tcp_snd_una_update`, `tcp_rcv_nxt_update`, 6.18, <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/tcp_input.c>).
#[inline(always)]
pub(crate) fn closed(known: &ConnectionRow, context: &SockOpsContext) {
    let ops = context.ops;
    let (fin, far_fin) = (u64::from(known.ends & end::NEAR != 0), u64::from(known.ends & end::FAR != 0));
    let syn = u64::from(known.is_client);
    let sent = read!((*ops).bytes_acked).saturating_sub(syn + fin);
    let received = read!((*ops).bytes_received).saturating_sub(far_fin);
    let (sent, received) = if known.is_client == 1 { (sent, received) } else { (received, sent) };
    // The kernel keeps eighths of a microsecond.
    let rtt = u64::from(read!((*ops).srtt_us) >> 3);
    if let Some(row) = row(known.assignment.destination) {
        add(counter!(row, closed), 1);
        add(counter!(row, sent), sent);
        add(counter!(row, received), received);
        add(counter!(row, rtt), rtt);
    }
    ended(&known.assignment);
}

#[inline(always)]
fn ended(assignment: &Assignment) {
    if let Some(row) = row(assignment.destination) {
        add(counter!(row, active), u64::MAX);
    }
    if let Some(row) = endpoint_row(assignment.endpoint) {
        add(counter!(row, active), u64::MAX);
    }
}
