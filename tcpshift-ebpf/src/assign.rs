//! The program `assign`: decides for every new connection at a listener of the agent, in its handshake.
//!
//! It runs for the sockets of the agent's cgroup. A listening socket is known by what the agent stored with it, which
//! an accepted one inherits; all others are passed over. The kernel calls it with the new socket locked, so that the
//! agent, whose accept(2) takes that lock, finds the assignment (`tcp_child_process` and `inet_accept`, 6.18).

use aya_ebpf::bindings::BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use tcpshift_common::decide::outcome;
use tcpshift_common::layout::{event, socket};

use crate::counts::Counts;
use crate::inputs::chance;
use crate::maps::SOCKETS;
use crate::plan::PlanInForce;
use crate::rows::Settlement;
use crate::settle::{asks, settle, settled};
use crate::{events, flow};

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
    let Some(counts) = Counts::here() else { return };
    let Some(plan) = PlanInForce::in_force() else { return counts.left() };
    let flow = flow::of_socket(context);
    let mut settlement = Settlement::new(plan.side(), socket.listener, flow);
    match settle(&raw mut settlement, asks::CARRIER, chance::LIVE) {
        settled::DECIDED | settled::UNROUTED => {
            match settlement.assignment.decision.outcome {
                outcome::CHOSEN => counts.assigned(),
                outcome::NO_ENDPOINT => counts.without_endpoint(),
                _ => counts.unrouted(),
            }
            socket.assignment = settlement.assignment;
            socket.state = socket::ASSIGNED;
        }
        settled::TORN => {
            counts.left();
            aya_log_ebpf::error!(context, "listener {}: a table of the plan is torn", socket.listener);
            events::tell(event::TORN, socket.listener);
        }
        _ => {
            counts.left();
            aya_log_ebpf::debug!(context, "listener {} is left to the agent", socket.listener);
        }
    }
}
