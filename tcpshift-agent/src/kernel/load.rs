//! The object, loaded: its programs, and its maps by their types.
//!
//! Each agent has maps of its own, but for those that last ([`maps`]): it goes on with them if they have the right form.

mod maps;
mod old;
mod programs;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use aya_obj::Object;
use aya_obj::maps::PinningType;

use self::maps::COOKIES;
pub(super) use self::maps::{LASTING, Maps, TableArray, clear, is_like, map};
pub(super) use self::old::fit;
pub(super) use self::programs::{
    Ability, At, LoadedPrograms, PROGRAMS, ProgramRow, assign, attach_refuse, explain, take, verified,
};

use super::features::Features;

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
    /// Chunks of hash tables, likewise: one may have a chunk of its own.
    pub(super) hash_chunks: u32,
    /// Endpoint sets, likewise.
    pub(super) sets: u32,
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
            hash_chunks: most(2).saturating_add(1),
            sets: most(8).saturating_add(1),
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
    /// What the kernel has.
    pub(super) features: Features,
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

/// Opens the object and makes its maps. No program is loaded.
pub(super) fn load(purpose: Purpose<'_>) -> Result<(Ebpf, Maps)> {
    let Some(object) = OBJECT else {
        bail!("this agent was built without the kernel's programs; build it again after `cargo xtask build-ebpf`");
    };
    let Purpose { room, speaks, features, steering } = purpose;
    // A level of 0 takes the messages out of the programs when they are loaded.
    let level = if speaks { 5_u8 } else { 0 };
    let kernel = features.of_programs();
    let mut loader = EbpfLoader::new();
    set_room(&mut loader, &room);
    loader
        .override_global("AYA_LOG_LEVEL", &level, false)
        .override_global("KERNEL", &kernel, true)
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
        // Without programs that steer these maps stay empty.
        None => {
            for map in UNUSED_MAPS {
                loader.map_max_entries(map, UNUSED);
            }
        }
    }
    let ebpf = loader.load(&old::fit(object, features)?).context("the kernel takes no map of the object")?;
    let maps = maps::maps(&ebpf)?;
    Ok((ebpf, maps))
}

/// Opens the object of another build, whose programs are to be tried and not to be run, and makes its maps, small ones.
pub(super) fn open_other(object: &[u8], features: Features) -> Result<Ebpf> {
    // aya would pin these itself, or open what is pinned by such a name: something would be left.
    let cut = |text: String| anyhow::Error::msg(super::verifier::cut(&text, 300));
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
    // Any number but 0: the verifier removes code that is never reached, and with 0 it could remove more than in an agent.
    let kernel = features.of_programs();
    loader.override_global("NETNS", &1_u64, false).override_global("AGENT_ID", &1_u64, false);
    loader.override_global("KERNEL", &kernel, false);
    loader.override_global("AYA_LOG_LEVEL", &0_u8, false).verifier_log_level(VerifierLogLevel::STATS);
    loader.load(object).map_err(|error| cut(format!("{:#}", anyhow::Error::new(error))))
}

fn set_room(loader: &mut EbpfLoader<'_>, room: &Room) {
    loader
        .map_max_entries("slot_tables", room.slot_tables)
        .map_max_entries("wide_tables", room.slot_tables)
        .map_max_entries("hash_chunks", room.hash_chunks)
        .map_max_entries("sets", room.sets)
        .map_max_entries("sequences", room.routes)
        .map_max_entries("turns", room.destinations)
        .map_max_entries("endpoint_sums", room.endpoints);
}

/// Closes the object's own descriptors of its maps, since [`Maps`] has others and two descriptors are a connection. A
/// program that is not loaded by now cannot be loaded any more: its instructions name maps by these descriptors.
pub(super) fn release(ebpf: &mut Ebpf) {
    let names: Vec<String> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        drop(ebpf.take_map(&name));
    }
}

/// Maps that stay empty where no program steers.
const UNUSED_MAPS: [&str; 6] = ["flows", "unheld", "listening", "own_endpoints", "groups", COOKIES];

/// Bytes that rows of another build's maps may have.
const OTHER_MAPS: u64 = 1 << 30;

/// Rows of a map that is not used; the kernel wants some for each processor.
const UNUSED: u32 = 1024;
