//! One worker: a thread with a runtime of its own, which accepts and carries a part of the connections.
//!
//! It does what [`WorkerCommand`]s say, one after the other, each whole.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::accept::Served;
use super::carriers::Carriers;
use super::command::WorkerCommand;
use super::descriptors::WorkerShare;
use super::inputs::Random;
use super::listen::BACKLOG;
use super::reactor::Reactor;
use super::shared::{Common, Worker};
use super::source::Sources;
use super::spare::Spare;
use crate::connections::LiveSlab;
use crate::plan::Plan;

/// Connections that may have waited at a socket since the plan before.
const WAITING: usize = BACKLOG as usize + 1;

/// Runs a worker on this thread until it is told to end, or the sender of commands is gone.
pub(super) fn run(reactor: Reactor, common: Common, commands: mpsc::UnboundedReceiver<WorkerCommand>) {
    // What it carries is dropped when it ends, and each connection is reset thereby.
    reactor.run(obey(common, commands));
}

async fn obey(common: Common, mut commands: mpsc::UnboundedReceiver<WorkerCommand>) {
    let Common { connections, sources, sockets, plans, memory, carried } = common;
    let worker = Rc::new(Worker {
        plan: RefCell::new(Arc::new(Plan::empty(0))),
        sets: RefCell::default(),
        live: LiveSlab::new(Arc::clone(&connections)),
        connections,
        carriers: Carriers::new(&memory),
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
                worker.sources.renew();
                for (address, socket) in sockets {
                    served.entry(address).or_default().push(Served::new(&worker, address, socket));
                }
                done
            }
            WorkerCommand::Replace { sets, done } => {
                worker.sets.replace(sets);
                done
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
            WorkerCommand::List { filter, from, most, listed } => {
                listed.send(worker.live.list(&filter, from, most)).ok();
                continue;
            }
            WorkerCommand::Close { filter, most, closed } => {
                closed.send(worker.live.close(&filter, most)).ok();
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
        // The caller may have stopped waiting.
        done.send(()).ok();
    }
}
