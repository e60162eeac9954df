//! Every map of the object, declared once. How many rows those have that grow with plans, the agent says at load.
//!
//! A plan's tables are hung into arrays: programs read one while the agent fills another. Slot tables and addresses are never
//! written again; the others are memory, which is written again once no program reads it any more. Kinds of maps that aya lacks
//! are in files of their own.

pub(crate) mod hash;
mod storage;

use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_INNER_MAP, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use tcpshift_common::address::Flow;
use tcpshift_common::layout::{
    AddressEntry, AddressPort, AgentRow, CHUNKS, COOKIES, ConnectionRow, CookieRow, CountRow, DestinationRow,
    EndpointSumRow, FlowRow, GROUPS, GroupRow, HashRow, LISTENING as SOCKETS_KEPT, ListenerRow, ListeningKey,
    NamedDestinationRow, PORT_WORDS, PlanRow, ProgramEvent, RouteRow, SIDES, SetCell, SideRow, SlotTable, SocketRow,
    SumRow, TABLES, WideSlotTable,
};
use tcpshift_common::listener::RuleRow;

use self::hash::SocketHash;
use self::storage::Storage;
use crate::rows::Pending;

/// A table that is hung in somewhere may have any number of rows.
const INNER: usize = BPF_F_INNER_MAP as usize;
/// The agent reads and writes it as memory.
const SHARED: usize = BPF_F_MMAPABLE as usize;

/// A table that is never written again.
pub(crate) type InnerTable<T> = Array<T, 1, INNER>;
/// Memory in which the agent lays out rows that no program reads yet.
pub(crate) type Chunk<T> = Array<T, 1, { INNER | SHARED }>;
/// Tables of one kind.
pub(crate) type Tables<T> = ArrayOfMaps<Chunk<T>, { TABLES as usize }>;

/// Which plan is in force.
#[btf_map(name = "plan")]
pub(crate) static PLAN: Array<PlanRow, 1, SHARED> = Array::new();
/// What the plans of all sides have.
#[btf_map(name = "sides")]
pub(crate) static PLAN_SIDES: Array<SideRow, { SIDES as usize }, SHARED> = Array::new();

/// What is hung in before the first plan, and instead of what is taken out.
#[btf_map(name = "listeners")]
static NO_LISTENERS: Chunk<ListenerRow> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "rules")]
static NO_RULES: Chunk<RuleRow> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "routes")]
static NO_ROUTES: Chunk<RouteRow> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "plan_dests")]
static NO_DESTINATIONS: Chunk<DestinationRow> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "slots")]
static NO_SLOTS: InnerTable<SlotTable> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "wide_slots")]
static NO_WIDE_SLOTS: InnerTable<WideSlotTable> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "addresses")]
static NO_ADDRESSES: AddressTrie = LpmTrie::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "endpoints")]
static NO_ENDPOINTS: Chunk<SetCell> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "hashes")]
static NO_HASHES: Chunk<HashRow> = Array::new();

/// What destinations are called. It is for people, and what the agent makes is like it.
#[btf_map(name = "destinations")]
static NAMED_DESTINATIONS: Chunk<NamedDestinationRow> = Array::new();

/// Which listener an address and port belong to.
pub(crate) type AddressTrie = LpmTrie<AddressEntry, u32, 1>;

/// Addresses.
#[btf_map(name = "address_tables")]
pub(crate) static ADDRESSES: ArrayOfMaps<AddressTrie, { TABLES as usize }> = ArrayOfMaps::new();
/// Listeners, by number.
#[btf_map(name = "listener_tables")]
pub(crate) static LISTENERS: Tables<ListenerRow> = ArrayOfMaps::new();
/// Rules.
#[btf_map(name = "rule_tables")]
pub(crate) static RULES: Tables<RuleRow> = ArrayOfMaps::new();
/// Routes.
#[btf_map(name = "route_tables")]
pub(crate) static ROUTES: Tables<RouteRow> = ArrayOfMaps::new();
/// Destinations.
#[btf_map(name = "dest_tables")]
pub(crate) static DESTINATIONS: Tables<DestinationRow> = ArrayOfMaps::new();
/// Slot tables: a route's is shared by all plans in which the route has the same weights.
#[btf_map(name = "slot_tables")]
pub(crate) static SLOT_TABLES: ArrayOfMaps<InnerTable<SlotTable>, 1> = ArrayOfMaps::new();
/// Those of routes with many destinations.
#[btf_map(name = "wide_tables")]
pub(crate) static WIDE_SLOT_TABLES: ArrayOfMaps<InnerTable<WideSlotTable>, 1> = ArrayOfMaps::new();
/// Where each endpoint set begins, by its number: the chunk times 2^32, and the row in it; 0 if there is none.
#[btf_map(name = "sets")]
pub(crate) static SETS: Array<u64, 1, SHARED> = Array::new();
/// Endpoint sets.
#[btf_map(name = "set_chunks")]
pub(crate) static SET_CHUNKS: ArrayOfMaps<Chunk<SetCell>, { CHUNKS as usize }> = ArrayOfMaps::new();
/// Hash tables of endpoint sets.
#[btf_map(name = "hash_chunks")]
pub(crate) static HASH_CHUNKS: ArrayOfMaps<Chunk<HashRow>, 1> = ArrayOfMaps::new();

