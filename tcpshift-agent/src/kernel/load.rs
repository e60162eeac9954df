//! The object, loaded: its programs, and its maps by their types.
//!
//! Each agent has maps of its own. It must not know plans, nor where anything is attached or pinned.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use aya::maps::MapData;
use aya::programs::{Program, ProgramError, SchedClassifier, SkReuseport, SockOps};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use aya_obj::Object;
use aya_obj::maps::PinningType;
use tcpshift_common::layout::{
    AddressKey, AddressPort, AgentRow, ConnectionRow, CookieRow, CountRow, DestinationRow, EndpointRow, HashRow,
    ListenerRow, ListeningKey, PlanRow, RouteRow, SIDES, SlotTable, SocketRow,
};
use tcpshift_common::listener::RuleRow;

use super::refusal::ProgramRefusal;
use super::sys::{self, Map, MapInfo, MapRow, MappedWords, map_type};

/// The object that `cargo xtask build-ebpf` built, if this agent was compiled with one.
#[cfg(ebpf)]
const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpshift")));
#[cfg(not(ebpf))]
const OBJECT: Option<&[u8]> = None;

/// The object that is built in.
pub(super) const fn built_in() -> Option<&'static [u8]> {
    OBJECT
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

/// What an object is loaded for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose<'a> {
    /// Room for a plan.
    pub(super) room: Room,
    /// Whether programs may log.
    pub(super) speaks: bool,
    /// Programs that steer, if they are wanted.
    pub(super) steering: Option<SteeringConstants<'a>>,
}

/// What programs that steer have to know from the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct SteeringConstants<'a> {
    /// Cookie of the network namespace.
    pub(super) netns: u64,
    /// Sets this agent apart from others: a later one has a greater number.
    pub(super) agent: u64,
    /// Maps that are gone on with, where an agent before has pinned them: of [`LASTING`].
    pub(super) lasting: &'a [(&'static str, PathBuf)],
}

/// A kind of table that is hung into an array of maps.
#[derive(Debug)]
pub(super) struct TableArray<R, K = u32> {
    /// Where they are hung in, by descriptors.
    pub(super) outer: Map<u32, u32>,
    /// What all of them are like, and what hangs where no other does.
    empty: OwnedFd,
    like: MapInfo,
    rows: PhantomData<(K, R)>,
}

impl<R: MapRow> TableArray<R> {
    /// A table with these rows, by their places, which nobody can write to any more.
    pub(super) fn create(&self, types: BorrowedFd<'_>, rows: &[R]) -> io::Result<OwnedFd> {
        let keys: Vec<u32> = (0..rows.len() as u32).collect();
        self.create_by(types, &keys, rows)
    }
}

