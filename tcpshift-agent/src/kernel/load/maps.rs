//! Every map of the object by its type, and the tables that are hung into arrays of maps.

use std::io;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result, bail};
use aya::Ebpf;
use aya::maps::MapData;
use tcpshift_common::layout::{
    AddressKey, AddressPort, AgentRow, ConnectionRow, CookieRow, CountRow, DestinationRow, EndpointRow, HashRow,
    ListenerRow, ListeningKey, NamedDestinationRow, PlanRow, RouteRow, SUM_WORDS, SideRow, SlotTable, SocketRow,
    SumRow, TABLES, WideSlotTable,
};
use tcpshift_common::listener::RuleRow;

use crate::kernel::sys::{self, Map, MapInfo, MapRow, MappedWords, map_type};

/// A kind of table that is hung into an array of maps.
#[derive(Debug)]
pub(in crate::kernel) struct TableArray<R, K = u32> {
    /// The array of maps, by descriptors of tables.
    pub(in crate::kernel) outer: Map<u32, u32>,
    /// The empty table, which fills cells without another one and is the pattern for new ones.
    empty: OwnedFd,
    like: MapInfo,
    rows: PhantomData<(K, R)>,
}

impl<R: MapRow> TableArray<R> {
    /// A table with these rows, by their indices. It is frozen: bpf(2) refuses to write to it.
    pub(in crate::kernel) fn create(&self, types: BorrowedFd<'_>, rows: &[R]) -> io::Result<OwnedFd> {
        let keys: Vec<u32> = (0..rows.len() as u32).collect();
        self.create_by(types, &keys, rows)
    }
}

impl<R: MapRow, K: MapRow> TableArray<R, K> {
    /// A table with these rows, by their keys. It is frozen: bpf(2) refuses to write to it.
    pub(in crate::kernel) fn create_by(&self, types: BorrowedFd<'_>, keys: &[K], rows: &[R]) -> io::Result<OwnedFd> {
        // A map has one row at least.
        let table = Map::<K, R>::new(sys::create_like(&self.like, types, (rows.len() as u32).max(1))?)?;
        table.set_all(keys, rows)?;
        sys::freeze(table.as_fd())?;
        table.as_fd().try_clone_to_owned()
    }

    /// A table with one row, which is all zero and to be written before programs read it.
    pub(in crate::kernel) fn create_empty(&self, types: BorrowedFd<'_>) -> io::Result<Map<K, R>> {
        Map::new(sys::create_like(&self.like, types, 1)?)
    }

    /// Rows that are memory of this process too, all zero; to be written before programs read them.
    pub(in crate::kernel) fn create_memory(
        &self,
        types: BorrowedFd<'_>,
        rows: u32,
    ) -> io::Result<(OwnedFd, MappedWords)> {
        memory_like(&self.like, types, rows)
    }

