//! Every map of the object, declared once. How many rows those have that grow with plans, the agent says at load.
//!
//! A plan's tables are hung into arrays of a few sides: programs read one while the agent fills another. What is hung
//! in is never written again. This file must not know what programs do.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_INNER_MAP, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_map_type, bpf_sock};
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, PerCpuArray, RingBuf};
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::macros::btf_map;
use tcpshift_common::layout::{
    CountRow, DestinationRow, EndpointRow, Event, HashRow, ListenerRow, PlanRow, RouteRow, SIDES, SlotTable, SocketRow,
};
use tcpshift_common::listener::Rule;

/// A table that is hung in somewhere may have any number of rows.
const INNER: usize = BPF_F_INNER_MAP as usize;
/// The agent reads and writes it as memory.
const SHARED: usize = BPF_F_MMAPABLE as usize;

/// A table of a plan.
pub(crate) type Table<T> = Array<T, 1, INNER>;
/// A table of one kind for each side.
pub(crate) type Sides<T> = ArrayOfMaps<Table<T>, { SIDES as usize }>;

/// Which plan is in force.
#[btf_map(name = "plan")]
pub(crate) static PLAN: Array<PlanRow, 1> = Array::new();

/// What is hung in before the first plan, and in the place of what is taken out.
#[btf_map(name = "listeners")]
static NO_LISTENERS: Table<ListenerRow> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "rules")]
static NO_RULES: Table<Rule> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "routes")]
static NO_ROUTES: Table<RouteRow> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "destinations")]
static NO_DESTINATIONS: Table<DestinationRow> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "endpoints")]
static NO_ENDPOINTS: Table<EndpointRow> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "slots")]
static NO_SLOTS: Table<SlotTable> = Array::new();
/// As `NO_LISTENERS`.
#[btf_map(name = "places")]
static NO_PLACES: Table<HashRow> = Array::new();

/// Listeners of all sides, by number.
#[btf_map(name = "plan_listeners")]
pub(crate) static LISTENERS: Sides<ListenerRow> = ArrayOfMaps::new();
/// Rules of all sides.
#[btf_map(name = "plan_rules")]
pub(crate) static RULES: Sides<Rule> = ArrayOfMaps::new();
/// Routes of all sides.
#[btf_map(name = "plan_routes")]
pub(crate) static ROUTES: Sides<RouteRow> = ArrayOfMaps::new();
/// Destinations of all sides.
#[btf_map(name = "plan_dests")]
pub(crate) static DESTINATIONS: Sides<DestinationRow> = ArrayOfMaps::new();
/// Endpoints of all sides.
#[btf_map(name = "plan_endpoints")]
pub(crate) static ENDPOINTS: Sides<EndpointRow> = ArrayOfMaps::new();
/// Slot tables: a route's is shared by all plans in which the route has the same weights.
#[btf_map(name = "slot_tables")]
pub(crate) static SLOT_TABLES: ArrayOfMaps<Table<SlotTable>, 1> = ArrayOfMaps::new();
/// Hash tables of destinations.
#[btf_map(name = "hash_tables")]
pub(crate) static HASH_TABLES: ArrayOfMaps<Table<HashRow>, 1> = ArrayOfMaps::new();

/// Numbers given out of the sequence of a route, by its number.
#[btf_map(name = "sequences")]
pub(crate) static SEQUENCES: Array<u64, 1, SHARED> = Array::new();
/// Turns given out of a destination, by its number.
#[btf_map(name = "turns")]
pub(crate) static TURNS: Array<u64, 1, SHARED> = Array::new();
/// Live connections of an endpoint, by its number.
#[btf_map(name = "loads")]
pub(crate) static LOADS: Array<u64, 1, SHARED> = Array::new();

/// What became of new connections.
#[btf_map(name = "counts")]
pub(crate) static COUNTS: PerCpuArray<CountRow, 1> = PerCpuArray::new();
/// What the agent should hear of.
#[btf_map(name = "events")]
pub(crate) static EVENTS: RingBuf<Event, 4096> = RingBuf::new();

/// What is known of a socket.
#[btf_map(name = "sockets")]
pub(crate) static SOCKETS: Storage<SocketRow> = Storage::new();

/// Storage of sockets that an accepted socket inherits, which aya's own kind is not.
#[repr(C)]
pub(crate) struct Storage<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: The fields describe the map to the loader and are never read; the kernel synchronises what they stand for.
unsafe impl<T> Sync for Storage<T> {}

impl<T> Storage<T> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// What is known of a socket, if anything is.
    ///
    /// # Safety
    ///
    /// The socket must be one that the context of the program has given; only this program's own calls may use the
    /// answer while it runs.
    #[inline(always)]
    pub(crate) unsafe fn get<'a>(&self, socket: *mut bpf_sock) -> Option<&'a mut T> {
        let map: *mut c_void = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: The kernel checks both, and gives null or a row that stays while the program runs.
        unsafe { bpf_sk_storage_get(map, socket.cast(), ptr::null_mut(), 0).cast::<T>().as_mut() }
    }
}
