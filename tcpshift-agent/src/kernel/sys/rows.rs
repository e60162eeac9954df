//! Which types are rows of maps: plain bytes, the same in the agent and in the kernel's programs.

use std::mem::size_of;

use tcpshift_common::layout::{
    AddressKey, AddressPort, AgentRow, ConnectionRow, CountRow, DestinationRow, EndpointRow, HashRow, ListenerRow,
    ListeningKey, NamedDestinationRow, PlanRow, Question, RouteRow, SetRow, SideRow, SlotTable, SocketRow, SumRow,
    WideSlotTable,
};
use tcpshift_common::listener::RuleRow;

/// What may be the row of a map: plain bytes.
///
/// # Safety
///
/// Any bytes must be a value, and a value must have no padding.
pub(in crate::kernel) unsafe trait MapRow: Copy + 'static {}

macro_rules! rows {
    ($($row:ty),*) => {
        // SAFETY: Numbers and arrays of numbers; `layout` asserts that they have no padding.
        $(unsafe impl MapRow for $row {})*
    };
}
rows!(
    AddressKey,
    AgentRow,
    ConnectionRow,
    CountRow,
    DestinationRow,
    AddressPort,
    EndpointRow,
    HashRow,
    ListenerRow,
    ListeningKey,
    NamedDestinationRow,
    PlanRow,
    Question,
    RouteRow,
    RuleRow,
    SetRow,
    SideRow,
    SlotTable,
    SocketRow,
    SumRow,
    WideSlotTable,
    u32,
    i32,
    u64
);

/// A row as it is in memory.
pub(in crate::kernel) fn bytes<R: MapRow>(row: &R) -> &[u8] {
    // SAFETY: A row has no padding, and the bytes live as long as it does.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(row).cast(), size_of::<R>()) }
}

/// The header of an endpoint set as one of its rows, which are of one size.
pub(in crate::kernel) fn header(set: &SetRow) -> Option<EndpointRow> {
    row(bytes(set))
}

/// The row at the beginning of what may not be aligned; none if there is too little.
pub(in crate::kernel) fn row<R: MapRow>(bytes: &[u8]) -> Option<R> {
    // SAFETY: There are as many bytes, and any are a row.
    (bytes.len() >= size_of::<R>()).then(|| unsafe { bytes.as_ptr().cast::<R>().read_unaligned() })
}
