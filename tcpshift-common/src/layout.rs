//! What kernel programs and the agent share by maps: the rows of a plan, and what a program says of a socket.
//!
//! Every type is `repr(C)`, has no padding, and holds plain numbers and texts, so that it is the same bytes on both
//! sides and `bpftool map dump` can print it. Each agent has maps of its own, so that rows may change with it, but for those of
//! maps that outlive agents: [`CookieRow`] and [`ConnectionRow`], with all that is in them. Where one of these changes, its map
//! needs another name to be pinned under.

mod connections;
pub mod kernel;
mod listening;
mod sets;
mod slots;

pub use self::connections::{
    COOKIES, ConnectionRow, CookieRow, ENDPOINT_SUM_WORDS, EndpointSumRow, FlowRow, SUM_WORDS, SumRow, end, fate, stage,
};
pub use self::listening::{
    AddressPort, GROUP_WORDS, GROUPS, GroupRow, LISTENING, ListeningKey, OWN_ENDPOINTS, SHARERS, TRIES,
};
pub use self::sets::{CHUNKS, EndpointRow, HashRow, ORIGINAL, SetCell, SetRow};
pub use self::slots::{NARROW, SlotTable, WideSlotTable};
use crate::address::Address;
use crate::decide::{Decision, Steer};
use crate::listener::RuleRow;

/// The number of the folder in which everything is pinned. It is another one where the lock, or what the names of links mean,
/// is another: agents of two such numbers do not succeed each other.
pub const PIN_LAYOUT: u32 = 3;

/// Bytes of a name, its end included: a namespace, an object's name and a rule's index, or a host, a port and a
/// subset.
pub const NAME: usize = 336;

/// Bytes of an address and port as text, its end included.
pub const ADDRESS_TEXT: usize = 64;

/// Rules of one listener that a program looks at. The agent decides for a listener that has more.
pub const RULES: u32 = 256;

/// Plans at a time: the one in force, the one that is being made, and the one before, which programs that began earlier may
/// still be reading.
pub const SIDES: u32 = 3;

/// Tables of a kind at a time, such as those of listeners: one of each of the [`SIDES`], and an empty one.
pub const TABLES: u32 = SIDES + 1;

/// Says that there is no table.
pub const NONE: u32 = u32::MAX;

/// A name as C has it: ASCII, with a zero at its end, so that `bpftool` prints it as text.
pub type NameText = [i8; NAME];

/// An address and port as C has a text.
pub type AddressText = [i8; ADDRESS_TEXT];

/// Map `plan`: which plan is in force. Writing its one row switches from one plan to the next.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanRow {
    /// Counts the plans that were published, from 1; 0 if programs leave decisions to the agent. Divided by [`SIDES`] it
    /// leaves the side that is the plan's. It is written last, as one word; programs that read it decide by this word alone.
    pub index: u64,
    /// Generation of the plan in force.
    pub generation: u64,
}

/// Map `sides`, by the rest of the plan's index divided by [`SIDES`]: what a plan has, and which table of each kind is its own.
/// Plans that have the same listeners, say, share the table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideRow {
    /// The plan's generation.
    pub generation: u64,
    /// Seeds every hash.
    pub seed: u64,
    /// Which of `address_tables`.
    pub addresses: u32,
    /// Which of `listener_tables`.
    pub listeners: u32,
    /// Which of `rule_tables`.
    pub rules: u32,
    /// Which of `route_tables`.
    pub routes: u32,
    /// Which of `destination_tables`.
    pub destinations: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Map `listeners`, by the listener's number. A row that no listener has is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerRow {
    /// As it is shown: `[::]:31400`, or the host and port of a service, cut if it is long.
    pub at: AddressText,
    /// Where clients connect; all zero for a service, which may have several addresses.
    pub address: Address,
    /// Host order.
    pub port: u32,
    /// Its first rule in `rules`.
    pub first_rule: u32,
    /// How many rules it has; 0 if the agent decides, or if nobody does.
    pub rules: u32,
    /// Its first route in `routes`.
    pub first_route: u32,
}

/// Map `routes`, in the order of the plan. Map `destinations` has their names.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// Stable number.
    pub number: u32,
    /// Which of the slot tables is its own.
    pub table: u32,
    /// 1 if it is one of the wide tables: the route has more than [`NARROW`] destinations.
    pub is_wide: u32,
    /// Its first destination in the plan's table of them.
    pub first_destination: u32,
    /// How many destinations it has.
    pub destinations: u32,
    /// What leads a connection to its slot.
    pub steer: Steer,
    /// One of [`datapath`].
    pub datapath: u32,
    /// Index of the first destination that has slots; [`NONE`] if none has. All connections go there if that is what was
    /// asked for in case that the agent is lost.
    pub first: u32,
    /// Clients who are not steered but carried, by the family of the address that they ask for: bits of [`left`].
    pub left: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Families of clients who are left to the agent.
pub mod left {
    /// Those of IPv4.
    pub const V4: u32 = 1;
    /// Those of IPv6.
    pub const V6: u32 = 2;
}

impl RouteRow {
    /// Whether clients who ask for an address are left to the agent. Without a branch, since the kernel's verifier follows
    /// each of them through the whole decision.
    #[allow(clippy::inline_always, reason = "the verifier follows each call for itself")]
    #[inline(always)]
    pub const fn leaves(&self, asked: Address) -> bool {
        self.left >> asked.is_v6() & 1 != 0
    }
}

