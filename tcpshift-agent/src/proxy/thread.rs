//! The thread of one worker, and the way to it.

use std::io;
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use super::command::WorkerCommand;
use super::reactor::Reactor;
use super::shared::Common;
use super::worker;

/// A worker that runs.
#[derive(Debug)]
pub(super) struct WorkerThread {
    pub(super) commands: mpsc::UnboundedSender<WorkerCommand>,
    pub(super) thread: JoinHandle<()>,
}

impl WorkerThread {
    /// Starts a worker by its number. Fails if the host gives no thread or no descriptor.
    pub(super) fn start(number: usize, common: Common) -> io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        // The runtime has to be made on the thread it runs on; what comes of it is told here.
        let (started, is_started) = std_mpsc::channel();
        let thread = thread::Builder::new().name(format!("proxy-{number}")).spawn(move || match Reactor::new() {
            Ok(reactor) => {
                started.send(Ok(())).ok();
                worker::run(reactor, common, received);
            }
            Err(error) => {
                started.send(Err(error)).ok();
            }
        })?;
        is_started.recv().map_err(|_| io::Error::other("a worker ended before it began"))??;
        Ok(Self { commands, thread })
    }
}
