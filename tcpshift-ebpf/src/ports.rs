//! Which ports concern these programs: the first and cheapest question for every socket and packet of the host.

use tcpshift_common::layout::PORT_WORDS;

use crate::maps::PORTS;

/// Whether an endpoint of this host has the port.
#[inline(always)]
pub(crate) fn has_endpoint(port: u32) -> bool {
    has_bit(0, port)
}

/// Whether a listener has the port whose connections may be handed over.
#[inline(always)]
pub(crate) fn has_listener(port: u32) -> bool {
    has_bit(PORT_WORDS, port)
}

#[inline(always)]
fn has_bit(first: u32, port: u32) -> bool {
    PORTS.get(first + port / 64).is_some_and(|word| word >> (port % 64) & 1 == 1)
}