    /// Hangs tables into cells, in one call. It returns when every program that could still read the old tables has ended.
    pub(in crate::kernel) fn hang(&self, at: &[u32], tables: &[BorrowedFd<'_>]) -> io::Result<()> {
        let tables: Vec<u32> = tables.iter().map(|table| table.as_raw_fd() as u32).collect();
        self.outer.set_all(at, &tables)
    }

    /// Hangs the empty table into these cells.
    pub(in crate::kernel) fn clear(&self, at: &[u32]) -> io::Result<()> {
        self.hang(at, &vec![self.empty.as_fd(); at.len()])
    }
}

/// Makes a map like another one, with so many rows, as memory.
fn memory_like(like: &MapInfo, types: BorrowedFd<'_>, rows: u32) -> io::Result<(OwnedFd, MappedWords)> {
    let map = sys::create_like(like, types, rows)?;
    let memory = MappedWords::new(map.as_fd())?;
    Ok((map, memory))
}

/// Every map of the object.
#[derive(Debug)]
pub(in crate::kernel) struct Maps {
    plan: OwnedFd,
    plan_row: MappedWords,
    sides: OwnedFd,
    side_rows: MappedWords,
    pub(in crate::kernel) addresses: TableArray<u32, AddressKey>,
    pub(in crate::kernel) listeners: TableArray<ListenerRow>,
    pub(in crate::kernel) rules: TableArray<RuleRow>,
    pub(in crate::kernel) routes: TableArray<RouteRow>,
    pub(in crate::kernel) destinations: TableArray<DestinationRow>,
    pub(in crate::kernel) slots: TableArray<SlotTable>,
    pub(in crate::kernel) wide_slots: TableArray<WideSlotTable>,
    sets: OwnedFd,
    set_words: MappedWords,
    pub(in crate::kernel) set_chunks: TableArray<EndpointRow>,
    pub(in crate::kernel) hash_chunks: TableArray<HashRow>,
    /// What a table of the names of destinations is like.
    named_destinations: MapInfo,
    pub(in crate::kernel) sequences: OwnedFd,
    pub(in crate::kernel) turns: OwnedFd,
    pub(in crate::kernel) endpoint_sums: OwnedFd,
    pub(in crate::kernel) counts: Map<u32, CountRow>,
    pub(in crate::kernel) events: OwnedFd,
    pub(in crate::kernel) sockets: Map<i32, SocketRow>,
    agent: OwnedFd,
    agent_row: MappedWords,
    pub(in crate::kernel) ports: Map<u32, u64>,
    pub(in crate::kernel) own_endpoints: Map<AddressPort, u32>,
    pub(in crate::kernel) groups: OwnedFd,
    pub(in crate::kernel) sums: OwnedFd,
    pub(in crate::kernel) flows: OwnedFd,
    pub(in crate::kernel) unheld: OwnedFd,
    pub(in crate::kernel) cookies: OwnedFd,
    pub(in crate::kernel) connections: OwnedFd,
    pub(in crate::kernel) listening: Map<ListeningKey, u64>,
    /// The types of all of them.
    pub(in crate::kernel) types: OwnedFd,
}

impl Maps {
    /// The maps that live as long as the agent, by the names they are pinned under.
    pub(in crate::kernel) fn named(&self) -> [(&'static str, BorrowedFd<'_>); 28] {
        [
            ("plan", self.plan.as_fd()),
            ("sides", self.sides.as_fd()),
            ("address_tables", self.addresses.outer.as_fd()),
            ("listener_tables", self.listeners.outer.as_fd()),
            ("rule_tables", self.rules.outer.as_fd()),
            ("route_tables", self.routes.outer.as_fd()),
            ("dest_tables", self.destinations.outer.as_fd()),
            ("slot_tables", self.slots.outer.as_fd()),
            ("wide_tables", self.wide_slots.outer.as_fd()),
            ("sets", self.sets.as_fd()),
            ("set_chunks", self.set_chunks.outer.as_fd()),
            ("hash_chunks", self.hash_chunks.outer.as_fd()),
            ("sequences", self.sequences.as_fd()),
            ("turns", self.turns.as_fd()),
            ("endpoint_sums", self.endpoint_sums.as_fd()),
            ("counts", self.counts.as_fd()),
            ("events", self.events.as_fd()),
            ("sockets", self.sockets.as_fd()),
            ("agent", self.agent.as_fd()),
            ("ports", self.ports.as_fd()),
            ("own_endpoints", self.own_endpoints.as_fd()),
            ("groups", self.groups.as_fd()),
            ("sums", self.sums.as_fd()),
            ("flows", self.flows.as_fd()),
            ("unheld", self.unheld.as_fd()),
            (COOKIES, self.cookies.as_fd()),
            (CONNECTIONS, self.connections.as_fd()),
            ("listening", self.listening.as_fd()),
        ]
    }

    /// The map by which programs know the plan in force.
    pub(in crate::kernel) fn plan(&self) -> BorrowedFd<'_> {
        self.plan.as_fd()
    }

