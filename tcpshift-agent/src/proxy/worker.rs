//! One worker: a thread with a runtime of its own, which accepts and carries a part of the connections.
//!
//! It does what [`WorkerCommand`]s say, one after the other, each whole. It must not know of the other workers.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::LocalRuntime;
use tokio::sync::{mpsc, oneshot};

use super::accept::Served;
use super::inherited::Opened;
use super::inputs::Random;
use super::listen::BACKLOG;
use super::memory::MemoryBound;
use super::pipe::Pipes;
use super::plans::Plans;
use super::pool::Pool;
use super::queue::Queues;
use super::share::{All, WorkerShare};
use super::source::Sources;
use super::spare::Spare;
use crate::connections::Connections;
use crate::kernel::Sockets;
use crate::plan::{Plan, Sets};

/// Connections that may have waited at a socket since the plan before.
const WAITING: usize = BACKLOG as usize + 1;

/// A copy of a listening socket, and its address.
pub(super) type Lent = (SocketAddr, OwnedFd);

/// What a worker is told.
#[derive(Debug)]
pub(super) enum WorkerCommand {
    /// Obey this plan from now on.
    Publish {
        plan: Arc<Plan>,
        sets: Arc<Sets>,
        /// Sockets to accept from, from now on.
        sockets: Vec<(SocketAddr, Opened)>,
        /// Listeners to close. What waits there is still served as the plan before says.
        gone: Vec<SocketAddr>,
        done: oneshot::Sender<()>,
    },
    /// Choose from these endpoint sets from now on.
    Replace(Arc<Sets>),
    /// Hand out copies of sockets that are not systemd's, `most` of them from number `from` on. Between two plans their order stays.
    Lend { from: usize, most: usize, lent: oneshot::Sender<io::Result<Vec<Lent>>> },
    /// Accept nothing, and close nothing.
    Pause { done: oneshot::Sender<()> },
    /// Accept again.
    Resume { done: oneshot::Sender<()> },
    /// Close every listener. What waits is served before, but at those that are `left` to whoever has them too, and
    /// at systemd's.
    Drain { left: Arc<HashSet<SocketAddr>>, done: oneshot::Sender<()> },
    /// End, and reset every connection that is left.
    End,
}

/// What the tasks of one worker share.
#[derive(Debug)]
pub(super) struct Worker {
    /// The plan in force. A connection looks at it once.
    pub(super) plan: RefCell<Arc<Plan>>,
    /// The endpoint sets in force. A connection looks at them once, until it is open.
    pub(super) sets: RefCell<Arc<Sets>>,
    pub(super) connections: Arc<Connections>,
    /// The bound of all workers.
    pub(super) memory: Arc<MemoryBound>,
    pub(super) pool: Pool,
    pub(super) pipes: Pipes,
    pub(super) random: Random,
    pub(super) spare: Spare,
    pub(super) share: WorkerShare,
    /// Unix endpoints whose backlog is full.
    pub(super) queues: Rc<Queues>,
    pub(super) sources: Sources,
    /// What programs decided, if they do.
    pub(super) sockets: Option<Arc<Sockets>>,
    /// Plans that programs may have decided by.
    pub(super) plans: Arc<Plans>,
}

/// What the workers of a proxy have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) connections: Arc<Connections>,
    pub(super) sources: Vec<IpAddr>,
    pub(super) sockets: Option<Arc<Sockets>>,
    pub(super) plans: Arc<Plans>,
    pub(super) memory: Arc<MemoryBound>,
    /// Connections of all workers.
    pub(super) carried: Arc<All>,
}

/// Runs a worker on this thread until it is told to end, or nobody is left to tell it.
pub(super) fn run(runtime: LocalRuntime, common: Common, commands: mpsc::UnboundedReceiver<WorkerCommand>) {
    runtime.block_on(obey(common, commands));
    // Dropping the runtime drops what it carries, and each connection is reset thereby.
    drop(runtime);
}

async fn obey(common: Common, mut commands: mpsc::UnboundedReceiver<WorkerCommand>) {
    let Common { connections, sources, sockets, plans, memory, carried } = common;
    let worker = Rc::new(Worker {
        plan: RefCell::new(Arc::new(Plan::empty(0))),
        sets: RefCell::default(),
        connections,
        pool: Pool::new(Arc::clone(&memory)),
        pipes: Pipes::new(Arc::clone(&memory)),
        memory,
        random: Random::new(),
        spare: Spare::new(),
        share: WorkerShare::new(carried),
        queues: Rc::default(),
        sources: Sources::new(&sources),
        sockets,
        plans,
    });
    // Several of an address where they come from an agent that had more workers.
    let mut served: HashMap<SocketAddr, Vec<Served>> = HashMap::new();
    while let Some(command) = commands.recv().await {
        let done = match command {
            WorkerCommand::Publish { plan, sets, sockets, gone, done } => {
                if worker.sockets.is_some() {
                    // What has waited since the plan before was decided by it, and it will be forgotten.
                    served.values().flatten().for_each(|one| one.empty(&worker, WAITING));
                }
                for served in gone.iter().filter_map(|address| served.remove(address)).flatten() {
                    served.close(&worker);
                }
                worker.plan.replace(plan);
                worker.sets.replace(sets);
                for (address, socket) in sockets {
                    match Served::new(&worker, address, socket) {
                        Ok(door) => {
                            served.entry(address).or_default().push(door);
                        }
                        Err(error) => log::error!("a worker cannot accept on {address}: {error}"),
                    }
                }
                done
            }
            WorkerCommand::Replace(sets) => {
                worker.sets.replace(sets);
                continue;
            }
            WorkerCommand::Lend { from, most, lent } => {
                let all = served.iter().flat_map(|(address, served)| served.iter().map(move |one| (address, one)));
                let some = all
                    .filter(|(_, one)| !one.is_activated)
                    .skip(from)
                    .take(most)
                    .map(|(address, one)| Ok((*address, one.lend()?)));
                lent.send(some.collect()).ok();
                continue;
            }
            WorkerCommand::Pause { done } => {
                served.values().flatten().for_each(Served::pause);
                done
            }
            WorkerCommand::Resume { done } => {
                served.values_mut().flatten().for_each(|one| one.resume(&worker));
                done
            }
            WorkerCommand::Drain { left, done } => {
                for (address, served) in served.drain() {
                    let is_left = left.contains(&address);
                    for one in served {
                        if is_left || one.is_activated { one.leave() } else { one.close(&worker) }
                    }
                }
                done
            }
            WorkerCommand::End => return,
        };
        // Whoever asked may have gone away meanwhile.
        done.send(()).ok();
    }
}
