//! Who asks for live connections asks each worker, a part of its rows at a time, so that no connection waits for long.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Proxy;
use super::command::WorkerCommand;
use crate::connections::{LiveConnection, LiveFilter};

/// Rows that a worker looks at before others have their turn: some 100 us.
const PART: usize = 1024;

/// The way to what the workers carry, for whoever has no part in the proxy. It keeps no worker alive.
#[derive(Clone, Debug)]
pub struct Carried {
    workers: Vec<mpsc::WeakUnboundedSender<WorkerCommand>>,
}

impl Proxy {
    /// The way to what is carried.
    pub fn carried(&self) -> Carried {
        Carried { workers: self.workers.iter().map(|worker| worker.commands.downgrade()).collect() }
    }

    /// As [`Carried::live`].
    pub async fn live(&self, filter: &LiveFilter) -> Vec<LiveConnection> {
        self.carried().live(filter).await
    }

    /// As [`Carried::close`].
    pub async fn close(&self, filter: &LiveFilter, most: usize) -> usize {
        self.carried().close(filter, most).await
    }
}

impl Carried {
    /// The connections that are carried now and are meant. One that lives all the while is listed once.
    pub async fn live(&self, filter: &LiveFilter) -> Vec<LiveConnection> {
        let filter = Arc::new(filter.clone());
        let mut all = Vec::new();
        for worker in &self.workers {
            let mut next = Some(0);
            while let Some(from) = next {
                let (listed, part) = oneshot::channel();
                let command = WorkerCommand::List { filter: Arc::clone(&filter), from, most: PART, listed };
                tell(worker, command);
                next = match part.await {
                    Ok((part, next)) => {
                        all.extend(part);
                        next
                    }
                    Err(_) => None,
                };
            }
        }
        all
    }

    /// Ends at most `most` of the connections that are meant; how many. Each is ended at its next quiet moment: when no byte has
    /// passed for 200 ms, both sides are told the end of the stream. One that is not quiet within 5 s is reset if bytes are on their
    /// way then, and so is one whose sides have not ended 5 s later. One that is being ended already is not counted.
    pub async fn close(&self, filter: &LiveFilter, most: usize) -> usize {
        let filter = Arc::new(filter.clone());
        let mut count = 0;
        for worker in &self.workers {
            let (closed, is_closed) = oneshot::channel();
            let command = WorkerCommand::Close { filter: Arc::clone(&filter), most: most - count, closed };
            tell(worker, command);
            count += is_closed.await.unwrap_or(0);
        }
        count
    }
}

/// If the worker is gone, so is the way on which it would answer.
fn tell(worker: &mpsc::WeakUnboundedSender<WorkerCommand>, command: WorkerCommand) {
    if let Some(worker) = worker.upgrade() {
        worker.send(command).ok();
    }
}
