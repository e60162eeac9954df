//! The programs `getpeername4` and `getpeername6`: answer a client with the address that it has asked for.
//!
//! The kernel says where the connection is; what is said here is what the client knows. A socket whose connection is
//! elsewhere by now is left alone.

use core::ptr::write_volatile;

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use tcpshift_common::address::Address;
use tcpshift_common::layout::ConnectionRow;

use crate::connections::SteeredSocket;
use crate::flow::{read, v4, v6};

/// Always 1: nothing is refused.
#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(context: SockAddrContext) -> i32 {
    let address = context.sock_addr;
    if let Some(row) = asked(&context, v4(read!((*address).user_ip4))) {
        // SAFETY: The context is the kernel's, and the verifier admits writes to these fields.
        unsafe {
            write_volatile(&raw mut (*address).user_ip4, (row.asked.low as u32).to_be());
            write_volatile(&raw mut (*address).user_port, u32::from((row.asked_port as u16).to_be()));
        }
    }
    1
}

/// As `getpeername4`.
#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(context: SockAddrContext) -> i32 {
    let address = context.sock_addr;
    let words = [
        read!((*address).user_ip6[0]),
        read!((*address).user_ip6[1]),
        read!((*address).user_ip6[2]),
        read!((*address).user_ip6[3]),
    ];
    if let Some(row) = asked(&context, v6(words)) {
        let Address { high, low } = row.asked;
        // SAFETY: As above.
        unsafe {
            write_volatile(&raw mut (*address).user_ip6[0], ((high >> 32) as u32).to_be());
            write_volatile(&raw mut (*address).user_ip6[1], (high as u32).to_be());
            write_volatile(&raw mut (*address).user_ip6[2], ((low >> 32) as u32).to_be());
            write_volatile(&raw mut (*address).user_ip6[3], (low as u32).to_be());
            write_volatile(&raw mut (*address).user_port, u32::from((row.asked_port as u16).to_be()));
        }
    }
    1
}

/// What is known of the socket, if its peer is the endpoint that it was pointed at.
#[inline(always)]
fn asked<'a>(context: &SockAddrContext, peer: Address) -> Option<&'a ConnectionRow> {
    let address = context.sock_addr;
    // SAFETY: The context is the kernel's, and the union has this one field.
    let socket = unsafe { SteeredSocket::new((*address).__bindgen_anon_1.sk, bpf_get_socket_cookie(address.cast())) };
    let row = socket.get()?;
    let port = u32::from(u16::from_be(read!((*address).user_port) as u16));
    (row.is_client == 1 && row.endpoint == peer && row.endpoint_port == port).then_some(row)
}
