//! How far the two directions of a connection have come: the kernel counts each FIN as a byte, and what is sent and received
//! must be exact.
//!
//! Most is said by the states that a socket goes through. Two things are not. A socket that has sent its FIN and waits for the
//! far side's is closed when that comes, or when nobody has the socket open any more (`tcp_fin` and `tcp_time_wait`, 6.18,
//! <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/tcp_input.c>): so packets are looked at from its FIN on. And one
//! that waits for its last acknowledgement is closed by that or by a reset.

use aya_ebpf::programs::SockOpsContext;
use tcpshift_common::layout::{ConnectionRow, end};

use crate::connections::SteeredSocket;
use crate::flow::read;

/// `BPF_TCP_FIN_WAIT1` and so on.
const FIN_WAIT1: u32 = 4;
const FIN_WAIT2: u32 = 5;
/// `BPF_TCP_CLOSE`.
pub(crate) const CLOSE: u32 = 7;
const CLOSE_WAIT: u32 = 8;
const LAST_ACK: u32 = 9;
const CLOSING: u32 = 11;

/// FIN, of the flags of a TCP header.
const FIN: u32 = 1;
/// Bytes of a TCP header without options (RFC 9293, 3.1).
const HEADER: usize = 20;

/// Whether a socket that comes to a state may be closed without its having been in one that says how.
#[inline(always)]
pub(crate) fn are_to_be_looked_for(state: u32) -> bool {
    state == FIN_WAIT1
}

/// The state of a socket changes. The program of each agent that is attached says the same.
#[inline(always)]
pub(crate) fn changed(row: &mut ConnectionRow, context: &SockOpsContext, before: u32, state: u32) {
    let ops = context.ops;
    match state {
        FIN_WAIT2 => row.ends |= end::NEAR,
        CLOSE_WAIT | CLOSING => row.ends |= end::FAR,
        CLOSE => {
            // By the last acknowledgement, unless by a reset when nothing more could be sent.
            if (before == LAST_ACK || before == CLOSING) && read!((*ops).snd_una) == read!((*ops).snd_nxt) {
                row.ends |= end::NEAR;
            }
            if row.ends & end::SEEN != 0 && read!((*ops).rcv_nxt) == row.far_end {
                row.ends |= end::FAR;
            }
        }
        _ => {}
    }
}

/// A packet has come for a socket that has sent its FIN.
#[inline(always)]
pub(crate) fn look(context: &SockOpsContext, socket: SteeredSocket) {
    let ops = context.ops;
    if read!((*ops).skb_tcp_flags) & FIN == 0 {
        return;
    }
    let Some(row) = socket.get() else { return };
    let header = read!((*ops).__bindgen_anon_3.skb_data) as usize;
    let end = read!((*ops).__bindgen_anon_4.skb_data_end) as usize;
    if header + HEADER > end {
        return;
    }
    // SAFETY: The header has these bytes, as the verifier checks too.
    let (sequence, words) =
        unsafe { (u32::from_be(*((header + 4) as *const u32)), *((header + 12) as *const u8) >> 4) };
    let payload = read!((*ops).skb_len).saturating_sub(u32::from(words) * 4);
    row.far_end = sequence.wrapping_add(payload).wrapping_add(1);
    row.ends |= end::SEEN;
}
