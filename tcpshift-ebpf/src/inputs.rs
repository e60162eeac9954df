//! What a decision asks for beside the plan: counters that the agent has too, and random words.
//!
//! It must not decide anything.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use tcpshift_common::decide;

use crate::flow::read;
use crate::kernel;
use crate::maps::{ENDPOINT_SUMS, SEQUENCES, TURNS};
use crate::rows::{Pending, Turn};

/// Takes the next number of a counter.
#[inline(always)]
fn next(counter: Option<*mut u64>) -> u64 {
    // SAFETY: The row of a map, aligned to eight bytes, stays while the program runs; all who use it do so atomically.
    counter.map_or(0, |counter| unsafe { kernel::next(counter) })
}

/// Where random words and turns of a decision come from.
pub(crate) mod chance {
    /// From the kernel and from counters, as for any real connection.
    pub(crate) const LIVE: u32 = 0;
    /// Random words are told.
    pub(crate) const TOLD: u32 = 1;
    /// Random words are a hash of the flow, and a turn is kept for the next packet until somebody has had it: the packet may
    /// ask for no connection, and it may be decided again.
    pub(crate) const KEPT: u32 = 2;
}

/// The inputs of one decision.
pub(crate) struct SettlementInputs {
    /// Number of the route.
    pub(crate) route: u32,
    /// Where random words and turns come from, one of [`chance`].
    pub(crate) chance: u32,
    /// The words that are left, the next one first, unless they come from the kernel.
    pub(crate) random: [u32; 2],
}

impl decide::Inputs for SettlementInputs {
    #[inline(always)]
    fn sequence(&mut self) -> u64 {
        next(SEQUENCES.get_ptr_mut(self.route))
    }

    #[inline(always)]
    fn turn(&mut self, destination: u32) -> u64 {
        let take = || next(TURNS.get_ptr_mut(destination));
        if self.chance != chance::KEPT {
            return take();
        }
        let Some(pending) = Pending::here() else { return take() };
        // A turn that was taken for a packet before is still to be had if that asked for no connection. While SYN cookies are in
        // use any packet may have asked for one.
        let counter = u64::from(destination) + 1;
        if pending.turn.counter != counter || pending.is_by_cookies != 0 {
            pending.turn = Turn { number: take(), counter };
        }
        read!(pending.turn.number)
    }

    #[inline(always)]
    fn random(&mut self) -> u32 {
        if self.chance == chance::LIVE {
            // SAFETY: It has no conditions.
            return unsafe { bpf_get_prandom_u32() };
        }
        let [next, after] = self.random;
        self.random = [after, 0];
        next
    }

    #[inline(always)]
    fn load(&self, endpoint: u32) -> u32 {
        ENDPOINT_SUMS.get(endpoint).map_or(0, |row| row.active as u32)
    }
}
