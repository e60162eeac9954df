//! Host names to addresses: asks DNS for the names that a plan needs, again and again, and tells when an answer
//! is another one.
//!
//! A name is asked for again when its answer is no longer valid. An answer stays until there is a better one: a
//! server that fails, or that no longer knows the name, takes nothing away.

mod lookup;
mod names;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use self::names::Names;

/// At most one changed set of answers in this time: a recompilation has its cost.
const PAUSE: Duration = Duration::from_millis(200);

/// Lookups at once.
const AT_ONCE: usize = 32;

/// Addresses by name in lower case, in the order of DNS; none is empty.
pub type Answers = HashMap<String, Vec<IpAddr>>;

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub enum Upstream {
    /// `/etc/hosts` and the servers of `/etc/resolv.conf`, both read anew for each lookup.
    Host,
    /// Only this server, over UDP.
    Server(SocketAddr),
}

/// Asks in a task of its own, which ends with it.
#[derive(Debug)]
pub struct Resolver {
    wanted: watch::Sender<BTreeSet<String>>,
    answers: watch::Receiver<Arc<Answers>>,
    task: JoinHandle<()>,
}

impl Resolver {
    /// Starts with no names, but with answers that count until there are others. It has to be called inside a
    /// tokio runtime.
    pub fn start(source: Upstream, known: Answers) -> Self {
        let (wanted, names) = watch::channel(BTreeSet::new());
        let (sender, answers) = watch::channel(Arc::default());
        Self { wanted, answers, task: tokio::spawn(work(source, Names::knowing(known), names, sender)) }
    }

    /// Says which names are needed from now on, in lower case. The answers for others are forgotten.
    pub fn want(&self, names: &BTreeSet<String>) {
        self.wanted.send_if_modified(|wanted| {
            let other = wanted != names;
            if other {
                wanted.clone_from(names);
            }
            other
        });
    }

    /// Waits until the answers are others than those that were returned last, and returns them. Nothing is lost if
    /// this is dropped while it waits.
    pub async fn changed(&mut self) -> Arc<Answers> {
        if self.answers.changed().await.is_err() {
            // The task has ended, with the runtime: there will be no other answers.
            std::future::pending::<()>().await;
        }
        Arc::clone(&self.answers.borrow_and_update())
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn work(
    source: Upstream,
    mut names: Names,
    mut wanted: watch::Receiver<BTreeSet<String>>,
    answers: watch::Sender<Arc<Answers>>,
) {
    let mut lookups = JoinSet::new();
    let mut tell_at = Instant::now();
    loop {
        while lookups.len() < AT_ONCE
            && let Some(name) = names.take_due(Instant::now())
        {
            lookups.spawn(async move {
                let found = lookup::lookup(source, &name).await;
                (name, found)
            });
        }
        // With all lookups under way, the next that ends makes room.
        let next = names.next_due().filter(|_| lookups.len() < AT_ONCE);
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                names.want(&wanted.borrow_and_update());
            }
            Some(done) = lookups.join_next() => {
                // A lookup that panicked would have taken its name along, so it cannot be asked for again.
                match done {
                    Ok((name, found)) => names.answered(&name, found, Instant::now()),
                    Err(error) => log::error!("a DNS lookup ended by a fault of this program: {error}"),
                }
            }
            () = sleep_until(next.unwrap_or(tell_at)), if next.is_some() => {}
            () = sleep_until(tell_at), if names.changed() => {
                answers.send_replace(Arc::new(names.answers()));
                tell_at = Instant::now() + PAUSE;
            }
        }
    }
}
