//! What became of new connections, for `bpftool` and tests.
//!
//! It must not decide anything.

use tcpshift_common::layout::CountRow;

use crate::kernel;
use crate::maps::COUNTS;

/// The row of this processor. A program that runs in connect(2) may be preempted there by another one, which counts too.
#[derive(Clone, Copy)]
pub(crate) struct Counts(*mut CountRow);

impl Counts {
    /// The row of this processor.
    #[inline(always)]
    pub(crate) fn here() -> Option<Self> {
        COUNTS.get_ptr_mut(0).map(Self)
    }
}

macro_rules! counted {
    ($($field:ident),*) => {
        impl Counts {
            $(
                #[doc = concat!("Counts one of [`CountRow::", stringify!($field), "`].")]
                #[inline(always)]
                pub(crate) fn $field(self) {
                    // SAFETY: An aligned word in the row of a map, which stays while the program runs.
                    unsafe { kernel::add(&raw mut (*self.0).$field, 1) };
                }
            )*
        }
    };
}
counted!(assigned, unrouted, without_endpoint, left, lost, carried);
