//! The proxy room: the datapath that works everywhere. It accepts, dials and relays in user space, one
//! thread per core, each with its own listening sockets and its own runtime.
//!
//! It obeys plans and counts in the connections room; it must not know of route files, and it decides
//! nothing. A listener's sockets are opened once and kept while plans have it, since closing one of several
//! would reset what waits in its queue.

mod accept;
mod carry;
mod choice;
mod dial;
mod inherited;
mod inputs;
mod lifetime;
pub mod limits;
mod listen;
mod memory;
mod occupant;
mod own;
mod pipe;
mod plans;
mod pool;
mod queue;
mod relay;
mod share;
mod socket;
mod source;
mod spare;
mod stream;
mod worker;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io, mem, thread};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};

use crate::connections::Connections;
use crate::kernel::Sockets;
use crate::plan::{Listener, Plan, Sets};
pub use inherited::Lender;
use inherited::{Inherited, Opened};
use listen::ListenError;
use memory::MemoryBound;
use occupant::ListeningTable;
pub use occupant::Obstacle;
pub use own::avoid;
use plans::Plans;
use worker::{Common, WorkerCommand};

/// How long the workers may take to end. They have nothing to wait for, so that it is never reached.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How often is looked whether they have ended.
const END_ROUND: Duration = Duration::from_millis(2);

/// How many tasks are polled before sockets are looked at again, if that many are ready.
const TURNS: u32 = 256;

/// The workers, and the sockets they accept from. Dropping it resets all connections.
#[derive(Debug)]
pub struct Proxy {
    workers: Vec<Handle>,
    /// Sockets that are open and not handed to the workers yet, one at least for each.
    waiting: HashMap<SocketAddr, Vec<Opened>>,
    /// Sockets that this process did not open itself.
    inherited: Inherited,
    /// Nothing is accepted yet: `waiting` is not handed out.
    held: bool,
    /// What programs decide, if they do.
    sockets: Option<Arc<Sockets>>,
    /// Plans that programs may have decided by.
    plans: Arc<Plans>,
    /// Listeners that the workers serve.
    serving: HashSet<SocketAddr>,
    /// The sockets of listeners that are open, as the kernel's tables name them.
    inodes: HashMap<SocketAddr, Vec<u64>>,
}

/// The way to one worker.
#[derive(Debug)]
struct Handle {
    commands: mpsc::UnboundedSender<WorkerCommand>,
    thread: JoinHandle<()>,
}

/// A listener of a plan that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenFailure {
    /// Its address.
    pub address: SocketAddr,
    /// Its name.
    pub listener: String,
    /// Why, and what to do.
    pub reason: String,
    /// What stands in the way.
    pub obstacle: Obstacle,
}

impl ListenFailure {
    /// Whether nobody else listens there: the port is to be had as soon as a connection has ended, and is nobody's until then.
    pub fn is_passing(&self) -> bool {
        self.obstacle == Obstacle::Connection
    }
}

/// Has failures name who stands in the way. Reads the process table once, which may take long.
pub fn name_occupants(failures: &mut [ListenFailure]) {
    let obstacles: Vec<_> = failures.iter().map(|failure| (failure.address, &failure.obstacle)).collect();
    let names = occupant::name(&obstacles);
    for (failure, name) in failures.iter_mut().zip(names).filter(|(failure, _)| failure.obstacle != Obstacle::Other) {
        failure.reason = name;
    }
}

impl fmt::Display for ListenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, listener, reason, .. } = self;
        write!(f, "cannot listen on {address} for {listener}: {reason}")
    }
}

/// The number of a socket in the kernel's tables.
fn inode(socket: BorrowedFd<'_>) -> Option<u64> {
    rustix::fs::fstat(socket).ok().map(|found| found.st_ino)
}

/// Workers that an agent has on this host: one for each processor that it may use.
pub fn workers_here() -> io::Result<usize> {
    Ok(thread::available_parallelism()?.get())
}

impl Proxy {
    /// Starts the workers, one per core if `workers` is 0. They dial from `sources`, in turn, or from where the
    /// kernel chooses if there are none, and serve nothing before the first plan. With `sockets` kernel programs decide,
    /// and the workers obey. What they carry holds `memory` bytes at most. Fails if the host gives no thread or no
    /// descriptor for them.
    pub fn start(
        connections: &Arc<Connections>,
        workers: usize,
        sources: &[IpAddr],
        sockets: Option<Arc<Sockets>>,
        memory: u64,
    ) -> io::Result<Self> {
        let workers = if workers == 0 { workers_here()? } else { workers };
        let (plans, sources) = (Arc::<Plans>::default(), sources.to_vec());
        let common = Common {
            connections: Arc::clone(connections),
            sources,
            sockets: sockets.clone(),
            plans: Arc::clone(&plans),
            memory: MemoryBound::new(memory),
            carried: share::All::new(workers),
        };
        let workers = (0..workers).map(|number| Handle::start(number, common.clone())).collect::<io::Result<_>>()?;
        let (waiting, serving) = (HashMap::new(), HashSet::new());
        let inodes = HashMap::new();
        Ok(Self { workers, waiting, inherited: Inherited::default(), held: false, sockets, plans, serving, inodes })
    }

