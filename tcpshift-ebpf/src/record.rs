//! The program `record`: keeps what the others need to know of this host's sockets, and counts.
//!
//! It puts listening sockets of endpoints where `lookup` finds them, and follows connections that were steered from their
//! beginning to their end. The kernel calls it for every socket, so what concerns nobody must cost next to nothing. It must
//! not decide anything.

use core::hint::black_box;

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG, BPF_SOCK_OPS_PARSE_HDR_OPT_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB,
    BPF_SOCK_OPS_TIMEOUT_INIT, SO_REUSEADDR, SOL_SOCKET, bpf_sock,
};
use aya_ebpf::helpers::generated::{
    bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_setsockopt, bpf_skc_to_mptcp_sock, bpf_sock_ops_cb_flags_set,
};
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::layout::kernel::{MPTCP, SOCKETS_NETNS};
use tcpshift_common::layout::{ConnectionRow, FlowRow, event, fate, stage};

use crate::connections::SteeredSocket;
use crate::counts::Counts;
use crate::ends::CLOSE;
use crate::flow::{self, read};
use crate::maps::{CONNECTIONS, FLOWS, UNHELD};
use crate::pending;
use crate::rows::Pending;
use crate::{agent, endpoints, ends, events, kernel, ports, sums};

/// `BPF_TCP_SYN_SENT`.
const SYN_SENT: u32 = 2;

/// Always 1: the kernel asks nothing that it could refuse.
#[sock_ops]
pub(crate) fn record(context: SockOpsContext) -> u32 {
    match context.op() {
        BPF_SOCK_OPS_TCP_LISTEN_CB => listening(&context),
        BPF_SOCK_OPS_TCP_CONNECT_CB => opened(&context),
        BPF_SOCK_OPS_TIMEOUT_INIT => held(&context),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(&context),
        BPF_SOCK_OPS_STATE_CB => changed(&context),
        BPF_SOCK_OPS_PARSE_HDR_OPT_CB => ends::look(&context, own(&context)),
        _ => {}
    }
    1
}

/// Whether a socket is in the agent's network namespace; true where that is not known. What follows is then told by the flow:
/// for what another namespace has of the same two ends at the same moment, `lookup` has decided here.
#[inline(always)]
fn is_here(context: &SockOpsContext) -> bool {
    if !kernel::has(SOCKETS_NETNS) {
        return true;
    }
    // SAFETY: The pointer is the context.
    agent::is_here(unsafe { bpf_get_netns_cookie(context.ops.cast()) })
}

#[inline(always)]
fn socket(context: &SockOpsContext) -> Option<*mut bpf_sock> {
    // SAFETY: The context is the kernel's, and the union has this one field.
    let socket = unsafe { (*context.ops).__bindgen_anon_2.sk };
    (!socket.is_null()).then_some(socket)
}

#[inline(always)]
fn cookie(context: &SockOpsContext) -> u64 {
    // SAFETY: The pointer is the context.
    unsafe { bpf_get_socket_cookie(context.ops.cast()) }
}

#[inline(always)]
fn own(context: &SockOpsContext) -> SteeredSocket {
    // SAFETY: The context gives both.
    unsafe { SteeredSocket::new((*context.ops).__bindgen_anon_2.sk, cookie(context)) }
}

/// Has the kernel call again: when the state of the socket changes, or when a packet comes.
#[inline(always)]
fn follow(context: &SockOpsContext, flag: u32) {
    // Others may have asked for other calls.
    let flags = read!((*context.ops).bpf_sock_ops_cb_flags) | flag;
    // SAFETY: The pointer is the context.
    unsafe { bpf_sock_ops_cb_flags_set(context.ops, flags.cast_signed()) };
}

/// A socket listens: that of an endpoint is kept, for as long as it is open.
#[inline(always)]
fn listening(context: &SockOpsContext) {
    let port = read!((*context.ops).local_port);
    if !ports::has_endpoint(port) || !is_here(context) {
        return;
    }
    // One that is bound to an interface takes the connections of that one alone.
    if socket(context).is_none_or(|socket| read!((*socket).bound_dev_if) != 0) {
        return;
    }
    // Nobody is at the far end.
    let address = flow::of_socket(context).destination;
    // What others listen at beside an endpoint takes no room.
    if endpoints::keep(context.ops, address, port) {
        events::tell(event::LISTENING, port);
    }
}

/// A SYN is about to be sent.
#[inline(always)]
fn opened(context: &SockOpsContext) {
    let own = own(context);
    let Some(row) = own.get() else { return };
    if row.agent == agent::id() && row.stage == stage::STEERED {
        let far = flow::of_socket(context);
        if row.endpoint != far.source || row.endpoint_port != far.source_port {
            // It was steered before, to no avail, and goes elsewhere now.
            return own.forget();
        }
        row.stage = stage::OPENED;
        sums::opened(&mut row.assignment, sums::JUST_NOW);
        follow(context, BPF_SOCK_OPS_STATE_CB_FLAG);
        if let Some(socket) = socket(context).filter(|_| kernel::has(MPTCP)) {
            // What a client has is not this subflow, and is what it asks of its peer.
            // SAFETY: The context gave the socket; the kernel gives null or the socket above it.
            let above = unsafe { bpf_skc_to_mptcp_sock(socket.cast()) };
            if !above.is_null() {
                let row = *row;
                // SAFETY: The kernel gave the socket.
                unsafe { CONNECTIONS.set(above.cast(), &row) };
            }
        }
    }
}

