//! The programs `connect4` and `connect6`: point a client's connect(2) to a service at the endpoint that is decided.
//!
//! They run for the clients' cgroup, before the socket has a source address or a port: the decision is
//! given the socket's cookie instead of the port, so that a socket that tries again gets the same destination. A mapped IPv4 address comes in
//! `connect6` (`tcp_v6_pre_connect`, 6.18), and an IPv6 address may leave it as a mapped one.

use core::ptr::write_volatile;

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_set_retval};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::outcome;
use tcpshift_common::layout::kernel::RETVAL;
use tcpshift_common::layout::{ConnectionRow, ORIGINAL, event, scope, stage};

use crate::connections::SteeredSocket;
use crate::counts::Counts;
use crate::flow::{read, v4, v6};
use crate::inputs::chance;
use crate::plan::PlanInForce;
use crate::rows::Settlement;
use crate::settle::{asks, settle, settled};
use crate::{agent, events, kernel, sums};

/// `SOCK_STREAM`.
const STREAM: u32 = 1;
/// `IPPROTO_TCP` and `IPPROTO_MPTCP`.
const PROTOCOLS: [u32; 2] = [6, 262];
/// `ECONNREFUSED`, as the kernel returns it.
const REFUSED: i32 = -111;

/// What becomes of a connect(2).
enum Outcome {
    /// It goes where it was going.
    Untouched,
    /// It goes to an endpoint.
    To(Target),
    /// It fails.
    Refused,
}

/// Where an endpoint is.
struct Target {
    address: Address,
    /// Host order.
    port: u32,
}

/// 1 lets it go on, 0 makes it fail.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(context: SockAddrContext) -> i32 {
    let address = context.sock_addr;
    match steer(&context, v4(read!((*address).user_ip4)), false) {
        Outcome::To(endpoint) => {
            // SAFETY: The context is the kernel's, and the verifier admits writes to these fields.
            unsafe { write_volatile(&raw mut (*address).user_ip4, (endpoint.address.low as u32).to_be()) };
            set_port(&context, endpoint.port);
            1
        }
        Outcome::Untouched => 1,
        Outcome::Refused => refuse(),
    }
}

/// As `connect4`.
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(context: SockAddrContext) -> i32 {
    let address = context.sock_addr;
    let words = [
        read!((*address).user_ip6[0]),
        read!((*address).user_ip6[1]),
        read!((*address).user_ip6[2]),
        read!((*address).user_ip6[3]),
    ];
    match steer(&context, v6(words), true) {
        Outcome::To(endpoint) => {
            let Address { high, low } = endpoint.address;
            // SAFETY: As above.
            unsafe {
                write_volatile(&raw mut (*address).user_ip6[0], ((high >> 32) as u32).to_be());
                write_volatile(&raw mut (*address).user_ip6[1], (high as u32).to_be());
                write_volatile(&raw mut (*address).user_ip6[2], ((low >> 32) as u32).to_be());
                write_volatile(&raw mut (*address).user_ip6[3], (low as u32).to_be());
            }
            set_port(&context, endpoint.port);
            1
        }
        Outcome::Untouched => 1,
        Outcome::Refused => refuse(),
    }
}

#[inline(always)]
fn set_port(context: &SockAddrContext, port: u32) {
    let port = u32::from((port as u16).to_be());
    // SAFETY: The context is the kernel's, and the verifier admits writes to this field.
    unsafe { write_volatile(&raw mut (*context.sock_addr).user_port, port) };
}

/// The client has `EPERM` where the kernel lets no other error be chosen.
#[inline(always)]
fn refuse() -> i32 {
    if kernel::has(RETVAL) {
        // SAFETY: It has no conditions.
        unsafe { bpf_set_retval(REFUSED) };
    }
    0
}