/// Numbers given out of the sequence of a route, by its number.
#[btf_map(name = "sequences")]
pub(crate) static SEQUENCES: Array<u64, 1, SHARED> = Array::new();
/// Turns given out of a destination, by its number.
#[btf_map(name = "turns")]
pub(crate) static TURNS: Array<u64, 1, SHARED> = Array::new();
/// What is counted of an endpoint's connections, its load among it, by its number.
#[btf_map(name = "endpoint_sums")]
pub(crate) static ENDPOINT_SUMS: Array<EndpointSumRow, 1, SHARED> = Array::new();

/// What became of new connections.
#[btf_map(name = "counts")]
pub(crate) static COUNTS: PerCpuArray<CountRow, 1> = PerCpuArray::new();
/// What the agent should hear of.
#[btf_map(name = "events")]
pub(crate) static EVENTS: RingBuf<ProgramEvent, 4096> = RingBuf::new();

/// Whether there is an agent, and what holds without it.
#[btf_map(name = "agent")]
pub(crate) static AGENT: Array<AgentRow, 1, SHARED> = Array::new();
/// Ports that endpoints of this host have, then those of listeners: a bit each.
#[btf_map(name = "ports")]
pub(crate) static PORTS: Array<u64, { 2 * PORT_WORDS as usize }> = Array::new();
/// What is counted of connections that are steered, by number of the destination.
#[btf_map(name = "sums")]
pub(crate) static SUMS: Array<SumRow, 1, SHARED> = Array::new();
/// What was decided for SYNs whose handshakes the kernel holds. It holds so many for each listening socket and answers others
/// by SYN cookies (`inet_csk_reqsk_queue_is_full`), so that a flood of SYNs does not displace those of others here.
#[btf_map(name = "flows")]
pub(crate) static FLOWS: LruHashMap<Flow, FlowRow, 16_384> = LruHashMap::new();
/// While SYN cookies are in use, what was decided for packets of which the kernel holds no handshake.
#[btf_map(name = "unheld")]
pub(crate) static UNHELD: LruHashMap<Flow, FlowRow, 16_384> = LruHashMap::new();

/// What `lookup` has decided for the packet at hand, for the programs that run for it later. What the verifier knows of
/// values does not outlive being written here, so that it follows what comes after once, and not once for each way to a
/// decision.
#[btf_map(name = "pending")]
pub(crate) static PENDING: PerCpuArray<Pending, 1> = PerCpuArray::new();
/// When a connection was last established by a SYN cookie, in nanoseconds of the monotonic clock; 0 if none was.
#[btf_map(name = "syn_cookie")]
pub(crate) static SYN_COOKIE: Array<u64, 1> = Array::new();

/// What is known of a socket of the agent's. An accepted socket begins with what its listening socket has.
#[btf_map(name = "sockets")]
pub(crate) static SOCKETS: Storage<SocketRow, { (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize }> = Storage::new();
/// What is known of sockets whose connections are steered, by cookie: see `connections`.
#[btf_map(name = "cookies")]
pub(crate) static COOKIE_ROWS: Array<CookieRow, { COOKIES as usize }, SHARED> = Array::new();
/// The same of sockets that have no cell in [`COOKIE_ROWS`].
#[btf_map(name = "connections")]
pub(crate) static CONNECTIONS: Storage<ConnectionRow, { BPF_F_NO_PREALLOC as usize }> = Storage::new();
/// Addresses and ports whose listening sockets are kept, and the index of each in [`GROUPS_KEPT`]: nobody else's take room.
#[btf_map(name = "own_endpoints")]
pub(crate) static OWN: HashMap<AddressPort, u32, { GROUPS as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
/// Which cells of [`LISTENING`] the sockets of an address and port may have.
#[btf_map(name = "groups")]
pub(crate) static GROUPS_KEPT: Array<GroupRow, { GROUPS as usize }, SHARED> = Array::new();
/// Listening sockets of endpoints, and those at every address of the host beside them, each in one cell.
#[btf_map(name = "listening")]
pub(crate) static LISTENING: SocketHash<ListeningKey, { SOCKETS_KEPT as usize }> = SocketHash::new();
