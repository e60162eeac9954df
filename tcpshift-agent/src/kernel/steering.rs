//! The programs that steer, and their links: to the cgroup of the clients, to the root of all cgroups, and to this network
//! namespace.
//!
//! They are attached when a plan needs them, before it is in force, and do nothing until then. So an agent that follows another
//! puts its own plan in force first, and only then lets go of what the other has left: no connection meets a gap.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::Ebpf;
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};
use tcpshift_common::layout::{AgentRow, ListeningKey, loss};

use super::cgroup::Cgroup;
use super::clients::Clients;
use super::load::{self, Ability, At, LoadedPrograms, Maps, PROGRAMS};
use super::need::Need;
use super::pins::Pins;
use super::sys;

/// The network namespace of this process.
const NETNS: &str = "/proc/self/ns/net";

/// What becomes of new connections that the kernel steers when the agent is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// They go on as the last plan says.
    Keep,
    /// They all go to the first destination of their route that has a weight.
    First,
    /// They are refused.
    Refuse,
}

/// What is asked of programs that steer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteeringOptions {
    /// Whose programs are clients; the root of all cgroups if it is not said.
    pub cgroup: Option<PathBuf>,
    /// What holds when the agent is lost.
    pub on_loss: OnLoss,
    /// How long it may be silent before it counts as lost.
    pub patience: Duration,
}

/// Programs that steer: which the kernel has, and what is attached.
#[derive(Debug)]
pub(super) struct Steering {
    /// Why clients cannot be pointed at endpoints, if so.
    pub(super) connect: Result<(), String>,
    /// Why connections cannot be handed over, if so.
    pub(super) lookup: Result<(), String>,
    programs: LoadedPrograms,
    root: Cgroup,
    netns: File,
    /// `record` at the root of all cgroups.
    record: Option<(String, OwnedFd)>,
    /// `lookup` in this network namespace.
    handing: Option<Handing>,
    /// Those in connect(2).
    pub(super) clients: Clients,
}

/// `lookup`, attached.
#[derive(Debug)]
struct Handing {
    link: (String, OwnedFd),
    /// The socket that `lookup` hands packets of refused connections to. Once it is closed, the kernel refuses them uncounted.
    _refuser: Socket,
}

impl Steering {
    /// Has the kernel take the programs. One that it refuses takes away what cannot be done without it.
    pub(super) fn load(ebpf: &mut Ebpf, asked: &SteeringOptions) -> Result<Self> {
        let clients = match &asked.cgroup {
            Some(path) => Cgroup::open(path)?,
            None => Cgroup::root()?,
        };
        let (root, netns) = (Cgroup::root()?, File::open(NETNS).with_context(|| format!("cannot open {NETNS}"))?);
        let mut programs = LoadedPrograms::default();
        let mut of = |ability| {
            for row in PROGRAMS.iter().filter(|row| row.is_for(ability)) {
                if programs.get(row.name).is_err() {
                    let program = load::take(ebpf, row.name).map_err(|error| format!("{error:#}"))?;
                    programs.add(row.name, program);
                }
            }
            Ok(())
        };
        let (connect, lookup) = (of(Ability::Connect), of(Ability::Lookup));
        let clients = Clients::new(&clients);
        Ok(Self { connect, lookup, programs, root, netns, record: None, handing: None, clients })
    }