    /// Opens the sockets that a plan needs and that are not open yet, and closes none. Who connects from then
    /// on waits until the plan is published. Returns the listeners that cannot be opened; they can be tried
    /// again.
    pub fn open(&mut self, plan: &Plan) -> Vec<ListenFailure> {
        let (mut failures, mut table) = (Vec::new(), ListeningTable::default());
        for listener in &plan.listeners {
            let address = listener.address;
            if self.is_open(address) {
                continue;
            }
            let opened = match self.inherited.take(address, self.workers.len()) {
                Some(Ok(sockets)) => {
                    for opened in &sockets {
                        self.serve(opened.socket.as_fd(), listener);
                    }
                    Ok(sockets)
                }
                Some(Err(error)) => {
                    Err((Obstacle::Other, format!("its sockets cannot be copied for each worker: {error}")))
                }
                None => self.listen(listener, &mut table),
            };
            match opened {
                Ok(sockets) => {
                    let inodes = sockets.iter().filter_map(|opened| inode(opened.socket.as_fd()));
                    self.inodes.insert(address, inodes.collect());
                    self.waiting.insert(address, sockets);
                }
                Err((obstacle, reason)) => {
                    failures.push(ListenFailure { address, listener: listener.name.clone(), reason, obstacle });
                }
            }
        }
        failures
    }

    /// Opens sockets of a listener anew.
    fn listen(&self, listener: &Listener, table: &mut ListeningTable) -> Result<Vec<Opened>, (Obstacle, String)> {
        let address = listener.address;
        let open = |beside| listen::open(address, self.workers.len(), beside, |socket| self.serve(socket, listener));
        let is_ours = || {
            let mut open = self.serving.iter().chain(self.waiting.keys()).copied();
            open.any(|own| occupant::overlap(own, address)) || self.inherited.is_at(address)
        };
        let refused = match open(false) {
            Ok(sockets) => return Ok(sockets.into_iter().map(Opened::from).collect()),
            Err(refused) => refused,
        };
        let obstacle = match refused {
            ListenError::Otherwise(reason) => return Err((Obstacle::Other, reason)),
            ListenError::Taken => {
                let own = self.inodes.values().flatten().copied().chain(self.inherited.inodes()).collect();
                let others = table.others(address, &own);
                match (others.is_empty(), is_ours()) {
                    (false, _) => Obstacle::Listener(others),
                    (true, false) => Obstacle::Connection,
                    // Another listener of ours covers the address, or is covered by it: both have to be served.
                    (true, true) => match open(true) {
                        Ok(sockets) => return Ok(sockets.into_iter().map(Opened::from).collect()),
                        Err(ListenError::Taken) => Obstacle::Ourselves,
                        Err(ListenError::Otherwise(reason)) => return Err((Obstacle::Other, reason)),
                    },
                }
            }
        };
        let reason = occupant::explain(&obstacle);
        Err((obstacle, reason))
    }

    /// Has programs decide for what a socket of a listener accepts, if they do.
    fn serve(&self, socket: BorrowedFd<'_>, listener: &Listener) {
        if let Some(sockets) = &self.sockets
            && let Err(error) = sockets.serve(socket, listener.number)
        {
            log::warn!("the agent decides at {}: its socket cannot be marked for programs: {error}", listener.address);
        }
    }

    /// Tells the workers of a plan that programs are about to obey, before [`Proxy::publish`].
    pub fn announce(&self, plan: Arc<Plan>) {
        self.plans.announce(plan);
    }

    /// Whether the sockets of a listener are open.
    pub fn is_open(&self, address: SocketAddr) -> bool {
        self.serving.contains(&address) || self.waiting.contains_key(&address)
    }

    /// Closes what was opened for a plan that was given up: the sockets that were never published and that
    /// `plan`, the one in force, has no use for.
    pub fn close_unused(&mut self, plan: &Plan) {
        self.waiting.retain(|&address, _| plan.listener(address).is_some());
        self.forget_closed();
    }

    /// Forgets the sockets of listeners that are not open any more.
    fn forget_closed(&mut self) {
        let Self { serving, waiting, inodes, .. } = self;
        inodes.retain(|address, _| serving.contains(address) || waiting.contains_key(address));
    }

