//! The program `record`: keeps what the others need to know of this host's sockets, and counts.
//!
//! It puts listening sockets of endpoints where `lookup` finds them, and follows connections that were steered from their
//! beginning to their end. The kernel calls it for every socket, so what concerns nobody must cost next to nothing. It must
//! not decide anything.

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
    BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB, SO_REUSEADDR, SOL_SOCKET, bpf_sock,
};
use aya_ebpf::helpers::generated::{
    bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_setsockopt, bpf_skc_to_mptcp_sock, bpf_sock_ops_cb_flags_set,
};
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use tcpshift_common::layout::{ConnectionRow, EndpointPlace, ListeningKey, SHARERS, event, stage};

use crate::connections::Socket;
use crate::flow::{self, read};
use crate::maps::{CONNECTIONS, FLOWS, LISTENING, OWN};
use crate::{agent, events, lookup, ports, sums};

/// `BPF_TCP_SYN_SENT`.
const SYN_SENT: u32 = 2;
/// `BPF_TCP_CLOSE`.
const CLOSE: u32 = 7;

/// Always 1: the kernel asks nothing that it could refuse.
#[sock_ops]
pub(crate) fn record(context: SockOpsContext) -> u32 {
    match context.op() {
        BPF_SOCK_OPS_TCP_LISTEN_CB => listening(&context),
        BPF_SOCK_OPS_TCP_CONNECT_CB => opened(&context),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(&context),
        BPF_SOCK_OPS_STATE_CB => changed(&context),
        _ => {}
    }
    1
}

#[inline(always)]
fn is_here(context: &SockOpsContext) -> bool {
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
fn own(context: &SockOpsContext) -> Socket {
    // SAFETY: The context gives both.
    unsafe { Socket::new((*context.ops).__bindgen_anon_2.sk, cookie(context)) }
}

/// Has the kernel call again when the state of the socket changes.
#[inline(always)]
fn follow(context: &SockOpsContext) {
    // Others may have asked for other calls.
    let flags = read!((*context.ops).bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
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
    if !lookup::EVERYWHERE.contains(&address) && OWN.get_ptr(EndpointPlace { address, port, reserved: 0 }).is_none() {
        return;
    }
    // The newest comes first: those of a server that is being replaced are about to close. It stands at a second place too,
    // for when one that is newer closes before it.
    let cookie = cookie(context);
    for sharer in [0, 1 + (cookie % u64::from(SHARERS - 1)) as u32] {
        // SAFETY: The pointer is the context.
        unsafe { LISTENING.put(context.ops, &ListeningKey { address, port, sharer }) };
    }
    events::tell(event::LISTENING, port);
}

/// A SYN is about to be sent.
#[inline(always)]
fn opened(context: &SockOpsContext) {
    let Some(row) = own(context).get() else { return };
    if row.agent == agent::id() && row.stage == stage::STEERED {
        row.stage = stage::OPENED;
        sums::opened(&row.assignment);
        follow(context);
        if let Some(socket) = socket(context) {
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

/// A listening socket has a connection: what was decided for it when it was asked for is now the socket's.
#[inline(always)]
fn accepted(context: &SockOpsContext) {
    let port = read!((*context.ops).local_port);
    if !ports::has_listener(port) || !is_here(context) {
        return;
    }
    free_port(context);
    let flow = flow::of_socket(context);
    // SAFETY: The row is copied before anything else happens to the map.
    let Some((began, assignment)) = (unsafe { FLOWS.get(flow) }).map(|row| (row.began, row.assignment)) else { return };
    FLOWS.remove(flow).ok();
    // Of an earlier connection between the same ends that came to nothing.
    if agent::now().saturating_sub(began) >= lookup::HOLDS {
        return;
    }
    let row = ConnectionRow { agent: agent::id(), stage: stage::OPENED, assignment, ..ConnectionRow::default() };
    own(context).set(&row);
    sums::opened(&assignment);
    follow(context);
}

/// Lets the agent bind the connection's port while the connection lives. What was handed over has the listener's port and
/// the options of its server's socket: without `SO_REUSEADDR` on both, `bind` fails (`inet_bind_conflict`, 6.18,
/// <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/inet_connection_sock.c>). Programs may set the option from 6.1 on
/// (`sol_socket_sockopt`); before, the agent waits for the port.
#[inline(always)]
fn free_port(context: &SockOpsContext) {
    let mut is_on = 1_i32;
    let (level, option, length) = (SOL_SOCKET.cast_signed(), SO_REUSEADDR.cast_signed(), size_of::<i32>() as i32);
    // SAFETY: The first pointer is the context, and the second is to a value that outlives the call.
    unsafe { bpf_setsockopt(context.ops.cast(), level, option, (&raw mut is_on).cast(), length) };
}

#[inline(always)]
fn changed(context: &SockOpsContext) {
    // SAFETY: The context is the kernel's, and this call has its arguments there.
    let (before, state) =
        (read!((*context.ops).__bindgen_anon_1.args[0]), read!((*context.ops).__bindgen_anon_1.args[1]));
    if state != CLOSE {
        return;
    }
    let socket = own(context);
    let Some(row) = socket.get() else { return };
    // The program of a later agent runs after this one. That of an earlier one has run, or is gone.
    if row.agent > agent::id() {
        return;
    }
    if row.agent == agent::id() && row.stage == stage::OPENED {
        if before == SYN_SENT {
            sums::failed(&row.assignment);
        } else {
            sums::closed(&row.assignment, context, row.is_client == 1);
        }
    }
    row.stage = stage::CLOSED;
    socket.leave();
}
