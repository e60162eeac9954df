//! What the agent is told at once.

use tcpshift_common::layout::ProgramEvent;

use crate::maps::EVENTS;

/// Tells of a kind of event, and of a listener's number or a port. What there is no room for is not told.
#[inline(always)]
pub(crate) fn tell(kind: u32, about: u32) {
    if let Some(mut entry) = EVENTS.reserve(0) {
        entry.write(ProgramEvent { kind, about });
        entry.submit(0);
    }
}