    /// Attaches what is needed and can be had, and is not attached. If it fails, what is attached by then stays.
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf, maps: &Maps, need: Need) -> Result<()> {
        let (connect, lookup) = (need.connect && self.connect.is_ok(), need.lookup && self.lookup.is_ok());
        // First what counts, then what there is to be counted.
        if (connect || lookup || need.listening && self.lookup.is_ok()) && self.record.is_none() {
            let target = (self.root.as_fd(), &*self.root.named(), self.root.number);
            self.record = Some(self.link(|at| matches!(at, At::Root(_)), target)?);
        }
        if lookup && self.handing.is_none() {
            let refuser = refuser(ebpf, maps)?;
            let number = self.netns.metadata().with_context(|| format!("cannot look at {NETNS}"))?.ino();
            let target = (self.netns.as_fd(), "this network namespace", number);
            let link = self.link(|at| matches!(at, At::Netns(_)), target)?;
            self.handing = Some(Handing { link, _refuser: refuser });
        }
        if connect && self.clients.links.is_empty() {
            self.clients.attach(&self.programs)?;
        }
        Ok(())
    }

    /// Attaches the one program that is attached there, and names its link after it and the number of the target.
    fn link(
        &self,
        is_there: fn(&At) -> bool,
        (to, named, number): (BorrowedFd<'_>, &str, u64),
    ) -> Result<(String, OwnedFd)> {
        let row = PROGRAMS.iter().find(|row| is_there(&row.at)).context("no program is attached there")?;
        Ok((format!("{}-{number}", row.name), row.attach(&self.programs, to, named)?))
    }

    /// Detaches what is not needed. Returns under which names it was pinned.
    pub(super) fn detach(&mut self, need: Need) -> Vec<String> {
        let mut gone = Vec::new();
        if !need.connect {
            gone.append(&mut self.clients.links);
        }
        if !need.lookup {
            gone.extend(self.handing.take().map(|handing| handing.link));
        }
        if need == Need::default() {
            gone.extend(self.record.take());
        }
        gone.into_iter().map(|(name, _)| name).collect()
    }

    /// Whether something is attached that is not needed.
    pub(super) fn has_more(&self, need: Need) -> bool {
        !need.connect && !self.clients.links.is_empty()
            || !need.lookup && self.handing.is_some()
            || need == Need::default() && self.record.is_some()
    }

    /// Attaches the programs of clients anew if another cgroup has the folder by now: see [`Clients::look`].
    pub(super) fn look_after_clients(&mut self) -> Result<Vec<String>> {
        self.clients.look(&self.programs)
    }

    /// Pins what is attached. Returns under which paths.
    pub(super) fn pin(&self, pins: &Pins) -> Result<Vec<PathBuf>> {
        for (name, link) in self.links() {
            pins.pin_link(name, link.as_fd())?;
        }
        Ok(self.links().map(|(name, _)| pins.link(name)).collect())
    }

    /// All links, by the names that they are pinned under.
    pub(super) fn links(&self) -> impl Iterator<Item = &(String, OwnedFd)> {
        let handing = self.handing.as_ref().map(|handing| &handing.link);
        self.record.iter().chain(handing).chain(&self.clients.links)
    }
}

/// A listening socket whose group has the program `refuse`, which accepts no connection. It is an IPv6 socket for both
/// families, or an IPv4 socket where there is no IPv6.
fn refuser(ebpf: &mut Ebpf, maps: &Maps) -> Result<Socket> {
    let listen = |ip: IpAddr| -> io::Result<Socket> {
        let at = SocketAddr::new(ip, 0);
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
        if ip.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_port(true)?;
        socket.bind(&at.into())?;
        Ok(socket)
    };
    let socket = listen(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()).or_else(|_| listen(Ipv4Addr::LOCALHOST.into()));
    let socket = socket.context("cannot open a socket on 127.0.0.1 to refuse connections by")?;
    load::attach_refuse(ebpf, socket.as_fd())?;
    socket.listen(1).context("cannot listen on 127.0.0.1 to refuse connections by")?;
    let value = u64::from(socket.as_raw_fd().cast_unsigned());
    maps.listening.set(&ListeningKey::REFUSER, &value).context("cannot tell the programs how to refuse")?;
    Ok(socket)
}

/// Detaches a link that is pinned.
pub(super) fn detach(path: &Path, link: &OwnedFd) {
    if let Err(error) = sys::detach(link.as_fd()) {
        // Its cgroup or its network namespace is gone.
        log::debug!("{}: {error}", path.display());
    }
}

/// The monotonic clock, in nanoseconds, as programs have it.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Says to the programs that this agent is there, and what holds if it is not.
#[derive(Clone, Debug)]
pub struct Heart {
    maps: Arc<Maps>,
    asked: SteeringOptions,
}

impl Heart {
    pub(super) fn new(maps: Arc<Maps>, asked: SteeringOptions) -> Self {
        Self { maps, asked }
    }

    /// To be called more often than the agent may be silent.
    pub fn beat(&self) {
        let beat = now();
        let on_loss = match self.asked.on_loss {
            OnLoss::Keep => loss::KEEP,
            OnLoss::First => loss::FIRST,
            OnLoss::Refuse => loss::REFUSE,
        };
        let patience = u64::try_from(self.asked.patience.as_nanos()).unwrap_or(u64::MAX);
        let row = AgentRow { beat, patience, on_loss, process: std::process::id() };
        self.maps.beat(row);
    }
}

/// The number of the first pid namespace (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Fails in any pid namespace but the first: programs know processes by their numbers there, and could not tell the agent's
/// own connections.
pub(super) fn own_number_is_global() -> Result<()> {
    let namespace = std::fs::metadata("/proc/self/ns/pid").context("cannot look at /proc/self/ns/pid")?.ino();
    if namespace != FIRST_PID_NAMESPACE {
        bail!("the agent is in a pid namespace of its own, where its own connections could not be told from others");
    }
    Ok(())
}