    /// Puts a plan in force: when this returns, every worker obeys it. Each switches whole, serves the
    /// listeners that are open, and closes those that are gone after it has served what waited there. Live
    /// connections are not touched.
    pub async fn publish(&mut self, plan: Arc<Plan>, sets: Arc<Sets>) {
        let gone: Vec<SocketAddr> =
            self.serving.iter().copied().filter(|&address| plan.listener(address).is_none()).collect();
        for address in &gone {
            self.serving.remove(address);
        }
        let mut sockets: Vec<Vec<(SocketAddr, Opened)>> = self.workers.iter().map(|_| Vec::new()).collect();
        let held = self.held;
        if !held {
            // What could not be used before, and has no use now.
            self.close_unwanted(&plan);
        }
        for (address, opened) in self.waiting.extract_if(|&address, _| !held && plan.listener(address).is_some()) {
            self.serving.insert(address);
            for (number, socket) in opened.into_iter().enumerate() {
                let worker = number % sockets.len();
                sockets[worker].push((address, socket));
            }
        }
        let mut sockets = sockets.into_iter();
        let generation = plan.generation;
        self.tell(|done| WorkerCommand::Publish {
            plan: Arc::clone(&plan),
            sets: Arc::clone(&sets),
            sockets: sockets.next().unwrap_or_default(),
            gone: gone.clone(),
            done,
        })
        .await;
        self.plans.settle(generation);
        self.forget_closed();
    }

    /// Puts endpoint sets in force: each worker chooses from them from its next connection on.
    pub fn replace(&self, sets: &Arc<Sets>) {
        for worker in &self.workers {
            // One that is gone has ended by itself, and that is seen when it is told the next plan.
            worker.commands.send(WorkerCommand::Replace(Arc::clone(sets))).ok();
        }
    }

    /// Stops accepting: serves what waits, then closes all listeners. What waits at a socket of systemd's is left
    /// to the next agent. Live connections go on.
    pub async fn drain(&mut self) {
        self.stop(HashSet::new()).await;
    }

    /// Accepts nothing until [`Proxy::resume`], and closes nothing: who connects meanwhile waits.
    pub async fn pause(&self) {
        self.tell(|done| WorkerCommand::Pause { done }).await;
    }

    /// Accepts again after [`Proxy::pause`], first those who wait.
    pub async fn resume(&self) {
        self.tell(|done| WorkerCommand::Resume { done }).await;
    }

    /// Stops accepting, and leaves what waits to another process that has copies of the sockets; but at
    /// `unwanted`, which it has not, what waits is served. Live connections go on.
    pub async fn release(&mut self, unwanted: &[SocketAddr]) {
        let unwanted: HashSet<_> = unwanted.iter().collect();
        let left = self.serving.iter().filter(|address| !unwanted.contains(address)).copied().collect();
        self.stop(left).await;
    }

    async fn stop(&mut self, left: HashSet<SocketAddr>) {
        self.waiting.clear();
        self.serving.clear();
        self.inherited = Inherited::default();
        let left = Arc::new(left);
        self.tell(|done| WorkerCommand::Drain { left: Arc::clone(&left), done }).await;
    }

    /// Resets the connections that are left, and ends the workers. There is nothing to be done with the
    /// proxy afterwards.
    pub async fn reset(&mut self) {
        self.waiting.clear();
        self.serving.clear();
        let threads: Vec<_> = mem::take(&mut self.workers)
            .into_iter()
            .map(|Handle { commands, thread }| {
                // A worker that is gone has ended already.
                commands.send(WorkerCommand::End).ok();
                thread
            })
            .collect();
        // Looked at rather than joined by a further thread, which the host may not give.
        let end = tokio::time::Instant::now() + END_TIMEOUT;
        while !threads.iter().all(JoinHandle::is_finished) {
            if tokio::time::Instant::now() > end {
                log::error!("the workers have not ended after {} s", END_TIMEOUT.as_secs());
                return;
            }
            tokio::time::sleep(END_ROUND).await;
        }
        if threads.into_iter().filter_map(|thread| thread.join().err()).count() > 0 {
            log::error!("a worker ended by a panic");
        }
    }

    /// Tells every worker, and waits until all have done it.
    async fn tell(&self, mut command: impl FnMut(oneshot::Sender<()>) -> WorkerCommand) {
        let told: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (done, is_done) = oneshot::channel();
                // If it is gone, so is `done`, and that is seen below.
                worker.commands.send(command(done)).ok();
                is_done
            })
            .collect();
        for is_done in told {
            if is_done.await.is_err() {
                log::error!("a worker is gone; restart the agent");
            }
        }
    }
}

impl Handle {
    fn start(number: usize, common: Common) -> io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        // The runtime has to be made on the thread it runs on; what comes of it is told here.
        let (started, is_started) = std::sync::mpsc::channel();
        let thread =
            thread::Builder::new().name(format!("proxy-{number}")).spawn(
                move || match Builder::new_current_thread()
                    .enable_all()
                    .event_interval(TURNS)
                    .build_local(LocalOptions::default())
                {
                    Ok(runtime) => {
                        started.send(Ok(())).ok();
                        worker::run(runtime, common, received);
                    }
                    Err(error) => {
                        started.send(Err(error)).ok();
                    }
                },
            )?;
        is_started.recv().map_err(|_| io::Error::other("a worker ended before it began"))??;
        Ok(Self { commands, thread })
    }
}
