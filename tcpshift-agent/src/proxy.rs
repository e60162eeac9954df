//! The proxy room: the datapath that works everywhere. It accepts, dials and relays in user space, one
//! thread per core, each with its own listening sockets and its own runtime.
//!
//! It obeys plans and counts in the connections room. A listener's sockets are opened once and kept while plans have
//! it, since closing one of several would reset what waits in its queue.

mod accept;
mod carriers;
mod carry;
mod command;
mod decide;
mod descriptors;
mod inbound;
mod inherited;
mod inputs;
mod lifetime;
pub mod limits;
mod listen;
mod live;
mod memory;
mod occupant;
mod opening;
mod outbound;
mod own;
mod pipe;
mod plans;
mod pool;
mod queue;
mod reactor;
mod relay;
mod shared;
mod socket;
mod source;
mod spare;
mod stream;
mod thread;
mod worker;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem};

use tokio::sync::oneshot;

use self::thread::WorkerThread;
use crate::connections::Connections;
use crate::kernel::Sockets;
use crate::plan::{Plan, Sets};
use command::{Opened, WorkerCommand};
use inherited::Inherited;
pub use inherited::Lender;
pub use live::Carried;
use memory::MemoryBound;
pub use occupant::Obstacle;
pub use opening::{ListenFailure, name_occupants};
pub use own::avoid;
use plans::Plans;
use shared::Common;

/// How long the workers may take to end. They have nothing to wait for, so that it is never reached.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How often is looked whether they have ended.
const END_ROUND: Duration = Duration::from_millis(2);

/// The workers, and the sockets they accept from. Dropping it resets all connections.
#[derive(Debug)]
pub struct Proxy {
    workers: Vec<WorkerThread>,
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

/// The number of a socket in the kernel's tables.
fn inode(socket: BorrowedFd<'_>) -> Option<u64> {
    rustix::fs::fstat(socket).ok().map(|found| found.st_ino)
}

/// Workers that an agent has on this host: one for each processor that it may use.
pub fn workers_here() -> io::Result<usize> {
    Ok(std::thread::available_parallelism()?.get())
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
            carried: descriptors::All::new(workers),
        };
        let workers =
            (0..workers).map(|number| WorkerThread::start(number, common.clone())).collect::<io::Result<_>>()?;
        let (waiting, serving) = (HashMap::new(), HashSet::new());
        let inodes = HashMap::new();
        Ok(Self { workers, waiting, inherited: Inherited::default(), held: false, sockets, plans, serving, inodes })
    }

    /// Tells the workers of a plan that programs are about to obey, before [`Proxy::publish`], and of the sets that it names.
    pub fn announce(&self, plan: Arc<Plan>, sets: Arc<Sets>) {
        self.plans.announce(plan, sets);
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

    /// Puts endpoint sets in force: when this returns, every worker chooses from them.
    pub async fn replace(&self, sets: &Arc<Sets>) {
        self.plans.replace(sets);
        self.tell(|done| WorkerCommand::Replace { sets: Arc::clone(sets), done }).await;
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
            .map(|WorkerThread { commands, thread }| {
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
