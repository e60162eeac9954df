//! The kernel room: programs and maps, by which the kernel decides for new connections instead of the agent.
//!
//! `load` opens the object, `publish` puts plans in force, `pins` names what `bpftool` shows, `seizure` takes over from the
//! agent before, `cgroup` finds the cgroup whose sockets programs see. `steering` attaches the programs that serve
//! connections without the agent, and `listening` finds the sockets that they hand connections to. `doctor` tries all of
//! this on maps of its own, and pins nothing.
//!
//! Of what an agent finds pinned it reads only the storage of steered sockets, if its rows have the right form: the address
//! that a client was told for its connection must not change with the agent. All other maps are the agent's own.

mod capabilities;
mod cgroup;
mod clients;
mod doctor;
mod events;
mod features;
mod listening;
mod live;
mod load;
mod loading;
mod locked_memory;
mod lost;
mod need;
mod netns;
mod pins;
mod publish;
mod rows;
mod seizure;
mod sockets;
mod steering;
mod sys;
mod trial;
mod upkeep;
mod verifier;

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aya::Ebpf;
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use tcpshift_common::address::Flow;
use tcpshift_common::layout::{Assignment, CountRow, Question, SumRow};
use tokio::sync::Notify;

use self::cgroup::Cgroup;
pub use self::doctor::{
    DatapathVerdict, DoctorReport, FindingState, Logs, MachineFinding, ProgramOutcome, ProgramReport, Request, look,
};
use self::features::Features;
pub use self::listening::{EndpointListeners, EndpointPresence};
pub use self::live::{SteeredClosed, SteeredConnection, SteeredList, SteeredReader};
use self::load::{Ability, Maps};
use self::loading::Loading;
use self::need::Needed;
use self::pins::Pins;
pub use self::pins::{FOLDER, Unloaded, see_to_bpffs, unload};
pub use self::publish::PreparedPlan;
use self::publish::Publisher;
pub use self::sockets::Sockets;
use self::steering::Steering;
pub use self::steering::{Heart, OnLoss, SteeringOptions};
pub use self::trial::WHOLE as LOG_BYTES;
pub use self::verifier::{ProgramRefusal, RefusalReason};
use crate::connections::counters::Shared;
use crate::plan::{Plan, Sets};

/// Routes that maps have rows for, unless the operator says otherwise.
pub const MAX_ROUTES: u32 = 10_000;

/// How long a connection of one's own on the loopback interface may take at a start.
pub const TRIED: Duration = Duration::from_secs(5);

/// The programs, and the maps they read. Dropping it detaches the programs and removes what this agent pinned; what another
/// agent pinned stays if no plan of this one was in force.
#[derive(Debug)]
pub struct Kernel {
    ebpf: Ebpf,
    maps: Arc<Maps>,
    /// Sets this agent apart from others in the rows of connections.
    agent: u64,
    cgroup: Cgroup,
    features: Features,
    publisher: Publisher,
    sockets: Arc<Sockets>,
    /// Programs that serve connections without the agent; or why there are none.
    steering: Result<Steering, String>,
    needed: Needed,
    heart: Option<Heart>,
    /// Who listens at endpoints of this host.
    pub listening: EndpointListeners,
    /// None before [`Kernel::reserve`] and after [`Kernel::let_go`].
    pins: Option<Pins>,
    /// `assign` at the cgroup of this process, from [`Kernel::reserve`] until [`Kernel::seize`].
    trial: Option<OwnedFd>,
    /// The links of an agent before have this one's program.
    is_seized: bool,
    /// Maps are pinned, and those of an agent before are not any more.
    is_shown: bool,
    is_settled: bool,
    /// Keeps programs attached if the pinned names are removed.
    links: Vec<OwnedFd>,
    /// Programs that steer which an agent before has left, to be detached when a plan of this one is in force.
    left: Vec<(PathBuf, OwnedFd)>,
    processors: usize,
}

/// What is asked of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelOptions {
    /// Routes that maps have rows for.
    pub max_routes: u32,
    /// What is asked of programs that steer; or why there are to be none.
    pub steering: Result<SteeringOptions, String>,
}

