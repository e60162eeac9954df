//! What an agent takes of its host: threads, memory, descriptors. Too little is said before anything is done.
//!
//! Threads: the runtime panics where it gets no thread, or waits for ever for one that others keep busy (`Spawner::spawn_task`,
//! tokio 1, <https://docs.rs/tokio/latest/src/tokio/runtime/blocking/pool.rs.html>). So as many threads as it and the
//! other rooms take are started at once here, and end again.

use std::sync::mpsc;
use std::thread::Builder;

use anyhow::{Context, Result, bail};

use crate::host;
use crate::proxy::{self, limits};

/// What to do where the host gives no thread.
pub const MORE_THREADS: &str =
    "raise the limit (TasksMax= and LimitNPROC= in the systemd unit, `ulimit -u`, pids.max of the cgroup)";

/// Threads of the runtime.
pub(super) const RUNTIME: usize = 2;
/// Threads that do the slow work of changes and of readers, watch files, wait for the kernel, and look for connections whose end
/// no program was told of.
const OTHERS: usize = 5;

/// Workers of the proxy. Fails if the host does not give the threads for them, the runtime, and what else runs by itself.
pub(super) fn workers() -> Result<usize> {
    let workers = proxy::workers_here().context("cannot tell how many processors there are")?;
    probe_threads(workers)?;
    Ok(workers)
}

fn probe_threads(workers: usize) -> Result<()> {
    let needed = workers + RUNTIME + OTHERS;
    // Each lives until this is dropped, so that all live at once.
    let (mut kept, mut threads) = (Vec::new(), Vec::new());
    let mut failed = None;
    for _ in 0..needed {
        let (keep, kept_until) = mpsc::channel::<()>();
        match Builder::new().spawn(move || kept_until.recv().is_err()) {
            Ok(thread) => {
                kept.push(keep);
                threads.push(thread);
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let count = threads.len();
    drop(kept);
    let ended = threads.into_iter().filter_map(|thread| thread.join().ok()).count();
    debug_assert_eq!(ended, count, "such a thread does nothing that could fail");
    match failed {
        None => Ok(()),
        Some(error) => {
            bail!("cannot start: it takes {needed} threads, and the host gives {count} ({error}); {MORE_THREADS}")
        }
    }
}

/// What carried connections may hold: as asked, else half of what the process may use. The other half is for plans, for
/// the kernel's maps, and for what is not counted.
pub(super) fn memory(asked: Option<u64>) -> u64 {
    if let Some(bytes) = asked {
        return bytes;
    }
    let Some(limit) = host::memory::limit() else { return u64::MAX };
    let half = limit.bytes / 2;
    log::info!("connections may hold {} MiB: half of the limit in {}", half >> 20, limit.source.display());
    half
}

/// Adds to an error that a start ended with what to do, if it is that no descriptor was left.
pub(super) fn explain(error: anyhow::Error) -> anyhow::Error {
    match limits::explain(&format!("{error:#}")) {
        Some(explained) => error.context(explained),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_can_be_had_are_no_error() {
        probe_threads(2).unwrap();
    }
}