/// How connections of a route reach its endpoints.
pub mod datapath {
    /// The agent carries them.
    pub const PROXY: u32 = 0;
    /// They are pointed at the endpoint when a client of this host connects. Those of other clients are carried.
    pub const CONNECT: u32 = 1;
    /// They are handed to the endpoint's listening socket.
    pub const LOOKUP: u32 = 2;
    /// They are handed to the endpoint's listening socket, or refused.
    pub const LOOKUP_ONLY: u32 = 3;
    /// Nobody serves them: they are refused.
    pub const REFUSED: u32 = 4;
}

/// Which clients an address is for.
pub mod scope {
    /// Programs of this host, when they connect.
    pub const CONNECT: u32 = 1;
    /// Everybody whose packets come here.
    pub const LOOKUP: u32 = 2;
}

/// Key of map `addresses`, which gives the number of a listener for the longest prefix that an address has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey {
    /// Bits of `at` that count: those of `entry`, and the first bits of the address.
    pub bits: u32,
    /// What is looked for.
    pub at: AddressEntry,
}

/// An address and port, as clients of one scope connect to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressEntry {
    /// One of [`scope`], times 65,536, and the port.
    pub entry: u32,
    /// The address in network order.
    pub address: [u8; 16],
}

impl AddressEntry {
    /// Bits in front of the address.
    pub const HEAD: u32 = 32;

    /// A port (0 to 65,535) of an address.
    pub const fn new(scope: u32, port: u32, address: Address) -> Self {
        Self { entry: scope << 16 | port, address: address.octets() }
    }
}

/// Words of map `ports`: a bit for each port that an endpoint of this host has, and then one for each that a listener has
/// whose connections may be handed over.
pub const PORT_WORDS: u32 = 1024;

/// What becomes of new connections if the agent is lost.
pub mod loss {
    /// They are steered by the last plan.
    pub const KEEP: u32 = 0;
    /// They all go to the first destination of their route.
    pub const FIRST: u32 = 1;
    /// They are refused.
    pub const REFUSE: u32 = 2;
}

/// Map `agent`: whether there is one, and what holds without it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentRow {
    /// When it was last seen, in nanoseconds of the monotonic clock.
    pub beat: u64,
    /// How long it may be silent, in nanoseconds.
    pub patience: u64,
    /// One of [`loss`].
    pub on_loss: u32,
    /// Its process: what it connects to itself is never steered.
    pub process: u32,
}

/// A destination as programs read it, in the order of the plan.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestinationRow {
    /// Stable number.
    pub number: u32,
    /// Its endpoint set, in map `sets`.
    pub set: u32,
}

/// Map `destinations`, in the order of the plan: what a route's weights are, and what comes of them. No program reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedDestinationRow {
    /// The listener of its route.
    pub listener: AddressText,
    /// Its route: `namespace/name`, with the index of the rule where it is not the first.
    pub route: NameText,
    /// `host:port/subset`.
    pub name: NameText,
    /// As the route file says.
    pub weight: u64,
    /// Slots it has, of 10,000.
    pub slots: u32,
    /// The stable number of its route.
    pub route_number: u32,
    /// As programs read it.
    pub row: DestinationRow,
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
    /// The route's index in the listener.
    pub route_place: u32,
    /// Number of the destination; meaningless unless there is one.
    pub destination: u32,
    /// Number of the endpoint; meaningless unless one is chosen.
    pub endpoint: u32,
    /// What was decided.
    pub decision: Decision,
}

/// Map `counts`, of each processor: what became of new connections at served listeners. Programs add atomically: one that runs
/// in connect(2) may be preempted by another on its processor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountRow {
    /// Connections that were given a destination and an endpoint. Of those that are handed over, the ones established.
    pub assigned: u64,
    /// Connections that no route is for.
    pub unrouted: u64,
    /// Connections whose destination has no endpoint.
    pub without_endpoint: u64,
    /// Connections that were left to the agent: their listener is in no plan that programs decide by.
    pub left: u64,
    /// Connections that were refused since the agent is lost.
    pub lost: u64,
    /// Connections that were handed to nobody since their address family is not the endpoint's, and that the agent
    /// carries.
    pub carried: u64,
}

/// What an event tells.
pub mod event {
    /// A table has no row where the plan says that there is one. It should never happen.
    pub const TORN: u32 = 1;
    /// Somebody listens at a port that an endpoint has.
    pub const LISTENING: u32 = 2;
}

/// Ring `events`: what the agent should hear of at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramEvent {
    /// One of [`event`].
    pub kind: u32,
    /// Number of the listener, or the port.
    pub about: u32,
}

/// Input of the program `explain`, which decides for a flow that is given instead of a packet.
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
    assert!(size_of::<SideRow>() == 40);
    assert!(size_of::<ListenerRow>() == ADDRESS_TEXT + 32);
    assert!(size_of::<RouteRow>() == 48);
    assert!(size_of::<DestinationRow>() == 8);
    assert!(size_of::<NamedDestinationRow>() == ADDRESS_TEXT + 2 * NAME + 24);
    assert!(size_of::<SocketRow>() == 48);
    assert!(size_of::<CountRow>() == 48);
    assert!(size_of::<AddressKey>() == 24);
    assert!(size_of::<AgentRow>() == 24);
    assert!(size_of::<RuleRow>() == 88);
    assert!(size_of::<ProgramEvent>() == 8);
    assert!(size_of::<Question>() == 112);
};
