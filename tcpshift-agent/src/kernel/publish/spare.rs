//! Slot tables that are hung in before a route needs them: hanging one in waits for the programs that run, and an edit of weights
//! that finds a spare one does not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tcpshift_common::layout::SlotTable;

use crate::kernel::load::{Maps, Room};
use crate::kernel::sys::{self, Map};

/// Spare tables at most.
const MOST: u32 = 16;

/// A table that no route has.
#[derive(Debug)]
pub(super) struct SpareTable {
    pub(super) number: u32,
    table: Map<u32, SlotTable>,
}

/// How many there may be: a few of those that there is room for.
pub(super) fn most(room: &Room) -> usize {
    MOST.min(room.slot_tables / 16) as usize
}

/// Makes spare tables with these numbers, and hangs them in.
pub(super) fn make(maps: &Maps, numbers: &[u32]) -> io::Result<Vec<SpareTable>> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let make = |number: &u32| {
        let table = maps.slots.create_empty(maps.types.as_fd())?;
        io::Result::Ok(SpareTable { number: *number, table })
    };
    let tables: Vec<SpareTable> = numbers.iter().map(make).collect::<io::Result<_>>()?;
    let all: Vec<BorrowedFd<'_>> = tables.iter().map(|spare| spare.table.as_fd()).collect();
    maps.slots.hang(numbers, &all)?;
    Ok(tables)
}

impl SpareTable {
    /// Gives it to a route. It is frozen then: bpf(2) refuses to write to it.
    pub(super) fn fill(self, slots: &SlotTable) -> io::Result<OwnedFd> {
        self.table.set(&0, slots)?;
        sys::freeze(self.table.as_fd())?;
        self.table.as_fd().try_clone_to_owned()
    }
}
