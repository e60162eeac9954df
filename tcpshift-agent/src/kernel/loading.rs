//! How a [`Kernel`] is made: maps first, of which some may be those of an agent before, then programs.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::Ebpf;

use super::cgroup::Cgroup;
use super::features::Features;
use super::load::{self, Maps, Room};
use super::need::Needed;
use super::pins::Pins;
use super::publish::Publisher;
use super::sockets::Sockets;
use super::steering::{self, Heart, OnLoss, Steering, SteeringOptions};
use super::{EndpointListeners, Kernel, KernelOptions, capabilities, error_at, events, lost, netns, sys};

/// How often, and with which pauses, maps of an agent before are asked for.
const LASTING_TRIES: u32 = 5;
const LASTING_PAUSE: Duration = Duration::from_millis(20);

impl KernelOptions {
    /// For a trial: one route, and clients are the programs of this process's cgroup alone, so that nobody else is affected.
    pub(super) fn of_this_cgroup() -> Result<Self> {
        let cgroup = Some(Cgroup::own()?.path);
        let asked = SteeringOptions { cgroup, on_loss: OnLoss::Keep, patience: Duration::ZERO };
        Ok(Self { max_routes: 1, steering: Ok(asked) })
    }
}

/// What a [`Kernel`] is made of: maps, and programs that the kernel is yet to take.
pub(super) struct Loading {
    pub(super) ebpf: Ebpf,
    maps: Maps,
    cgroup: Cgroup,
    room: Room,
    pub(super) features: Features,
    /// What is asked of programs that steer; or why there are to be none.
    pub(super) steering: Result<SteeringOptions, String>,
    /// Sets this agent apart from others.
    agent: u64,
}

impl Loading {
    /// Makes the maps. No program is loaded.
    pub(super) fn open(wanted: &KernelOptions) -> Result<Self> {
        let missing = capabilities::missing()?;
        if !missing.is_empty() {
            bail!("this process lacks {}; run the agent as root, or by a unit that gives them", missing.join(", "));
        }
        let cgroup = Cgroup::own()?;
        let room = Room::new(wanted.max_routes);
        let speaks = log::log_enabled!(target: events::PROGRAMS, log::Level::Debug);
        let features = Features::probe()?;
        let netns = wanted.steering.clone().and_then(|asked| {
            let known = steering::own_number_is_global().and_then(|()| netns::cookie());
            known.map(|netns| (asked, netns)).map_err(|error| format!("{error:#}"))
        });
        let agent = steering::now();
        let load = |lasting: &[(&'static str, PathBuf)]| {
            let purpose =
                netns.as_ref().ok().map(|(_, netns)| load::SteeringConstants { netns: *netns, agent, lasting });
            load::load(load::Purpose { room, speaks, features, steering: purpose })
        };
        let (ebpf, maps) = if netns.is_ok() { load_lasting(load)? } else { load(&[])? };
        Ok(Self { ebpf, maps, cgroup, room, features, steering: netns.map(|(asked, _)| asked), agent })
    }

    /// Has the kernel take the programs that it has not yet, and attaches those that steer.
    pub(super) fn finish(self) -> Result<Kernel> {
        let Self { mut ebpf, maps, cgroup, room, features, steering, agent } = self;
        load::take(&mut ebpf, "assign")?;
        load::clear(&maps).context("the maps cannot be filled")?;
        let maps = Arc::new(maps);
        let (steering, heart) = match steering {
            Err(reason) => (Err(reason), None),
            Ok(asked) => {
                let loaded = Steering::load(&mut ebpf, &asked).map_err(|error| format!("{error:#}"));
                if loaded.is_ok() {
                    lost::watch(&maps, agent);
                }
                (loaded, Some(Heart::new(Arc::clone(&maps), asked)))
            }
        };
        let processors = aya::util::nr_cpus().map_err(|(path, error)| error_at(path, error))?;
        let sockets = Sockets::new(sys::Map::new(maps.sockets.as_fd().try_clone_to_owned()?)?);
        let publisher = Publisher::new(Arc::clone(&maps), room);
        Ok(Kernel {
            ebpf,
            listening: EndpointListeners::new(Arc::clone(&maps))?,
            maps,
            agent,
            cgroup,
            features,
            publisher,
            sockets: Arc::new(sockets),
            steering,
            needed: Needed::default(),
            heart,
            pins: None,
            trial: None,
            is_seized: false,
            is_shown: false,
            is_settled: false,
            links: Vec::new(),
            left: Vec::new(),
            processors,
        })
    }
}

/// Loads with the maps that an agent before has pinned, which may be removed or replaced at that very moment:
/// then it is tried again, and at last without them. Clients whose connections were steered are then told the endpoint.
fn load_lasting<T>(load: impl Fn(&[(&'static str, PathBuf)]) -> Result<T>) -> Result<T> {
    for _ in 0..LASTING_TRIES {
        match Pins::lasting() {
            Ok(lasting) => match load(&lasting) {
                Err(error) if !lasting.is_empty() => log::debug!("what an agent before has pinned: {error:#}"),
                done => return done,
            },
            Err(error) => log::debug!("what an agent before has pinned cannot be looked at: {error}"),
        }
        std::thread::sleep(LASTING_PAUSE);
    }
    log::warn!("what is known of steered connections begins anew: the maps of the agent before cannot be opened");
    load(&[])
}