    /// Switches all programs to a plan, by one write of its index.
    pub(in crate::kernel) fn switch(&self, plan: PlanRow) {
        self.plan_row.write(&plan);
    }

    /// Says what the plan of a side has. No program may read that side.
    pub(in crate::kernel) fn write_side(&self, side: usize, row: &SideRow) {
        self.side_rows.write_at(side, row);
    }

    /// Has a set begin elsewhere from now on.
    pub(in crate::kernel) fn put_set(&self, set: u32, begins: u64) {
        self.set_words.write_at(set as usize, &begins);
    }

    /// Rows for the names of destinations, all zero.
    pub(in crate::kernel) fn name_destinations(&self, rows: u32) -> io::Result<(OwnedFd, MappedWords)> {
        memory_like(&self.named_destinations, self.types.as_fd(), rows.max(1))
    }

    /// Says to the programs that the agent is there.
    pub(in crate::kernel) fn beat(&self, agent: AgentRow) {
        self.agent_row.write(&agent);
    }

    /// Whether any steered connection is counted as open.
    pub(in crate::kernel) fn are_connections_open(&self) -> io::Result<bool> {
        let sums = MappedWords::new(self.sums.as_fd())?;
        let active =
            sums.as_ref().iter().skip(offset_of!(SumRow, active) / size_of::<u64>()).step_by(SUM_WORDS as usize);
        Ok(active.into_iter().any(|count| count.load(Relaxed) != 0))
    }

    /// The counters that are shared, as memory: sequences, turns, sums of endpoints and sums of destinations.
    pub(in crate::kernel) fn words(&self) -> io::Result<[MappedWords; 4]> {
        let maps = [&self.sequences, &self.turns, &self.endpoint_sums, &self.sums];
        let [sequences, turns, endpoints, sums] = maps.map(|map| MappedWords::new(map.as_fd()));
        Ok([sequences?, turns?, endpoints?, sums?])
    }
}

/// What is known of sockets whose connections are steered: by cookie, and in storage of theirs. They outlive agents.
pub(super) const COOKIES: &str = "cookies";
const CONNECTIONS: &str = "connections";
pub(in crate::kernel) const LASTING: [&str; 2] = [COOKIES, CONNECTIONS];

/// Hangs in empty tables: else a program would find nothing at all before the first plan.
pub(in crate::kernel) fn clear(maps: &Maps) -> io::Result<()> {
    let all: Vec<u32> = (0..TABLES).collect();
    maps.addresses.clear(&all)?;
    maps.listeners.clear(&all)?;
    maps.rules.clear(&all)?;
    maps.routes.clear(&all)?;
    maps.destinations.clear(&all)?;
    maps.slots.clear(&[0])
}

/// Whether a map is as this object has the one of [`LASTING`] with that name, so that it can be gone on with.
pub(in crate::kernel) fn is_like(name: &str, map: BorrowedFd<'_>) -> io::Result<bool> {
    sys::map_info(map).map(|info| {
        let (kind, value, entries) = match name {
            COOKIES => (map_type::ARRAY, size_of::<CookieRow>(), tcpshift_common::layout::COOKIES),
            _ => (map_type::SK_STORAGE, size_of::<ConnectionRow>(), 0),
        };
        (info.kind, info.key as usize, info.value as usize, info.entries) == (kind, size_of::<u32>(), value, entries)
    })
}