/// The kernel is about to hold a handshake, or a client to send a SYN.
#[inline(always)]
fn held(context: &SockOpsContext) {
    if read!((*context.ops).is_fullsock) != 0 || !is_asked_for(context) {
        return;
    }
    let flow = flow::of_socket(context);
    if let Some(pending) = Pending::of(&flow) {
        let row = &pending.row;
        // Without it the connection is not counted, and no more.
        FLOWS.insert(flow, row, 0).ok();
        pending.close();
    } else {
        // Of an earlier handshake between the same ends that came to nothing.
        FLOWS.remove(flow).ok();
    }
}

/// Whether the near end is where packets may be handed over.
#[inline(always)]
fn is_asked_for(context: &SockOpsContext) -> bool {
    ports::has_listener(read!((*context.ops).local_port)) && is_here(context)
}

/// A listening socket has a connection: what was decided for it when it was asked for is now the socket's.
#[inline(always)]
fn accepted(context: &SockOpsContext) {
    if !is_asked_for(context) {
        return;
    }
    free_port(context);
    let flow = flow::of_socket(context);
    let Some(decided) = decided(&flow) else { return };
    let Some(counts) = Counts::here() else { return };
    if decided.fate != fate::HANDED {
        return counts.carried();
    }
    counts.assigned();
    let mut assignment = decided.assignment;
    sums::opened(&mut assignment, decided.decided);
    // LLVM makes a call of a loop over bytes of plain zeros.
    let zero = black_box(0_u64);
    let (nowhere, none) = (Address { high: zero, low: zero }, zero as u32);
    let row = ConnectionRow {
        agent: agent::id(),
        asked: nowhere,
        endpoint: nowhere,
        asked_port: none,
        endpoint_port: none,
        stage: stage::OPENED,
        is_client: none,
        ends: none,
        far_end: none,
        assignment,
    };
    own(context).set(&row);
    follow(context, BPF_SOCK_OPS_STATE_CB_FLAG);
}

/// What was decided for a flow whose handshake is complete.
#[inline(always)]
fn decided(flow: &Flow) -> Option<FlowRow> {
    // SAFETY: The row is copied before anything else happens to the map.
    let held = unsafe { FLOWS.get(flow) }.copied();
    if held.is_some() {
        FLOWS.remove(flow).ok();
    }
    let Some(pending) = Pending::of(flow) else { return held };
    let row = pending.row;
    // What was decided later is of this very packet: it has answered a SYN cookie, or opens a connection at once.
    if held.is_some_and(|held| held.began > row.began) {
        return held;
    }
    pending.close();
    pending::met_cookie();
    UNHELD.remove(flow).ok();
    Some(row)
}

/// Lets the agent bind the connection's port while the connection lives. What was handed over has the listener's port and
/// the options of its server's socket: without `SO_REUSEADDR` on both, `bind` fails (`inet_bind_conflict`, 6.18,
/// <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/inet_connection_sock.c>). Programs may set the option from 6.1 on
/// (`sol_socket_sockopt`); before, the agent waits for the port.
#[inline(always)]
fn free_port(context: &SockOpsContext) {
    // Bytes of an `int`.
    const LENGTH: i32 = 4;
    let mut is_on = 1_i32;
    let (level, option) = (SOL_SOCKET.cast_signed(), SO_REUSEADDR.cast_signed());
    // SAFETY: The first pointer is the context, and the second is to a value that outlives the call.
    unsafe { bpf_setsockopt(context.ops.cast(), level, option, (&raw mut is_on).cast(), LENGTH) };
}

#[inline(always)]
fn changed(context: &SockOpsContext) {
    // SAFETY: The context is the kernel's, and this call has its arguments there.
    let (before, state) =
        (read!((*context.ops).__bindgen_anon_1.args[0]), read!((*context.ops).__bindgen_anon_1.args[1]));
    let socket = own(context);
    let Some(row) = socket.get() else { return };
    ends::changed(row, context, before, state);
    if ends::are_to_be_looked_for(state) {
        follow(context, BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG);
    }
    if state != CLOSE {
        return;
    }
    // The program of a later agent runs after this one. That of an earlier one has run, or is gone.
    if row.agent > agent::id() {
        return;
    }
    if row.agent == agent::id() && row.stage == stage::OPENED {
        if before == SYN_SENT {
            sums::failed(&row.assignment);
        } else {
            sums::closed(row, context);
        }
    }
    row.stage = stage::CLOSED;
    socket.leave();
}
