//! Listening sockets of endpoints: where they are kept, and how a packet is handed to one.
//!
//! Those that share an address and port (`SO_REUSEPORT`) are a group; any of them stands for all, since the kernel
//! chooses among the group itself. Each has a cell, the first that is free when it begins to listen, and leaves it when
//! it is closed.

use core::hint::black_box;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::{bpf_sk_lookup, bpf_sock_ops};
use aya_ebpf::programs::SkLookupContext;
use tcpshift_common::address::Address;
use tcpshift_common::layout::kernel::{FEW, POINTERS, SOCKETS_NETNS};
use tcpshift_common::layout::{AddressPort, GroupRow, ListeningKey, SHARERS, TRIES};

use crate::flow::{self, read};
use crate::kernel;
use crate::maps::hash::EXISTS;
use crate::maps::{GROUPS_KEPT, LISTENING, OWN};
use crate::plan;
use crate::rows::Tries;

/// The unspecified address that an IPv4 socket may be bound to; that of IPv6 is all zero.
const EVERYWHERE: Address = Address::v4([0; 4]);

/// What became of handing a packet over: nobody listens there.
pub(crate) const NOBODY: u32 = 0;
/// A socket has it.
pub(crate) const OVER: u32 = 1;
/// Whoever listens there is of another address family.
pub(crate) const OTHER_FAMILY: u32 = 2;

/// How often two sockets of a group that begin to listen at once may be in each other's way.
const RACES: u32 = 64;

/// Keeps the socket of a callback that listens at an address and port. Returns whether anybody wants to know of it.
///
/// Where it is not known in which network namespace the socket is, the agent looks, and keeps it.
#[inline(always)]
pub(crate) fn keep(context: *mut bpf_sock_ops, address: Address, port: u32) -> bool {
    let Some(group) = group(&AddressPort { address, port, reserved: 0 }) else { return false };
    if !kernel::has(SOCKETS_NETNS) {
        return true;
    }
    for sharer in 0..SHARERS {
        let sharer = black_box(sharer);
        // SAFETY: The pointer is the context.
        match unsafe { LISTENING.add(context, &ListeningKey { address, port, sharer }) } {
            Err(EXISTS) => {}
            Ok(()) => {
                raise(group, u64::from(sharer) + 1);
                break;
            }
            // The agent looks for it, and says why.
            Err(_) => break,
        }
    }
    true
}

/// Who shares an address and port, if their sockets are kept.
#[inline(always)]
fn group(at: &AddressPort) -> Option<*mut GroupRow> {
    // SAFETY: The value is copied at once.
    let index = unsafe { OWN.get(at) }.copied()?;
    GROUPS_KEPT.get_ptr_mut(index)
}

/// Has all cells below a number looked at.
#[inline(always)]
fn raise(group: *mut GroupRow, to: u64) {
    for _ in 0..RACES {
        // SAFETY: An aligned word in the row of a map, which is written whole.
        let upto = unsafe { read_volatile(&raw const (*group).upto) };
        if upto >= to {
            return;
        }
        // SAFETY: As above; all who write it do so atomically.
        unsafe { kernel::replace(&raw mut (*group).upto, upto, to) };
    }
}

/// Hands the packet to a socket that listens at an endpoint: at its own address, else at every one, as the kernel would find
/// it. The first that is there is whom clients of the endpoint mean. The verifier follows a global function once, and not for
/// each call.
///
/// An IPv6 packet is not for an IPv4 endpoint. A socket at `[::]` may take both, or belong to somebody else who takes IPv6
/// alone; which of them is not known here.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hand_over(lookup: *mut bpf_sk_lookup, endpoint: *mut AddressPort) -> u32 {
    if endpoint.is_null() {
        return NOBODY;
    }
    // SAFETY: The verifier checks that callers give a pointer to such a row, or null.
    let mut at = unsafe { *endpoint };
    let is_v4 = at.address.is_v4();
    if is_v4 && read!((*lookup).family) != flow::INET {
        return OTHER_FAMILY;
    }
    let handed = hand_to(lookup, &raw mut at);
    if handed != NOBODY {
        return handed;
    }
    // The IPv4 form takes IPv4 connections alone.
    if is_v4 {
        at.address = EVERYWHERE;
        let handed = hand_to(lookup, &raw mut at);
        if handed != NOBODY {
            return handed;
        }
    }
    // LLVM makes a call of a loop over bytes of plain zeros.
    let zero = black_box(0_u64);
    at.address = Address { high: zero, low: zero };
    hand_to(lookup, &raw mut at)
}