#[inline(always)]
fn steer(context: &SockAddrContext, asked: Address, is_v6: bool) -> Outcome {
    let address = context.sock_addr;
    if read!((*address).type_) != STREAM || !PROTOCOLS.contains(&read!((*address).protocol)) {
        return Outcome::Untouched;
    }
    let Some(plan) = PlanInForce::in_force() else { return Outcome::Untouched };
    let port = u32::from(u16::from_be(read!((*address).user_port) as u16));
    // SAFETY: The context is the kernel's, and the union has this one field.
    let pointer = unsafe { (*address).__bindgen_anon_1.sk };
    // SAFETY: The pointer is the context.
    let cookie = unsafe { bpf_get_socket_cookie(address.cast()) };
    // SAFETY: The context gave both.
    let socket = unsafe { SteeredSocket::new(pointer, cookie) };
    let listener = plan.listener(scope::CONNECT, port, asked);
    // SAFETY: The pointer is the context.
    let is_here = || agent::is_here(unsafe { bpf_get_netns_cookie(address.cast()) }) && !agent::is_running();
    let Some(listener) = listener.filter(|_| is_here()) else {
        forget(socket, asked, port);
        return Outcome::Untouched;
    };
    let Some(counts) = Counts::here() else { return Outcome::Untouched };
    let flow =
        Flow { source: source(pointer, is_v6), destination: asked, source_port: cookie as u32, destination_port: port };
    let mut settlement = Settlement::new(plan.side(), listener, flow);
    match settle(&raw mut settlement, asks::CONNECT, chance::LIVE) {
        settled::DECIDED => {}
        settled::UNSERVED => return Outcome::Refused,
        settled::LOST => {
            counts.lost();
            return Outcome::Refused;
        }
        settled::TORN => {
            counts.left();
            events::tell(event::TORN, listener);
            return Outcome::Untouched;
        }
        _ => return Outcome::Untouched,
    }
    let assignment = settlement.assignment;
    match assignment.decision.outcome {
        outcome::CHOSEN => {}
        outcome::NO_ENDPOINT => {
            counts.without_endpoint();
            sums::refused(assignment.destination);
            return Outcome::Refused;
        }
        _ => {
            counts.unrouted();
            return Outcome::Refused;
        }
    }
    let Some(endpoint) = target(&settlement) else { return Outcome::Untouched };
    counts.assigned();
    let row = ConnectionRow {
        agent: agent::id(),
        asked,
        endpoint: endpoint.address,
        asked_port: port,
        endpoint_port: endpoint.port,
        stage: stage::STEERED,
        is_client: 1,
        ends: 0,
        far_end: 0,
        assignment,
    };
    socket.set(&row);
    Outcome::To(endpoint)
}

/// Forgets an earlier connection of a socket. What another agent's program has just decided for this one is kept: for a
/// moment the programs of two are attached.
#[inline(always)]
fn forget(socket: SteeredSocket, address: Address, port: u32) {
    let Some(row) = socket.get() else { return };
    let is_new = row.stage == stage::STEERED && row.endpoint == address && row.endpoint_port == port;
    if !is_new {
        socket.forget();
    }
}

/// Where a connection goes whose endpoint is chosen; none if the plan has no such endpoint for clients who are steered: to go on
/// would be to connect somewhere else.
#[inline(always)]
fn target(settlement: &Settlement) -> Option<Target> {
    let Settlement { flow, endpoint, .. } = settlement;
    if endpoint.port & ORIGINAL != 0 {
        let port = endpoint.port & !ORIGINAL;
        let port = if port == 0 { flow.destination_port } else { port };
        return Some(Target { address: flow.destination, port });
    }
    if endpoint.port == 0 || flow.destination.is_v4() && !endpoint.address.is_v4() {
        return None;
    }
    Some(Target { address: endpoint.address, port: endpoint.port })
}

/// What the socket is bound to; unspecified if to nothing.
#[inline(always)]
fn source(socket: *mut bpf_sock, is_v6: bool) -> Address {
    if is_v6 {
        v6([
            read!((*socket).src_ip6[0]),
            read!((*socket).src_ip6[1]),
            read!((*socket).src_ip6[2]),
            read!((*socket).src_ip6[3]),
        ])
    } else {
        v4(read!((*socket).src_ip4))
    }
}
