//! What a decision asks for beside the plan: counters that the agent has too, and random words.
//!
//! It must not decide anything.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::bpf_get_prandom_u32;
use tcpshift_common::decide;

use crate::flow::read;
use crate::maps::{LOADS, SEQUENCES, TURNS};
use crate::rows::{Pending, Turn};

/// Takes the next number of a counter. With a weaker order LLVM 22 makes an addition of it that does not give the number.
#[inline(always)]
fn next(counter: Option<*mut u64>) -> u64 {
    // SAFETY: The row of a map, aligned to eight bytes, stays while the program runs; all who use it do so atomically.
    counter.map_or(0, |counter| unsafe { atomic_xadd::<_, u64, { AtomicOrdering::SeqCst }>(counter, 1) })
}

/// The inputs of one decision for a real connection.
pub(crate) struct LiveInputs {
    /// Number of the route.
    pub(crate) route: u32,
}

impl decide::Inputs for LiveInputs {
    #[inline(always)]
    fn sequence(&mut self) -> u64 {
        next(SEQUENCES.get_ptr_mut(self.route))
    }

    #[inline(always)]
    fn turn(&mut self, destination: u32) -> u64 {
        next(TURNS.get_ptr_mut(destination))
    }

    #[inline(always)]
    fn random(&mut self) -> u32 {
        // SAFETY: It has no conditions.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn load(&self, endpoint: u32) -> u32 {
        LOADS.get(endpoint).map_or(0, |load| *load as u32)
    }
}

/// The inputs of a decision that is asked for: random words come from whoever asks.
pub(crate) struct Told {
    /// As of a real connection.
    pub(crate) counted: LiveInputs,
    /// The words that are left, the next one first.
    pub(crate) random: [u32; 2],
}

impl decide::Inputs for Told {
    #[inline(always)]
    fn sequence(&mut self) -> u64 {
        self.counted.sequence()
    }

    #[inline(always)]
    fn turn(&mut self, destination: u32) -> u64 {
        self.counted.turn(destination)
    }

    #[inline(always)]
    fn random(&mut self) -> u32 {
        let [next, after] = self.random;
        self.random = [after, 0];
        next
    }

    #[inline(always)]
    fn load(&self, endpoint: u32) -> u32 {
        self.counted.load(endpoint)
    }
}

/// The inputs of a decision for a packet that may ask for no connection, and for which may be decided again.
pub(crate) struct Kept<'a> {
    /// As of a real connection.
    pub(crate) counted: LiveInputs,
    /// The words that are left, the next one first: the same for every packet of a flow.
    pub(crate) random: [u32; 2],
    /// Keeps a turn that nobody has had yet.
    pub(crate) pending: &'a mut Pending,
}

impl decide::Inputs for Kept<'_> {
    #[inline(always)]
    fn sequence(&mut self) -> u64 {
        self.counted.sequence()
    }

    #[inline(always)]
    fn turn(&mut self, destination: u32) -> u64 {
        // A turn that was taken for a packet before is still to be had if that asked for no connection. While SYN cookies are in
        // use any packet may have asked for one.
        let counter = u64::from(destination) + 1;
        if self.pending.turn.counter != counter || self.pending.is_by_cookies != 0 {
            self.pending.turn = Turn { number: self.counted.turn(destination), counter };
        }
        read!(self.pending.turn.number)
    }

    #[inline(always)]
    fn random(&mut self) -> u32 {
        let [next, after] = self.random;
        self.random = [after, 0];
        next
    }

    #[inline(always)]
    fn load(&self, endpoint: u32) -> u32 {
        self.counted.load(endpoint)
    }
}