/// [`hand_over_to_any`]: a table has no row where the plan says that there is one.
pub(crate) const TORN: u32 = 3;

/// Rounds of a loop that a function makes, for another that makes as many of such loops: verifiers follow them once.
const ROUNDS: u32 = 32;
const _: () = assert!(TRIES == ROUNDS * ROUNDS && SHARERS == ROUNDS * ROUNDS);

/// Whether a loop has made its rounds: [`ROUNDS`], or few where verifiers follow what it calls each time.
#[inline(always)]
fn is_over(round: u32, few: u32) -> bool {
    black_box(round) >= ROUNDS || round >= few && !kernel::has(POINTERS)
}

/// Hands the packet to an endpoint, or to the next one of its destination at which somebody listens.
#[inline(always)]
pub(crate) fn hand_over_to_any(lookup: *mut bpf_sk_lookup, tries: *mut Tries) -> u32 {
    // Mostly that is the one that was chosen.
    let handed = hand_over_to_next(lookup, tries);
    if handed == NOBODY { hand_over_to_others(lookup, tries) } else { handed }
}

/// Hands the packet to one of the endpoints that were not tried yet.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hand_over_to_others(lookup: *mut bpf_sk_lookup, tries: *mut Tries) -> u32 {
    if tries.is_null() {
        return NOBODY;
    }
    // SAFETY: The verifier checks that callers give a pointer to such a row, or null.
    unsafe { (*tries).left = (*tries).endpoints.saturating_sub(1) };
    for round in 0..ROUNDS {
        // SAFETY: As above.
        if is_over(round, 1) || unsafe { read_volatile(&raw const (*tries).left) } == 0 {
            break;
        }
        // No branch of the loop leads back into it, as in `hand_to_sharers`.
        let handed = hand_over_to_some(lookup, tries);
        if handed != NOBODY {
            return handed;
        }
    }
    NOBODY
}

/// Hands the packet to one of the next endpoints.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hand_over_to_some(lookup: *mut bpf_sk_lookup, tries: *mut Tries) -> u32 {
    if tries.is_null() {
        return NOBODY;
    }
    for round in 0..ROUNDS {
        // SAFETY: The verifier checks that callers give a pointer to such a row, or null.
        let left = unsafe { read_volatile(&raw const (*tries).left) };
        if is_over(round, FEW - 1) || left == 0 {
            break;
        }
        // SAFETY: As above.
        unsafe { write_volatile(&raw mut (*tries).left, left - 1) };
        let handed = hand_over_to_next(lookup, tries);
        if handed != NOBODY {
            return handed;
        }
    }
    NOBODY
}

/// Hands the packet to the endpoint that is next, and goes on to the one after it if nobody listens there.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hand_over_to_next(lookup: *mut bpf_sk_lookup, tries: *mut Tries) -> u32 {
    if tries.is_null() {
        return NOBODY;
    }
    // SAFETY: The verifier checks that callers give a pointer to such a row, or null.
    let tries = unsafe { &mut *tries };
    let at = tries.at;
    let Some(row) = plan::endpoint(tries.chunk, tries.first, at) else { return TORN };
    tries.number = row.decides.number;
    tries.endpoint = AddressPort { address: row.address, port: row.port, reserved: 0 };
    let handed = hand_over(lookup, &raw mut tries.endpoint);
    if handed == NOBODY {
        // Of one that is gone another of its destination takes the connection.
        tries.at = if at + 1 < tries.endpoints { at + 1 } else { 0 };
    }
    handed
}

