//! The program `refuse`: counts SYNs that are refused, and has the kernel refuse every packet.
//!
//! `lookup` sees no flags and so cannot count. A packet that it refuses, it hands to a socket of the agent whose group
//! (`SO_REUSEPORT`) has this program, which sees the packet. `SK_DROP` makes the kernel find no socket and answer with a
//! reset, as where nobody listens (`inet_lookup_reuseport` and `bpf_run_sk_reuseport`, 6.18,
//! <https://elixir.bootlin.com/linux/v6.18/source/net/core/filter.c>). Whoever connects to that socket itself is refused too.

use aya_ebpf::bindings::sk_action::SK_DROP;
use aya_ebpf::macros::sk_reuseport;
use aya_ebpf::programs::SkReuseportContext;
use tcpshift_common::layout::fate;

use crate::counts::Counts;
use crate::rows::Pending;
use crate::sums;

/// Where the flags are in a TCP header (RFC 9293, 3.1).
const FLAGS: usize = 13;
/// FIN, SYN, RST and ACK, of which a packet that asks for a connection has SYN alone.
const LOOKED_AT: u8 = 0x17;
const SYN: u8 = 0x02;

/// Always `SK_DROP`.
#[sk_reuseport]
pub(crate) fn refuse(context: SkReuseportContext) -> u32 {
    if is_syn(&context) {
        count();
    }
    SK_DROP
}

/// Whether the packet asks for a connection. What there is of it begins with its TCP header.
#[inline(always)]
fn is_syn(context: &SkReuseportContext) -> bool {
    let (data, end) = (context.data(), context.data_end());
    if data + FLAGS + 1 > end {
        return false;
    }
    // SAFETY: The packet has the byte, as the verifier checks too.
    unsafe { *((data + FLAGS) as *const u8) & LOOKED_AT == SYN }
}

#[inline(always)]
fn count() {
    let Some(pending) = Pending::here().filter(|pending| pending.is_open != 0) else { return };
    let Some(counts) = Counts::here() else { return };
    pending.close();
    match pending.row.fate {
        fate::WITHOUT_ENDPOINT => counts.without_endpoint(),
        fate::UNROUTED => return counts.unrouted(),
        fate::LOST => return counts.lost(),
        fate::OTHER_FAMILY => {}
        _ => return,
    }
    sums::refused(pending.row.assignment.destination);
}
