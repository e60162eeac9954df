//! The programs that steer, and their links: to the cgroup of the clients, to the root of all cgroups, and to this network
//! namespace.
//!
//! They are attached before there is a plan, and do nothing until one is in force. So an agent that follows another
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
use super::load::{self, Maps};
use super::pins::Pins;
use super::sys::{self, hook};

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

/// Programs that steer, attached.
#[derive(Debug)]
pub(super) struct SteeringPrograms {
    /// Those of no cgroup of clients, by the names that they are pinned under.
    links: Vec<(String, OwnedFd)>,
    /// Those in connect(2).
    pub(super) clients: Clients,
    /// The socket that `lookup` hands packets of refused connections to. Once it is closed, the kernel refuses them uncounted.
    _refuser: Socket,
}

impl SteeringPrograms {
    /// Has the kernel take the programs, and attaches them.
    pub(super) fn attach(ebpf: &mut Ebpf, maps: &Maps, asked: &SteeringOptions) -> Result<Self> {
        let root = Cgroup::root()?;
        let clients = match &asked.cgroup {
            Some(path) => Cgroup::open(path)?,
            None => Cgroup::root()?,
        };
        let netns = File::open("/proc/self/ns/net").context("cannot open /proc/self/ns/net")?;
        let namespace = netns.metadata().context("cannot look at /proc/self/ns/net")?.ino();
        let attach =
            |ebpf: &mut Ebpf, name: &str, hook, target: BorrowedFd<'_>, number: u64, named: &str| -> Result<_> {
                let program = load::take(ebpf, name)?;
                let link = sys::attach(program.as_fd(), target, hook)
                    .with_context(|| format!("cannot attach `{name}` to {named}"))?;
                Ok((format!("{name}-{number}"), link))
            };
        let refuser = refuser(ebpf, maps)?;
        // First what counts, then what there is to be counted.
        let record = attach(ebpf, "record", hook::SOCK_OPS, root.as_fd(), root.number, &root.named())?;
        let lookup = attach(ebpf, "lookup", hook::SK_LOOKUP, netns.as_fd(), namespace, "this network namespace")?;
        let clients = Clients::attach(ebpf, &clients)?;
        Ok(Self { links: vec![record, lookup], clients, _refuser: refuser })
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
        self.links.iter().chain(&self.clients.links)
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
    load::take(ebpf, "refuse")?;
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
