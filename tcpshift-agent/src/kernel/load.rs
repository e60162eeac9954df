//! The object, loaded: its programs, and its maps by their types.
//!
//! Each agent has maps of its own. It must not know plans, nor where anything is attached or pinned.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use aya::maps::MapData;
use aya::programs::{SchedClassifier, SockOps};
use aya::{Ebpf, EbpfLoader};
use tcpshift_common::layout::{
    CountRow, DestinationRow, EndpointRow, HashRow, ListenerRow, PlanRow, RouteRow, SIDES, SlotTable, SocketRow,
};
use tcpshift_common::listener::Rule;

use super::sys::{self, Map, MapInfo, Row, Words};

/// The object that `cargo xtask build-ebpf` built, if this agent was compiled with one.
#[cfg(ebpf)]
const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpshift")));
#[cfg(not(ebpf))]
const OBJECT: Option<&[u8]> = None;

/// Whether there is an object to load.
pub(super) const fn is_built_in() -> bool {
    OBJECT.is_some()
}

/// How many rows maps have that are made once: numbers must be below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Slot tables, those of the plan in force and of the next one.
    pub(super) slot_tables: u32,
    /// Hash tables, likewise.
    pub(super) hash_tables: u32,
    /// Numbers of routes.
    pub(super) routes: u32,
    /// Numbers of destinations.
    pub(super) destinations: u32,
    /// Numbers of endpoints.
    pub(super) endpoints: u32,
}

impl Room {
    /// Room for so many routes. A number may be in use for longer than its route, so there are twice as many.
    pub(super) fn new(routes: u32) -> Self {
        let most = |times: u32| routes.saturating_mul(times).clamp(1, 1 << 26);
        Self {
            slot_tables: most(2).saturating_add(1),
            hash_tables: most(2).saturating_add(1),
            routes: most(2),
            destinations: most(8),
            endpoints: most(32),
        }
    }
}

/// A kind of table that is hung into an array of maps.
#[derive(Debug)]
pub(super) struct Tables<R> {
    /// Where they are hung in, by descriptors.
    pub(super) outer: Map<u32, u32>,
    /// What all of them are like, and what hangs where no other does.
    empty: OwnedFd,
    like: MapInfo,
    rows: PhantomData<R>,
}

impl<R: Row> Tables<R> {
    /// A table with these rows, which nobody can write to any more.
    pub(super) fn create(&self, types: BorrowedFd<'_>, rows: &[R]) -> io::Result<OwnedFd> {
        // An array has one row at least.
        let table = Map::<u32, R>::new(sys::create_like(&self.like, types, (rows.len() as u32).max(1))?)?;
        let keys: Vec<u32> = (0..rows.len() as u32).collect();
        table.set_all(&keys, rows)?;
        sys::freeze(table.as_fd())?;
        table.as_fd().try_clone_to_owned()
    }

    /// Hangs tables in, in one call. When it returns, no program that runs has seen what hung there before.
    pub(super) fn hang(&self, at: &[u32], tables: &[BorrowedFd<'_>]) -> io::Result<()> {
        let tables: Vec<u32> = tables.iter().map(|table| table.as_raw_fd() as u32).collect();
        self.outer.set_all(at, &tables)
    }

    /// Hangs in what has no rows of anybody's.
    pub(super) fn clear(&self, at: &[u32]) -> io::Result<()> {
        self.hang(at, &vec![self.empty.as_fd(); at.len()])
    }
}

/// Every map of the object.
#[derive(Debug)]
pub(super) struct Maps {
    pub(super) plan: Map<u32, PlanRow>,
    pub(super) listeners: Tables<ListenerRow>,
    pub(super) rules: Tables<Rule>,
    pub(super) routes: Tables<RouteRow>,
    pub(super) destinations: Tables<DestinationRow>,
    pub(super) endpoints: Tables<EndpointRow>,
    pub(super) slots: Tables<SlotTable>,
    pub(super) places: Tables<HashRow>,
    pub(super) sequences: OwnedFd,
    pub(super) turns: OwnedFd,
    pub(super) loads: OwnedFd,
    pub(super) counts: Map<u32, CountRow>,
    pub(super) events: OwnedFd,
    pub(super) sockets: Map<i32, SocketRow>,
    /// The types of all of them.
    pub(super) types: OwnedFd,
}

impl Maps {
    /// The maps that live as long as the agent, by the names they are pinned under.
    pub(super) fn named(&self) -> [(&'static str, BorrowedFd<'_>); 14] {
        [
            ("plan", self.plan.as_fd()),
            ("plan_listeners", self.listeners.outer.as_fd()),
            ("plan_rules", self.rules.outer.as_fd()),
            ("plan_routes", self.routes.outer.as_fd()),
            ("plan_dests", self.destinations.outer.as_fd()),
            ("plan_endpoints", self.endpoints.outer.as_fd()),
            ("slot_tables", self.slots.outer.as_fd()),
            ("hash_tables", self.places.outer.as_fd()),
            ("sequences", self.sequences.as_fd()),
            ("turns", self.turns.as_fd()),
            ("loads", self.loads.as_fd()),
            ("counts", self.counts.as_fd()),
            ("events", self.events.as_fd()),
            ("sockets", self.sockets.as_fd()),
        ]
    }

