//! Both ends of a connection, as the contexts of programs say them.

use aya_ebpf::programs::{SkLookupContext, SockOpsContext};
use tcpshift_common::address::{Address, Flow};

/// `AF_INET`, as a context says it.
pub(crate) const INET: u32 = 2;

/// Reads a field of a context. The verifier wants each read by its own offset from the context, which the compiler leaves
/// alone only if every read is volatile.
macro_rules! read {
    ($field:expr) => {
        // SAFETY: The context is the kernel's, and the verifier admits reads of the fields that are asked for.
        unsafe { core::ptr::read_volatile(&raw const $field) }
    };
}
pub(crate) use read;

/// Both ends of the connection of a socket, whose far end counts as the client.
#[inline(always)]
pub(crate) fn of_socket(context: &SockOpsContext) -> Flow {
    let ops = context.ops;
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

/// From a word in network order.
#[inline(always)]
pub(crate) fn v4(word: u32) -> Address {
    Address::v4(u32::from_be(word).to_be_bytes())
}

/// From words in network order.
#[inline(always)]
pub(crate) fn v6(words: [u32; 4]) -> Address {
    let [a, b, c, d] = words.map(|word| u64::from(u32::from_be(word)));
    Address { high: a << 32 | b, low: c << 32 | d }
}

/// Both ends of the connection that a packet asks for.
#[inline(always)]
pub(crate) fn of_packet(context: &SkLookupContext) -> Flow {
    let lookup = context.lookup;
    let remote = read!((*lookup).remote_ip4);
    let local = read!((*lookup).local_ip4);
    let remote6 = [
        read!((*lookup).remote_ip6[0]),
        read!((*lookup).remote_ip6[1]),
        read!((*lookup).remote_ip6[2]),
        read!((*lookup).remote_ip6[3]),
    ];
    let local6 = [
        read!((*lookup).local_ip6[0]),
        read!((*lookup).local_ip6[1]),
        read!((*lookup).local_ip6[2]),
        read!((*lookup).local_ip6[3]),
    ];
    let is_v4 = read!((*lookup).family) == INET;
    let source_port = u16::from_be(read!((*lookup).remote_port)).into();
    let destination_port = read!((*lookup).local_port);
    let (source, destination) = if is_v4 { (v4(remote), v4(local)) } else { (v6(remote6), v6(local6)) };
    Flow { source, destination, source_port, destination_port }
}