/// Hands the packet to a socket that is bound to an address and port.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hand_to(lookup: *mut bpf_sk_lookup, at: *mut AddressPort) -> u32 {
    if at.is_null() {
        return NOBODY;
    }
    // SAFETY: The verifier checks that callers give a pointer to such a row, or null.
    let at = unsafe { *at };
    let Some(group) = group(&at) else { return NOBODY };
    // SAFETY: Aligned words in the row of a map, which are written whole.
    let (upto, hint) =
        unsafe { (read_volatile(&raw const (*group).upto) as u32, read_volatile(&raw const (*group).hint) as u32) };
    if upto == 0 {
        return NOBODY;
    }
    let mut search =
        Search { key: ListeningKey { address: at.address, port: at.port, sharer: hint }, upto, handed: NOBODY };
    // First where somebody was last.
    let handed = hand_to_sharer(lookup, &raw mut search.key);
    if handed == OVER {
        return OVER;
    }
    (search.key.sharer, search.handed) = (0, handed);
    for round in 0..ROUNDS {
        // SAFETY: A word of the stack.
        let sharer = unsafe { read_volatile(&raw const search.key.sharer) };
        if is_over(round, 1) || sharer >= upto {
            break;
        }
        // No branch of the loop leads back into it, as in `hand_to_sharers`.
        if hand_to_sharers(lookup, &raw mut search) == OVER {
            // SAFETY: As above.
            unsafe { write_volatile(&raw mut (*group).hint, u64::from(search.key.sharer)) };
            return OVER;
        }
    }
    search.handed
}

/// Who of those that share an address and port is tried next, and what became of those before.
#[repr(C)]
pub(crate) struct Search {
    key: ListeningKey,
    /// Cells that there may be.
    upto: u32,
    /// What became of those that were tried, each of [`NOBODY`] and [`OTHER_FAMILY`].
    handed: u32,
}

/// Hands the packet to the socket of one of the next cells.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hand_to_sharers(lookup: *mut bpf_sk_lookup, search: *mut Search) -> u32 {
    if search.is_null() {
        return NOBODY;
    }
    // SAFETY: The verifier checks that callers give a pointer to such a row, or null.
    let search = unsafe { &mut *search };
    for round in 0..ROUNDS {
        let sharer = read!(search.key.sharer);
        if is_over(round, FEW) || sharer >= search.upto {
            break;
        }
        // No branch of the loop leads back into it. Of a branch that does, verifiers would follow all later rounds again:
        // they forget states that are met in vain a few times (`is_state_visited`, 6.1,
        // <https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/verifier.c>).
        let handed = hand_to_sharer(lookup, &raw mut search.key);
        if handed == OVER {
            return OVER;
        }
        search.handed |= handed;
        search.key.sharer = sharer + 1;
    }
    NOBODY
}

/// Hands the packet to the socket of one cell: [`OVER`], [`NOBODY`] or [`OTHER_FAMILY`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn hand_to_sharer(lookup: *mut bpf_sk_lookup, key: *mut ListeningKey) -> u32 {
    if key.is_null() {
        return NOBODY;
    }
    // A copy: Linux 6.1 takes keys of maps from the stack, and not from what a global function is given
    // (`map_key_value_types`, 6.1, <https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/verifier.c>).
    // SAFETY: The verifier checks that callers give a pointer to such a key, or null.
    let key = unsafe { *key };
    // SAFETY: The pointer is the context.
    match unsafe { LISTENING.hand_over(lookup, &key) } {
        Some(Ok(())) => OVER,
        Some(Err(_)) => OTHER_FAMILY,
        None => NOBODY,
    }
}

/// Hands the packet to the agent's socket that refuses. Returns whether it is there.
#[inline(always)]
pub(crate) fn hand_to_refuser(context: &SkLookupContext) -> bool {
    // SAFETY: The pointer is the context.
    unsafe { LISTENING.hand_over(context.lookup, &ListeningKey::REFUSER) == Some(Ok(())) }
}
