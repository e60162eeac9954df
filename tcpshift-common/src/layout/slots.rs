//! Slot tables: which destination of its route each slot belongs to.

use crate::SLOTS;

/// Destinations of a route at most, of which an index of one byte does for each slot.
pub const NARROW: u32 = 256;

/// Map `slots`, one for each route of at most [`NARROW`] destinations: for each slot the index of its destination in the
/// route. A route without a destination that has slots has no table.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTable {
    /// By slot.
    pub slots: [u8; SLOTS as usize],
}

/// Map `slots`, one for each route of more destinations.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WideSlotTable {
    /// By slot.
    pub slots: [u16; SLOTS as usize],
}

/// Sizes without padding.
const _: () = {
    assert!(size_of::<SlotTable>() == SLOTS as usize);
    assert!(size_of::<WideSlotTable>() == 2 * SLOTS as usize);
};