impl Kernel {
    /// Loads programs and maps. Nothing is attached or pinned. The error is a [`ProgramRefusal`] where the kernel refuses `assign`;
    /// why it refuses one that steers, [`Kernel::connects`] and [`Kernel::hands_over`] say.
    pub fn load(wanted: &KernelOptions) -> Result<Self> {
        Loading::open(wanted)?.finish()
    }

    /// Attaches the program `assign` to a cgroup, for as long as the link lives.
    fn attach(ebpf: &mut Ebpf, cgroup: &Cgroup) -> Result<OwnedFd> {
        let program = load::assign(ebpf)?.fd().context("`assign` is not loaded")?;
        sys::attach(program.as_fd(), cgroup.as_fd(), sys::hook::SOCK_OPS)
            .with_context(|| format!("cannot attach `assign` to {}", cgroup.named()))
    }

    /// Whether the program decides for what this process accepts, tried with a connection of its own on the loopback
    /// interface, for which it waits so long. The program has to be attached.
    pub fn try_out(&self, within: Duration) -> Result<()> {
        let tried = || -> io::Result<()> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            self.sockets.serve(listener.as_fd(), u32::MAX)?;
            TcpStream::connect_timeout(&listener.local_addr()?, within)?;
            listener.accept().map(drop)
        };
        let before = self.counts()?.left;
        tried().context("cannot try a connection on 127.0.0.1")?;
        if self.counts()?.left == before {
            bail!(
                "`assign` is attached to the cgroup {}, and does not see what this process accepts",
                self.cgroup.path.display()
            );
        }
        Ok(())
    }

    /// The way to the storage of sockets.
    pub fn sockets(&self) -> Arc<Sockets> {
        Arc::clone(&self.sockets)
    }

    /// Counters that are shared: sequences by route, turns by destination, `layout::ENDPOINT_SUM_WORDS` for each endpoint, and of
    /// what is steered `layout::SUM_WORDS` for each destination.
    pub fn words(&self) -> Result<[Shared; 4]> {
        let words = self.maps.words().context("the counters cannot be mapped as memory")?;
        Ok(words.map(|words| Box::new(words) as Shared))
    }

    /// Makes the tables of a plan. Nothing of it is in force yet, and if it fails nothing has changed.
    pub fn prepare(&mut self, plan: &Plan, sets: &Sets) -> Result<PreparedPlan> {
        if !self.publisher.is_in_force(plan) {
            self.listening.serve(&rows::ports(plan)).context("cannot tell the programs of ports")?;
        }
        let prepared = self.publisher.prepare(plan, sets, self.pins.as_ref())?;
        if let Some(need) = prepared.need {
            self.attach_needed(need)?;
        }
        Ok(prepared)
    }

    /// Is notified when [`Kernel::show_names`] has something to show.
    pub fn names_made(&self) -> Arc<Notify> {
        self.publisher.names_made()
    }

    /// Shows the names of destinations of a large plan, which are made after it is in force.
    pub fn show_names(&mut self) {
        self.publisher.show_names(self.pins.as_ref());
    }

    /// Why clients cannot be pointed at endpoints, if they cannot.
    pub fn connects(&self) -> Result<(), &str> {
        self.can(Ability::Connect)
    }

    /// Why connections cannot be handed to listening sockets, if they cannot.
    pub fn hands_over(&self) -> Result<(), &str> {
        self.can(Ability::Lookup)
    }

    /// Why programs cannot do something, if they cannot.
    fn can(&self, ability: Ability) -> Result<(), &str> {
        let able = |of: fn(&Steering) -> &Result<(), String>| {
            self.steering.as_ref().and_then(|steering| of(steering).as_ref().copied()).map_err(String::as_str)
        };
        match ability {
            // Without it there is no kernel.
            Ability::Assign => Ok(()),
            Ability::Connect => able(|steering| &steering.connect),
            Ability::Lookup => able(|steering| &steering.lookup),
        }
    }

    /// What this kernel lacks of what programs can do without, and what that means; in words.
    pub fn lacks(&self) -> Vec<String> {
        self.features.missing().map(|feature| feature.to_string()).collect()
    }

    /// Numbers of endpoints that its maps have rows for.
    pub fn endpoints(&self) -> u32 {
        self.publisher.endpoints()
    }

    /// Routes that its maps have room for.
    pub fn routes(&self) -> u32 {
        self.publisher.routes()
    }

    /// Whose programs are clients, if they are steered.
    pub fn clients(&self) -> Option<&std::path::Path> {
        self.steering
            .as_ref()
            .ok()
            .filter(|steering| steering.connect.is_ok())
            .map(|steering| &*steering.clients.folder)
    }

    /// What says to the programs that the agent is there, if they steer.
    pub fn heart(&self) -> Option<Heart> {
        self.heart.clone().filter(|_| self.connects().is_ok() || self.hands_over().is_ok())
    }

    /// Leaves decisions to the agent until the next plan is published.
    pub fn stand_aside(&mut self) {
        self.publisher.stand_aside();
    }

    /// What became of new connections, of all processors together.
    pub fn counts(&self) -> Result<CountRow> {
        let each = self.maps.counts.get_each(&0, self.processors).context("cannot read the counts")?;
        Ok(each.into_iter().fold(CountRow::default(), |sum, one| CountRow {
            assigned: sum.assigned + one.assigned,
            unrouted: sum.unrouted + one.unrouted,
            without_endpoint: sum.without_endpoint + one.without_endpoint,
            left: sum.left + one.left,
            lost: sum.lost + one.lost,
            carried: sum.carried + one.carried,
        }))
    }

    /// What programs decide for a flow at a listener, by the plan in force; none if they leave it to the agent. `random`
    /// is what they draw. Counters go on as for a connection.
    pub fn explain(&mut self, listener: u32, flow: &Flow, random: [u32; 2]) -> Result<Option<Assignment>> {
        let program = self.load_explain()?;
        let Flow { source, destination, source_port, destination_port } = *flow;
        let question =
            Question { listener, random, source_port, source, destination, destination_port, ..Question::default() };
        let mut answer = sys::bytes(&question).to_vec();
        let told = answer.clone();
        let options = TestRunOptions { data_in: Some(&told), data_out: Some(&mut answer), ..TestRunOptions::default() };
        let done = program.test_run(options).context("the program `explain` cannot be run")?;
        Ok(if done.return_value == 0 { sys::row::<Question>(&answer).map(|answer| answer.assignment) } else { None })
    }

    /// The program `explain`, loaded when it is first asked for.
    fn load_explain(&mut self) -> Result<&mut SchedClassifier> {
        let is_released = self.ebpf.maps().next().is_none();
        if load::explain(&mut self.ebpf)?.fd().is_err() {
            ensure!(!is_released, "`explain` cannot be loaded by an agent that is at work");
            load::take(&mut self.ebpf, "explain")?;
        }
        load::explain(&mut self.ebpf)
    }

    /// How many instructions the verifier follows in each program.
    pub fn verified(&mut self) -> Result<Vec<(&'static str, u32)>> {
        self.load_explain()?;
        let has = |row: &&load::ProgramRow| row.serves.iter().any(|ability| self.can(*ability).is_ok());
        let names = load::PROGRAMS.iter().filter(has).map(|row| row.name);
        names.map(|name| Ok((name, load::verified(&self.ebpf, name)?.unwrap_or_default()))).collect()
    }

    /// Connections of a destination that were steered.
    fn opened(&self, destination: u32) -> Result<u64> {
        let sums: sys::Map<u32, SumRow> = sys::Map::new(self.maps.sums.try_clone()?)?;
        Ok(sums.get(&destination).context("cannot read the sums")?.opened)
    }

    /// The cgroup whose sockets the program sees.
    pub fn cgroup(&self) -> &std::path::Path {
        &self.cgroup.path
    }

    /// Logs what the programs say, for as long as the agent lives, and notifies `listening` of new listening sockets. Must
    /// be called within a runtime. No further program can be loaded.
    pub fn listen(&mut self, listening: Arc<Notify>) -> Result<()> {
        events::listen(&mut self.ebpf, listening)?;
        load::release(&mut self.ebpf);
        Ok(())
    }
}

/// Whether programs of an ended agent are still attached, and no other agent has taken them over.
pub fn is_left_behind() -> bool {
    let is_left = |found: &pins::PinnedFolder| found.holder.is_none() && found.links > 0;
    pins::found().is_ok_and(|found| found.iter().any(is_left))
}

/// The monotonic clock, in nanoseconds, as programs have it.
pub fn monotonic() -> u64 {
    steering::now()
}

fn error_at(path: &str, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot read {path}"))
}
