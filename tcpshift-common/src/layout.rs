//! What kernel programs and the agent share by maps: the rows of a plan, and what a program says of a socket.
//!
//! Every type is `repr(C)`, has no padding, and holds plain numbers and texts, so that it is the same bytes on both
//! sides and `bpftool map dump` can print it. A change of any of them is a change of [`ABI`]. This file must not know
//! who writes and who reads.

use crate::SLOTS;
use crate::address::Address;
use crate::decide::{Decision, Steer};
use crate::destination;

/// The layout's number. It stands in the path of everything that is pinned, so that two layouts never meet.
pub const ABI: u32 = 1;

/// Bytes of a name, its end included: a namespace, an object's name and a rule's place, or a host, a port and a
/// subset.
pub const NAME: usize = 336;

/// Bytes of an address and port as text, its end included.
pub const PLACE: usize = 64;

/// Rules of one listener that a program looks at. The agent decides for a listener that has more.
pub const RULES: u32 = 256;

/// Sets of tables: the one in force, the one that is being made, and the one before, which programs that began earlier
/// may still be reading.
pub const SIDES: u32 = 3;

/// Says that there is no table.
pub const NONE: u32 = u32::MAX;

/// A name as C has it: ASCII, with a zero at its end, so that `bpftool` prints it as text.
pub type Name = [i8; NAME];

/// An address and port as C has a text.
pub type Place = [i8; PLACE];

/// Map `plan`: which plan is in force. Writing its one row switches from one plan to the next.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanRow {
    /// Counts the plans that were published, from 1; 0 if programs leave decisions to the agent. Divided by [`SIDES`] it
    /// leaves the side that is the plan's. Programs read this word alone, since a row is not written in one piece.
    pub index: u64,
    /// Generation of the plan in force.
    pub generation: u64,
}

/// Map `listeners`, by the listener's number. A row that no listener has is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerRow {
    /// As it is shown: `[::]:31400`.
    pub at: Place,
    /// The plan's generation.
    pub generation: u64,
    /// Seeds every hash.
    pub seed: u64,
    /// Where clients connect.
    pub address: Address,
    /// Host order.
    pub port: u32,
    /// Its first rule in `rules`.
    pub first_rule: u32,
    /// How many rules it has; 0 if the agent decides.
    pub rules: u32,
    /// Its first route in `routes`.
    pub first_route: u32,
}

/// Map `routes`, in the order of the plan.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// `namespace/name`, with the place of the rule where it is not the first.
    pub name: Name,
    /// Stable number.
    pub number: u32,
    /// Which of the slot tables is its own.
    pub table: u32,
    /// Its first destination in `destinations`.
    pub first_destination: u32,
    /// How many destinations it has.
    pub destinations: u32,
    /// What leads a connection to its slot.
    pub steer: Steer,
    /// Always 0.
    pub reserved: u32,
}

/// Map `destinations`, in the order of the plan: what a route's weights are, and what comes of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationRow {
    /// The listener of its route.
    pub listener: Place,
    /// Its route.
    pub route: Name,
    /// `host:port/subset`.
    pub name: Name,
    /// As the route file says.
    pub weight: u64,
    /// Slots it has, of 10,000.
    pub slots: u32,
    /// The stable number of its route.
    pub route_number: u32,
    /// What the decision reads of it.
    pub decides: destination::Destination,
    /// Its first endpoint in `endpoints`.
    pub first_endpoint: u32,
    /// Which of the hash tables is its own; [`NONE`] if it has none.
    pub hash_table: u32,
}

/// Map `endpoints`, in the order of the plan.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointRow {
    /// As it is shown: `192.0.2.1:9000`, or the path of a unix socket, cut if it is long.
    pub at: Place,
    /// Where it is; all zero for a unix socket.
    pub address: Address,
    /// Host order; 0 for a unix socket.
    pub port: u32,
    /// What the decision reads of it.
    pub decides: destination::Endpoint,
}

/// Map `slots`, one for each route: for each slot the place of its destination in the route.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTable {
    /// By slot.
    pub slots: [u16; SLOTS as usize],
}

/// Map `places`, one for each hash table: two endpoints a row, since a row of a map takes eight bytes at least.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashRow {
    /// The endpoint's place in its destination, of an even and of an odd place of the table.
    pub endpoints: [u32; 2],
}

/// What a socket is to the programs.
pub mod socket {
    /// A listening socket of the agent, or one that was accepted from it and has no assignment.
    pub const SERVED: u32 = 1;
    /// It has its assignment.
    pub const ASSIGNED: u32 = 2;
}

/// Map `sockets`: what is known of a socket. An accepted socket begins with what its listening socket has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketRow {
    /// One of [`socket`].
    pub state: u32,
    /// The listener's number.
    pub listener: u32,
    /// Meaningless unless it is assigned.
    pub assignment: Assignment,
}

/// What a program decided for one connection. It stays with the socket and dies with it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Of the plan that decided.
    pub generation: u64,
    /// Number of the route; meaningless if no route is for the connection.
    pub route: u32,
    /// The route's place in the listener.
    pub route_place: u32,
    /// Number of the destination; meaningless unless there is one.
    pub destination: u32,
    /// Number of the endpoint; meaningless unless one is chosen.
    pub endpoint: u32,
    /// What was decided.
    pub decision: Decision,
}

/// Map `counts`, of each processor: what became of new connections at served listeners.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountRow {
    /// Connections that were given a destination and an endpoint.
    pub assigned: u64,
    /// Connections that no route is for.
    pub unrouted: u64,
    /// Connections whose destination has no endpoint.
    pub without_endpoint: u64,
    /// Connections that were left to the agent: their listener is in no plan that programs decide by.
    pub left: u64,
}

/// What an event tells.
pub mod event {
    /// A table has no row where the plan says that there is one. It should never happen.
    pub const TORN: u32 = 1;
}

/// Ring `events`: what the agent should hear of at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// One of [`event`].
    pub kind: u32,
    /// Number of the listener.
    pub listener: u32,
}

/// Input of the program `explain`, which decides for a flow that is told, in place of a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// What stands for an Ethernet header; all zero.
    pub header: [u8; 16],
    /// Number of the listener.
    pub listener: u32,
    /// The random words that the decision may draw, in order.
    pub random: [u32; 2],
    /// The client's port, host order.
    pub source_port: u32,
    /// The client.
    pub source: Address,
    /// The address that the client connects to.
    pub destination: Address,
    /// The port that the client connects to, host order.
    pub destination_port: u32,
    /// Always 0.
    pub reserved: u32,
    /// The answer.
    pub assignment: Assignment,
}

/// Writes a text as C has it, cut to what fits. What is not ASCII becomes `?`, since `bpftool` would print numbers.
pub fn write<const N: usize>(text: &str) -> [i8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = if from.is_ascii_graphic() || from == b' ' { from } else { b'?' }.cast_signed();
    }
    bytes
}

/// Sizes without padding, and what a map's row may be.
const _: () = {
    assert!(size_of::<PlanRow>() == 16);
    assert!(size_of::<ListenerRow>() == PLACE + 48);
    assert!(size_of::<RouteRow>() == NAME + 32);
    assert!(size_of::<DestinationRow>() == PLACE + 2 * NAME + 48);
    assert!(size_of::<EndpointRow>() == PLACE + 32);
    assert!(size_of::<SocketRow>() == 48);
    assert!(size_of::<CountRow>() == 32);
    assert!(size_of::<Event>() == 8);
    assert!(size_of::<Question>() == 112);
};
