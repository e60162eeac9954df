//! Connections that are steered: what is known of each, and what is counted of all of a destination.

use super::{AddressPort, Assignment};
use crate::address::Address;

/// Map `sums`, by the number of a destination: its connections that the kernel steers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SumRow {
    /// Connections begun.
    pub opened: u64,
    /// Those of them that are not closed yet.
    pub active: u64,
    /// Connections that were never established.
    pub failed: u64,
    /// Connections refused, since there was no endpoint for them.
    pub refused: u64,
    /// Connections that were established and are closed.
    pub closed: u64,
    /// Bytes that clients sent, of closed connections.
    pub sent: u64,
    /// Bytes that clients were sent, of closed connections.
    pub received: u64,
    /// Smoothed round-trip times in microseconds, summed up over closed connections.
    pub rtt: u64,
    /// The first generation in which the number is this destination's: what was decided by one before is another's.
    pub since: u64,
}

/// Words of a [`SumRow`].
pub const SUM_WORDS: u32 = 9;

/// Map `endpoint_sums`, by the number of an endpoint: its connections, steered and carried ones. A connection is counted by who
/// brings it there, a program or the agent, and by nobody else.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointSumRow {
    /// Connections begun to it, those included that were refused elsewhere before.
    pub opened: u64,
    /// Those of them that it did not take.
    pub failed: u64,
    /// Those of them that are being opened or are open: its load.
    pub active: u64,
    /// When the number became this endpoint's, in nanoseconds of the monotonic clock: what was decided before is another's.
    pub since: u64,
}

/// Words of an [`EndpointSumRow`].
pub const ENDPOINT_SUM_WORDS: u32 = 4;

/// Where a connection is in its life.
pub mod stage {
    /// It was pointed at an endpoint.
    pub const STEERED: u32 = 1;
    /// It is being opened, or open, and counted.
    pub const OPENED: u32 = 2;
    /// It is closed.
    pub const CLOSED: u32 = 3;
}

/// What is known of a socket whose connection was steered. In map `connections` are those that have no cell in map `cookies`;
/// a row there dies with the socket, and outlives the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionRow {
    /// The agent whose numbers stand here. A later one has a greater number.
    pub agent: u64,
    /// Address that the client asked for.
    pub asked: Address,
    /// Address of the endpoint.
    pub endpoint: Address,
    /// Port that the client asked for, host order.
    pub asked_port: u32,
    /// Port of the endpoint, host order.
    pub endpoint_port: u32,
    /// One of [`stage`].
    pub stage: u32,
    /// Whether the socket is the client's; else it is the server's.
    pub is_client: u32,
    /// Which ends of the stream are known to be reached: of [`end`]. The kernel counts each as a byte.
    pub ends: u32,
    /// If [`end::SEEN`]: the sequence number after the far end's last byte and its FIN.
    pub far_end: u32,
    /// What was decided.
    pub assignment: Assignment,
}

/// How far the two directions of a connection have come, as bits.
pub mod end {
    /// The far side has acknowledged that it was sent a FIN.
    pub const NEAR: u32 = 1;
    /// All that the far side sends is there, its FIN too.
    pub const FAR: u32 = 2;
    /// A FIN of the far side has come, be it before other bytes.
    pub const SEEN: u32 = 4;
}

/// Cells of map `cookies`.
pub const COOKIES: u32 = 65_536;

/// Map `cookies`: what is known of a socket whose connection was steered, in the cell that its cookie has, which is the rest
/// of its division by [`COOKIES`]. It outlives the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CookieRow {
    /// The socket's cookie; 0 if the cell is free.
    pub cookie: u64,
    /// What is known of it.
    pub row: ConnectionRow,
}

/// What becomes of a packet that asks for a connection.
pub mod fate {
    /// It was handed to an endpoint.
    pub const HANDED: u32 = 1;
    /// The agent has it, since its address family is not the endpoint's.
    pub const CARRIED: u32 = 2;
    /// It is refused: its destination has no endpoint that it could be handed to.
    pub const WITHOUT_ENDPOINT: u32 = 3;
    /// It is refused: its route has no destination.
    pub const UNROUTED: u32 = 4;
    /// It is refused: the agent is lost.
    pub const LOST: u32 = 5;
    /// It is refused: its endpoints are of another address family.
    pub const OTHER_FAMILY: u32 = 6;
}

/// Map `flows`: what was decided for a SYN, while the kernel holds the handshake. Map `unheld`, while SYN cookies are in use:
/// what was decided for a packet of which the kernel holds no handshake.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRow {
    /// When the packet came, in nanoseconds of the monotonic clock.
    pub began: u64,
    /// When it was decided: what is known of an earlier packet of the flow holds for a later one.
    pub decided: u64,
    /// The endpoint, if it was handed to one.
    pub endpoint: AddressPort,
    /// What was decided.
    pub assignment: Assignment,
    /// One of [`fate`].
    pub fate: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Sizes without padding.
const _: () = {
    assert!(size_of::<SumRow>() == SUM_WORDS as usize * 8);
    assert!(size_of::<EndpointSumRow>() == ENDPOINT_SUM_WORDS as usize * 8);
    assert!(size_of::<ConnectionRow>() == 104);
    assert!(size_of::<CookieRow>() == 112);
    assert!(size_of::<FlowRow>() == 88);
};
