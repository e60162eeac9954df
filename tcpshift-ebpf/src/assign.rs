//! The program `assign`: decides for every new connection at a listener of the agent, in its handshake.
//!
//! It runs for the sockets of the agent's cgroup. A listening socket is known by what the agent stored with it, which
//! an accepted one inherits; all others are passed over. The kernel calls it with the new socket locked, so that the
//! agent, whose accept(2) takes that lock, finds the assignment (`tcp_child_process` and `inet_accept`, 6.18).

use core::ptr::read_volatile;

use aya_ebpf::bindings::BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::outcome;
use tcpshift_common::layout::{Event, event, socket};

use crate::maps::{COUNTS, EVENTS, SOCKETS};
use crate::plan::{Missing, Plan};

/// `AF_INET`, as a context says it.
const INET: u32 = 2;

/// Always 1: the kernel asks nothing that it could refuse.
#[sock_ops]
pub(crate) fn assign(context: SockOpsContext) -> u32 {
    if context.op() == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        established(&context);
    }
    1
}

fn established(context: &SockOpsContext) {
    // SAFETY: The context is the kernel's, and the union has this one field.
    let sk = unsafe { (*context.ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: The context gave the socket, and the reference lives no longer than this call.
    let Some(socket) = (unsafe { SOCKETS.get(sk) }) else { return };
    if socket.state != socket::SERVED {
        return;
    }
    let Some(counts) = COUNTS.get_ptr_mut(0) else { return };
    // SAFETY: The row is this processor's own, and a program is not interrupted by another one of its kind.
    let counts = unsafe { &mut *counts };
    let Some(plan) = Plan::in_force() else {
        counts.left += 1;
        return;
    };
    match plan.assign(socket.listener, &flow(context), |inputs| inputs) {
        Ok(assignment) => {
            match assignment.decision.outcome {
                outcome::CHOSEN => counts.assigned += 1,
                outcome::NO_ENDPOINT => counts.without_endpoint += 1,
                _ => counts.unrouted += 1,
            }
            socket.assignment = assignment;
            socket.state = socket::ASSIGNED;
        }
        Err(Missing::Left) => {
            counts.left += 1;
            aya_log_ebpf::debug!(context, "listener {} is left to the agent", socket.listener);
        }
        Err(Missing::Torn) => {
            counts.left += 1;
            aya_log_ebpf::error!(context, "listener {}: a table of the plan is torn", socket.listener);
            if let Some(mut entry) = EVENTS.reserve(0) {
                entry.write(Event { kind: event::TORN, listener: socket.listener });
                entry.submit(0);
            }
        }
    }
}

/// Both ends of the connection.
#[inline(always)]
fn flow(context: &SockOpsContext) -> Flow {
    let ops = context.ops;
    // The verifier wants each field read by its own offset from the context, which the compiler leaves alone only if
    // every read is volatile.
    macro_rules! read {
        ($field:expr) => {
            // SAFETY: The context is the kernel's, and the verifier admits reads of these fields.
            unsafe { read_volatile(&raw const $field) }
        };
    }
    let remote = read!((*ops).remote_ip4);
    let local = read!((*ops).local_ip4);
    let remote6 = [
        read!((*ops).remote_ip6[0]),
        read!((*ops).remote_ip6[1]),
        read!((*ops).remote_ip6[2]),
        read!((*ops).remote_ip6[3]),
    ];
    let local6 = [
        read!((*ops).local_ip6[0]),
        read!((*ops).local_ip6[1]),
        read!((*ops).local_ip6[2]),
        read!((*ops).local_ip6[3]),
    ];
    let is_v4 = read!((*ops).family) == INET;
    // The near port comes in host order, the far one in network order.
    let (source_port, destination_port) = (u32::from_be(read!((*ops).remote_port)), read!((*ops).local_port));
    let (source, destination) = if is_v4 { (v4(remote), v4(local)) } else { (v6(remote6), v6(local6)) };
    Flow { source, destination, source_port, destination_port }
}

#[inline(always)]
fn v4(word: u32) -> Address {
    Address::v4(u32::from_be(word).to_be_bytes())
}

#[inline(always)]
fn v6(words: [u32; 4]) -> Address {
    let [a, b, c, d] = words.map(|word| u64::from(u32::from_be(word)));
    Address { high: a << 32 | b, low: c << 32 | d }
}
