//! Rows of maps that the programs alone read and write.

use core::hint::black_box;
use core::ptr::{read_volatile, write_volatile};

use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::Decision;
use tcpshift_common::layout::{AddressPort, Assignment, FlowRow};

/// A connection, and what was decided for it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Settlement {
    /// Both ends.
    pub(crate) flow: Flow,
    /// The side of the plan.
    pub(crate) side: u32,
    /// Number of the listener.
    pub(crate) listener: u32,
    /// The random words that are told.
    pub(crate) random: [u32; 2],
    /// What was decided.
    pub(crate) assignment: Assignment,
    /// Where the endpoint is that was chosen; else meaningless.
    pub(crate) endpoint: AddressPort,
    /// The chunk of the destination's endpoint set; meaningless unless there is a destination.
    pub(crate) chunk: u32,
    /// The row of its first endpoint there.
    pub(crate) first_endpoint: u32,
    /// How many endpoints the destination has; meaningless unless there is one.
    pub(crate) endpoints: u32,
    /// The datapath of the route, one of [`datapath`]; meaningless unless there is a route.
    pub(crate) datapath: u32,
    /// The destination that has every slot, or `plan::ANY`.
    pub(crate) sole: u32,
    /// Always 0.
    pub(crate) reserved: u32,
}

impl Settlement {
    /// Asks for a connection at a listener to be settled, in the row of a map: what came of another one may stand there.
    #[inline(always)]
    pub(crate) fn ask(&mut self, side: u32, listener: u32, flow: &Flow) {
        copy(&mut self.flow, flow);
        (self.side, self.listener) = (side, listener);
    }

    /// A connection at a listener that is to be settled.
    #[inline(always)]
    pub(crate) fn new(side: u32, listener: u32, flow: Flow) -> Self {
        // LLVM makes a call of a loop over bytes of plain zeros, which programs would run and verifiers follow.
        let zero = black_box(0_u64);
        let none = zero as u32;
        Self {
            flow,
            side,
            listener,
            random: [none; 2],
            assignment: Assignment {
                generation: zero,
                route: none,
                route_place: none,
                destination: none,
                endpoint: none,
                decision: Decision { outcome: none, slot: none, place: none, endpoint: none },
            },
            endpoint: AddressPort { address: Address { high: zero, low: zero }, port: none, reserved: none },
            chunk: none,
            first_endpoint: none,
            endpoints: none,
            datapath: none,
            sole: none,
            reserved: none,
        }
    }
}

/// The row of map `pending`, of each processor.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Pending {
    /// The packet as a connection, and what was decided for it.
    pub(crate) settlement: Settlement,
    /// What is kept of it.
    pub(crate) row: FlowRow,
    /// Whom it may be handed to.
    pub(crate) tries: Tries,
    /// A turn that was taken, and that nobody has had yet.
    pub(crate) turn: Turn,
    /// Whether nobody knows yet what the packet is. A number.
    pub(crate) is_open: u32,
    /// Whether SYN cookies are in use. A number, which the verifier does not know here.
    pub(crate) is_by_cookies: u32,
}

/// A turn of a destination.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Its number.
    pub(crate) number: u64,
    /// Number of the destination, plus 1; 0 if there is no turn.
    pub(crate) counter: u64,
}

/// Copies a row of whole words. Left to LLVM it may become a call of a loop over bytes, which programs would run and verifiers
/// follow.
#[inline(always)]
pub(crate) fn copy<T: Copy>(to: &mut T, from: &T) {
    const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8) };
    let (to, from) = ((&raw mut *to).cast::<u64>(), (&raw const *from).cast::<u64>());
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: Words of two rows, both aligned to words.
        unsafe { write_volatile(to.add(word), read_volatile(from.add(word))) };
    }
}

/// Endpoints of a destination to hand a packet to, and which of them has got it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Tries {
    /// The chunk of the destination's endpoint set.
    pub(crate) chunk: u32,
    /// The row of its first endpoint there.
    pub(crate) first: u32,
    /// How many endpoints it has.
    pub(crate) endpoints: u32,
    /// The endpoint that is tried next; where one has got the packet, that one.
    pub(crate) at: u32,
    /// Number of the one that was tried last, which has got the packet if any has.
    pub(crate) number: u32,
    /// Of the others, how many were not tried.
    pub(crate) left: u32,
    /// Where it is.
    pub(crate) endpoint: AddressPort,
}