impl<R: MapRow, K: MapRow> TableArray<R, K> {
    /// A table with these rows, by their keys, which nobody can write to any more.
    pub(super) fn create_by(&self, types: BorrowedFd<'_>, keys: &[K], rows: &[R]) -> io::Result<OwnedFd> {
        // A map has one row at least.
        let table = Map::<K, R>::new(sys::create_like(&self.like, types, (rows.len() as u32).max(1))?)?;
        table.set_all(keys, rows)?;
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
    plan: OwnedFd,
    plan_row: MappedWords,
    pub(super) addresses: TableArray<u32, AddressKey>,
    pub(super) listeners: TableArray<ListenerRow>,
    pub(super) rules: TableArray<RuleRow>,
    pub(super) routes: TableArray<RouteRow>,
    pub(super) destinations: TableArray<DestinationRow>,
    pub(super) endpoints: TableArray<EndpointRow>,
    pub(super) slots: TableArray<SlotTable>,
    pub(super) places: TableArray<HashRow>,
    pub(super) sequences: OwnedFd,
    pub(super) turns: OwnedFd,
    pub(super) loads: OwnedFd,
    pub(super) counts: Map<u32, CountRow>,
    pub(super) events: OwnedFd,
    pub(super) sockets: Map<i32, SocketRow>,
    agent: OwnedFd,
    agent_row: MappedWords,
    pub(super) ports: Map<u32, u64>,
    pub(super) own_endpoints: Map<AddressPort, u32>,
    pub(super) groups: OwnedFd,
    pub(super) sums: OwnedFd,
    pub(super) flows: OwnedFd,
    pub(super) unheld: OwnedFd,
    pub(super) cookies: OwnedFd,
    pub(super) connections: OwnedFd,
    pub(super) listening: Map<ListeningKey, u64>,
    /// The types of all of them.
    pub(super) types: OwnedFd,
}

impl Maps {
    /// The maps that live as long as the agent, by the names they are pinned under.
    pub(super) fn named(&self) -> [(&'static str, BorrowedFd<'_>); 25] {
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
            ("plan_addresses", self.addresses.outer.as_fd()),
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

    /// Switches all programs to a plan, by one write of its index.
    pub(super) fn switch(&self, plan: PlanRow) {
        self.plan_row.write(&plan);
    }

    /// Says to the programs that the agent is there.
    pub(super) fn beat(&self, agent: AgentRow) {
        self.agent_row.write(&agent);
    }

    /// The counters that are shared, as memory: sequences, turns, loads and sums.
    pub(super) fn words(&self) -> io::Result<[MappedWords; 4]> {
        let Self { sequences, turns, loads, sums, .. } = self;
        let [sequences, turns, loads, sums] = [sequences, turns, loads, sums].map(|map| MappedWords::new(map.as_fd()));
        Ok([sequences?, turns?, loads?, sums?])
    }
}

/// What is known of sockets whose connections are steered: by cookie, and in storage of theirs. They outlive agents.
const COOKIES: &str = "cookies";
const CONNECTIONS: &str = "connections";
pub(super) const LASTING: [&str; 2] = [COOKIES, CONNECTIONS];

/// Opens the object and makes its maps. No program is loaded.
pub(super) fn load(purpose: Purpose<'_>) -> Result<(Ebpf, Maps)> {
    let Some(object) = OBJECT else {
        bail!("this agent was built without the kernel's programs; build it again after `cargo xtask build-ebpf`");
    };
    let Purpose { room, speaks, steering } = purpose;
    // A level of 0 takes the messages out of the programs when they are loaded.
    let level = if speaks { 5_u8 } else { 0 };
    let mut loader = EbpfLoader::new();
    set_room(&mut loader, &room);
    loader
        .override_global("AYA_LOG_LEVEL", &level, false)
        // Asked for after a failure only. Errors and statistics are some hundred bytes, so aya asks once; with the
        // instructions they are megabytes, and aya would ask up to ten times for more.
        .verifier_log_level(VerifierLogLevel::STATS);
    match &steering {
        Some(steering) => {
            loader
                .map_max_entries("sums", room.destinations)
                .override_global("NETNS", &steering.netns, true)
                .override_global("AGENT_ID", &steering.agent, true);
            for (name, path) in steering.lasting {
                loader.map_pin_path(name, path);
            }
        }
        // Nobody fills them.
        None => {
            for map in UNUSED_MAPS {
                loader.map_max_entries(map, UNUSED);
            }
        }
    }
    let ebpf = loader.load(object).context("the kernel takes no map of the object")?;
    let maps = maps(&ebpf)?;
    Ok((ebpf, maps))
}

/// Hangs in empty tables: else a program would find nothing at all before the first plan.
pub(super) fn clear(maps: &Maps) -> io::Result<()> {
    let sides: Vec<u32> = (0..SIDES).collect();
    maps.addresses.clear(&sides)?;
    maps.listeners.clear(&sides)?;
    maps.rules.clear(&sides)?;
    maps.routes.clear(&sides)?;
    maps.destinations.clear(&sides)?;
    maps.endpoints.clear(&sides)?;
    maps.slots.clear(&[0])
}

/// Opens the object of another build, whose programs are to be tried and not to be run, and makes its maps, small ones.
pub(super) fn open_other(object: &[u8]) -> Result<Ebpf> {
    // aya would pin these itself, or open what is pinned by such a name: something would be left.
    let cut = |text: String| anyhow::Error::msg(super::refusal::cut(&text, 300));
    let parsed = Object::parse(object).map_err(|error| {
        cut(format!("it is no object of programs, or a damaged one: {:#}", anyhow::Error::new(error)))
    });
    let maps = parsed?.maps;
    let bytes = |map: &aya_obj::Map| u64::from(map.max_entries()) * u64::from(map.key_size() + map.value_size());
    if maps.values().map(bytes).fold(0, u64::saturating_add) > OTHER_MAPS {
        return Err(cut(format!("its maps are to hold more than {} MiB", OTHER_MAPS >> 20)));
    }
    if let Some((name, _)) = maps.iter().find(|(_, map)| map.pinning() != PinningType::None) {
        return Err(cut(format!("its map `{name}` asks to be pinned, as none of tcpshift's does")));
    }
    let room = Room::new(1);
    let mut loader = EbpfLoader::new();
    set_room(&mut loader, &room);
    for map in UNUSED_MAPS {
        loader.map_max_entries(map, UNUSED);
    }
    // Numbers of nobody: the verifier takes out what is never reached, and with 0 that could be more than in an agent.
    loader.override_global("NETNS", &1_u64, false).override_global("AGENT_ID", &1_u64, false);
    loader.override_global("AYA_LOG_LEVEL", &0_u8, false).verifier_log_level(VerifierLogLevel::STATS);
    loader.load(object).map_err(|error| cut(format!("{:#}", anyhow::Error::new(error))))
}

fn set_room(loader: &mut EbpfLoader<'_>, room: &Room) {
    loader
        .map_max_entries("slot_tables", room.slot_tables)
        .map_max_entries("hash_tables", room.hash_tables)
        .map_max_entries("sequences", room.routes)
        .map_max_entries("turns", room.destinations)
        .map_max_entries("loads", room.endpoints);
}

/// Closes the object's own descriptors of its maps, since [`Maps`] has others and two descriptors are a connection. A
/// program that is not loaded by now cannot be loaded any more: its instructions name maps by these descriptors.
pub(super) fn release(ebpf: &mut Ebpf) {
    let names: Vec<String> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        drop(ebpf.take_map(&name));
    }
}

/// Whether a map is as this object has the one of [`LASTING`] with that name, so that it can be gone on with.
pub(super) fn is_like(name: &str, map: BorrowedFd<'_>) -> bool {
    sys::map_info(map).is_ok_and(|info| {
        let (kind, value, entries) = match name {
            COOKIES => (map_type::ARRAY, size_of::<CookieRow>(), tcpshift_common::layout::COOKIES),
            _ => (map_type::SK_STORAGE, size_of::<ConnectionRow>(), 0),
        };
        (info.kind, info.key as usize, info.value as usize, info.entries) == (kind, size_of::<u32>(), value, entries)
    })
}

/// Maps that nobody fills where no program steers.
const UNUSED_MAPS: [&str; 6] = ["flows", "unheld", "listening", "own_endpoints", "groups", COOKIES];

/// Bytes that rows of another build's maps may have.
const OTHER_MAPS: u64 = 1 << 30;

/// Rows of a map that is not used; the kernel wants some for each processor.
const UNUSED: u32 = 1024;

/// The program that decides in the handshake.
pub(super) fn assign(ebpf: &mut Ebpf) -> Result<&mut SockOps> {
    program(ebpf, "assign")
}

/// The program that decides for a flow that is told.
pub(super) fn explain(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    program(ebpf, "explain")
}

/// All programs, in the order in which they are tried, by name and by type as `bpftool` has it.
pub(super) const PROGRAMS: [(&str, &str); 9] = [
    ("assign", "sock_ops"),
    ("explain", "sched_cls"),
    ("connect4", "cgroup_sock_addr"),
    ("connect6", "cgroup_sock_addr"),
    ("getpeername4", "cgroup_sock_addr"),
    ("getpeername6", "cgroup_sock_addr"),
    ("lookup", "sk_lookup"),
    ("record", "sock_ops"),
    ("refuse", "sk_reuseport"),
];

/// Has the kernel take a program, unless it has it. The error is a [`ProgramRefusal`] where the kernel refuses.
pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd> {
    let found = ebpf.program_mut(name).with_context(|| format!("the object has no program `{name}`"))?;
    let is_taken = found.fd().is_ok();
    let loaded = match found {
        _ if is_taken => Ok(()),
        Program::SockOps(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::SkLookup(program) => program.load(),
        Program::SkReuseport(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        _ => bail!("the program `{name}` is of another type"),
    };
    loaded.map_err(|error| match ProgramRefusal::of(name, &error) {
        Some(refusal) => anyhow::Error::new(refusal),
        None => anyhow::Error::new(error).context(format!("the program `{name}` cannot be loaded")),
    })?;
    Ok(found.fd()?.as_fd().try_clone_to_owned()?)
}

/// How many instructions the verifier followed in a program that the kernel has; None if the kernel does not say (before
/// Linux 5.16).
pub(super) fn verified(ebpf: &Ebpf, name: &str) -> Result<Option<u32>> {
    let program = ebpf.program(name).with_context(|| format!("the object has no program `{name}`"))?;
    let info = program.info().with_context(|| format!("the program `{name}` says nothing of itself"))?;
    Ok(info.verified_instruction_count())
}

/// Attaches the program `refuse`, which the kernel has, to the group of a socket that others may share the port with.
pub(super) fn attach_refuse(ebpf: &mut Ebpf, socket: BorrowedFd<'_>) -> Result<()> {
    let program: &mut SkReuseport = program(ebpf, "refuse")?;
    program.attach(socket).context("cannot attach `refuse` to a socket of the agent")
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).with_context(|| format!("the object has no program `{name}`"))?;
    program.try_into().with_context(|| format!("the program `{name}` is of another type"))
}

fn maps(ebpf: &Ebpf) -> Result<Maps> {
    let types = sys::map_info(map(ebpf, "plan")?.as_fd())?.btf;
    Ok(Maps {
        plan_row: row::<PlanRow>(ebpf, "plan")?,
        plan: map(ebpf, "plan")?,
        addresses: tables(ebpf, "plan_addresses", "addresses")?,
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

/// The one row of a map as memory, since programs read words of it while it is written: what bpf(2) writes, it copies, and
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
pub(super) fn map(ebpf: &Ebpf, name: &str) -> Result<OwnedFd> {
    use aya::maps::Map::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SkStorage, SockHash};
    let data: &MapData = match ebpf.map(name).with_context(|| format!("the object has no map `{name}`"))? {
        Array(data) | ArrayOfMaps(data) | HashMap(data) | LpmTrie(data) | LruHashMap(data) | PerCpuArray(data)
        | RingBuf(data) | SkStorage(data) | SockHash(data) => data,
        _ => bail!("the map `{name}` is of another type"),
    };
    data.fd().as_fd().try_clone_to_owned().with_context(|| format!("map `{name}`"))
}