/// Opens all maps of an object that is loaded.
pub(super) fn maps(ebpf: &Ebpf) -> Result<Maps> {
    let types = sys::map_info(map(ebpf, "plan")?.as_fd())?.btf;
    Ok(Maps {
        plan_row: row::<PlanRow>(ebpf, "plan")?,
        plan: map(ebpf, "plan")?,
        side_rows: row::<SideRow>(ebpf, "sides")?,
        sides: map(ebpf, "sides")?,
        addresses: tables(ebpf, "address_tables", "addresses")?,
        listeners: tables(ebpf, "listener_tables", "listeners")?,
        rules: tables(ebpf, "rule_tables", "rules")?,
        routes: tables(ebpf, "route_tables", "routes")?,
        destinations: tables(ebpf, "dest_tables", "plan_dests")?,
        slots: tables(ebpf, "slot_tables", "slots")?,
        wide_slots: tables(ebpf, "wide_tables", "wide_slots")?,
        set_words: row::<u64>(ebpf, "sets")?,
        sets: map(ebpf, "sets")?,
        set_chunks: tables(ebpf, "set_chunks", "endpoints")?,
        hash_chunks: tables(ebpf, "hash_chunks", "hashes")?,
        named_destinations: named_destinations(ebpf)?,
        sequences: map(ebpf, "sequences")?,
        turns: map(ebpf, "turns")?,
        endpoint_sums: map(ebpf, "endpoint_sums")?,
        counts: Map::new(map(ebpf, "counts")?)?,
        events: map(ebpf, "events")?,
        sockets: Map::new(map(ebpf, "sockets")?)?,
        agent_row: row::<AgentRow>(ebpf, "agent")?,
        agent: map(ebpf, "agent")?,
        ports: Map::new(map(ebpf, "ports")?)?,
        own_endpoints: Map::new(map(ebpf, "own_endpoints")?)?,
        groups: map(ebpf, "groups")?,
        sums: map(ebpf, "sums")?,
        flows: map(ebpf, "flows")?,
        unheld: map(ebpf, "unheld")?,
        cookies: map(ebpf, COOKIES)?,
        connections: map(ebpf, CONNECTIONS)?,
        listening: Map::new(map(ebpf, "listening")?)?,
        types: sys::types(types).context("the types of the maps cannot be opened")?,
    })
}

fn named_destinations(ebpf: &Ebpf) -> Result<MapInfo> {
    let name = "destinations";
    let map = map(ebpf, name)?;
    Map::<u32, NamedDestinationRow>::new(map.try_clone()?).with_context(|| format!("map `{name}`"))?;
    Ok(sys::map_info(map.as_fd())?)
}

/// The rows of a map as memory, since programs read words of it while it is written: what bpf(2) writes, it copies, and
/// nothing says in which pieces (`array_map_update_elem`, 6.18,
/// <https://elixir.bootlin.com/linux/v6.18/source/kernel/bpf/arraymap.c>).
fn row<R: MapRow>(ebpf: &Ebpf, name: &str) -> Result<MappedWords> {
    let map = map(ebpf, name)?;
    Map::<u32, R>::new(map.try_clone()?).with_context(|| format!("map `{name}`"))?;
    MappedWords::new(map.as_fd()).with_context(|| format!("the map `{name}` cannot be mapped as memory"))
}

fn tables<R: MapRow, K: MapRow>(ebpf: &Ebpf, outer: &str, inner: &str) -> Result<TableArray<R, K>> {
    let empty = map(ebpf, inner)?;
    let like = sys::map_info(empty.as_fd())?;
    // What is made later is like this one, so its rows are checked here.
    Map::<K, R>::new(empty.try_clone()?).with_context(|| format!("map `{inner}`"))?;
    Ok(TableArray { outer: Map::new(map(ebpf, outer)?)?, empty, like, rows: PhantomData })
}

/// A descriptor of a map.
pub(in crate::kernel) fn map(ebpf: &Ebpf, name: &str) -> Result<OwnedFd> {
    use aya::maps::Map::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SkStorage, SockHash};
    let data: &MapData = match ebpf.map(name).with_context(|| format!("the object has no map `{name}`"))? {
        Array(data) | ArrayOfMaps(data) | HashMap(data) | LpmTrie(data) | LruHashMap(data) | PerCpuArray(data)
        | RingBuf(data) | SkStorage(data) | SockHash(data) => data,
        _ => bail!("the map `{name}` is of another type"),
    };
    data.fd().as_fd().try_clone_to_owned().with_context(|| format!("map `{name}`"))
}