    /// The counters that decisions read, as memory: sequences, turns and loads.
    pub(super) fn words(&self) -> io::Result<[Words; 3]> {
        Ok([Words::new(self.sequences.as_fd())?, Words::new(self.turns.as_fd())?, Words::new(self.loads.as_fd())?])
    }
}

/// Loads the object. Its program `assign` is loaded too, and nothing is attached.
pub(super) fn load(room: Room, speaks: bool) -> Result<(Ebpf, Maps)> {
    let Some(object) = OBJECT else {
        bail!("this agent was built without the kernel's programs; build it again after `cargo xtask build-ebpf`");
    };
    // A level of 0 takes the messages out of the programs when they are loaded.
    let level = if speaks { 5_u8 } else { 0 };
    let mut ebpf = EbpfLoader::new()
        .map_max_entries("slot_tables", room.slot_tables)
        .map_max_entries("hash_tables", room.hash_tables)
        .map_max_entries("sequences", room.routes)
        .map_max_entries("turns", room.destinations)
        .map_max_entries("loads", room.endpoints)
        .override_global("AYA_LOG_LEVEL", &level, false)
        .load(object)
        .context("the kernel takes no map of the object")?;
    assign(&mut ebpf)?.load().context("the kernel does not take the program `assign`")?;
    let maps = maps(&ebpf)?;
    // Else a program would find nothing at all before the first plan.
    let sides: Vec<u32> = (0..SIDES).collect();
    maps.listeners.clear(&sides)?;
    maps.rules.clear(&sides)?;
    maps.routes.clear(&sides)?;
    maps.destinations.clear(&sides)?;
    maps.endpoints.clear(&sides)?;
    maps.slots.clear(&[0])?;
    Ok((ebpf, maps))
}

/// The program that decides in the handshake.
pub(super) fn assign(ebpf: &mut Ebpf) -> Result<&mut SockOps> {
    let program = ebpf.program_mut("assign").context("the object has no program `assign`")?;
    program.try_into().context("the program `assign` is of another type")
}

/// The program that decides for a flow that is told.
pub(super) fn explain(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    let program = ebpf.program_mut("explain").context("the object has no program `explain`")?;
    program.try_into().context("the program `explain` is of another type")
}

fn maps(ebpf: &Ebpf) -> Result<Maps> {
    let types = sys::map_info(map(ebpf, "plan")?.as_fd())?.btf;
    Ok(Maps {
        plan: Map::new(map(ebpf, "plan")?)?,
        listeners: tables(ebpf, "plan_listeners", "listeners")?,
        rules: tables(ebpf, "plan_rules", "rules")?,
        routes: tables(ebpf, "plan_routes", "routes")?,
        destinations: tables(ebpf, "plan_dests", "destinations")?,
        endpoints: tables(ebpf, "plan_endpoints", "endpoints")?,
        slots: tables(ebpf, "slot_tables", "slots")?,
        places: tables(ebpf, "hash_tables", "places")?,
        sequences: map(ebpf, "sequences")?,
        turns: map(ebpf, "turns")?,
        loads: map(ebpf, "loads")?,
        counts: Map::new(map(ebpf, "counts")?)?,
        events: map(ebpf, "events")?,
        sockets: Map::new(map(ebpf, "sockets")?)?,
        types: sys::types(types).context("the types of the maps cannot be opened")?,
    })
}

fn tables<R: Row>(ebpf: &Ebpf, outer: &str, inner: &str) -> Result<Tables<R>> {
    let empty = map(ebpf, inner)?;
    let like = sys::map_info(empty.as_fd())?;
    // What is made later is like this one, so its rows are checked here.
    Map::<u32, R>::new(empty.try_clone()?).with_context(|| format!("map `{inner}`"))?;
    Ok(Tables { outer: Map::new(map(ebpf, outer)?)?, empty, like, rows: PhantomData })
}

/// A descriptor of a map.
fn map(ebpf: &Ebpf, name: &str) -> Result<OwnedFd> {
    use aya::maps::Map::{Array, ArrayOfMaps, PerCpuArray, RingBuf, SkStorage};
    let data: &MapData = match ebpf.map(name).with_context(|| format!("the object has no map `{name}`"))? {
        Array(data) | ArrayOfMaps(data) | PerCpuArray(data) | RingBuf(data) | SkStorage(data) => data,
        _ => bail!("the map `{name}` is of another type"),
    };
    data.fd().as_fd().try_clone_to_owned().with_context(|| format!("map `{name}`"))
}
