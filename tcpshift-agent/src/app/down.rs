//! Listeners of the plan that are not served, and why. Who has their ports is looked up beside the loop, for all at once.
//!
//! A failure is said once, by its name if that is found soon enough.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::proxy::{ListenFailure, Obstacle, name_occupants};

/// How long the process that has a port is looked for before the failure is said without its name.
const LOOK_TIME: Duration = Duration::from_secs(2);

/// Listeners that are not served.
#[derive(Debug, Default)]
pub(super) struct Down {
    listeners: BTreeMap<SocketAddr, One>,
    look: Option<Look>,
}

#[derive(Debug)]
struct One {
    failure: ListenFailure,
    is_said: bool,
    is_named: bool,
}

/// Names that are being looked up.
#[derive(Debug)]
struct Look {
    names: oneshot::Receiver<Vec<ListenFailure>>,
    until: Instant,
}

impl Down {
    /// These are down now, and no others. One that is down for the reason that is known keeps what is known of it.
    pub(super) fn set(&mut self, failures: Vec<ListenFailure>) {
        let mut last = std::mem::take(&mut self.listeners);
        for failure in failures {
            let one = match last.remove(&failure.address) {
                Some(known) if is_alike(&known.failure, &failure) => known,
                _ => One { is_named: failure.obstacle == Obstacle::Other, failure, is_said: false },
            };
            self.listeners.insert(one.failure.address, one);
        }
        self.look_up();
        self.say(|one| one.is_named);
    }

    /// Has names looked up that are not known, unless that is being done.
    fn look_up(&mut self) {
        let unnamed = self.listeners.values().filter(|one| !one.is_named).map(|one| one.failure.clone());
        let unnamed: Vec<_> = unnamed.collect();
        if unnamed.is_empty() || self.look.is_some() {
            return;
        }
        self.look = Some(Look { names: named(unnamed), until: Instant::now() + LOOK_TIME });
    }

    /// Waits for names that are being looked up, and says what was not said yet; for ever if there are none. May be dropped
    /// and called again.
    pub(super) async fn named(&mut self) {
        let Some(look) = &mut self.look else { return std::future::pending().await };
        let is_late = Instant::now() >= look.until;
        let found = if is_late { Ok((&mut look.names).await) } else { timeout_at(look.until, &mut look.names).await };
        let Ok(found) = found else {
            return self.say(|_| true);
        };
        self.look = None;
        for failure in found.unwrap_or_default() {
            if let Some(one) = self.listeners.get_mut(&failure.address).filter(|one| is_alike(&one.failure, &failure)) {
                (one.failure, one.is_named) = (failure, true);
            }
        }
        self.say(|one| one.is_named);
        self.look_up();
    }

    /// As [`Down::named`], once for all that is down: before there is a loop.
    pub(super) async fn name(&mut self) {
        while self.look.is_some() && self.listeners.values().any(|one| !one.is_said) {
            self.named().await;
        }
    }

    fn say(&mut self, may: impl Fn(&One) -> bool) {
        for one in self.listeners.values_mut().filter(|one| !one.is_said && may(one)) {
            one.is_said = true;
            log::error!("{}", one.failure);
        }
    }

    /// What stands in the way of an address, if it is down.
    pub(super) fn obstacle(&self, address: SocketAddr) -> Option<&Obstacle> {
        self.listeners.get(&address).map(|one| &one.failure.obstacle)
    }

    /// Whether a listener is not served.
    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        self.listeners.contains_key(&address)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// All of them.
    pub(super) fn failures(&self) -> impl Iterator<Item = &ListenFailure> {
        self.listeners.values().map(|one| &one.failure)
    }

    /// Why each is down, for people.
    pub(super) fn reasons(&self) -> BTreeMap<SocketAddr, String> {
        self.failures().map(|failure| (failure.address, failure.to_string())).collect()
    }
}

/// Failures with the names of processes, for whoever asked for a change that cannot be made: without names if they take too
/// long.
pub(super) async fn with_names(failures: Vec<ListenFailure>) -> Vec<ListenFailure> {
    match timeout(LOOK_TIME, named(failures.clone())).await {
        Ok(Ok(named)) => named,
        _ => failures,
    }
}

/// Walks the process table on a thread of its own. Fails at once if the host gives none.
fn named(mut failures: Vec<ListenFailure>) -> oneshot::Receiver<Vec<ListenFailure>> {
    let (found, names) = oneshot::channel();
    let walk = move || {
        name_occupants(&mut failures);
        // Whoever asked may have gone away.
        found.send(failures).ok();
    };
    if let Err(error) = std::thread::Builder::new().name("occupants".to_owned()).spawn(walk) {
        log::debug!("there is no thread to look up who has a port: {error}");
    }
    names
}

/// Whether two failures of an address have one reason; names are not compared.
fn is_alike(one: &ListenFailure, other: &ListenFailure) -> bool {
    let is_other = one.obstacle == Obstacle::Other;
    one.listener == other.listener && one.obstacle == other.obstacle && (!is_other || one.reason == other.reason)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn failure(address: SocketAddr, obstacle: Obstacle) -> ListenFailure {
        ListenFailure { address, listener: "default/gw:tcp".to_owned(), reason: "taken".to_owned(), obstacle }
    }

    #[tokio::test]
    async fn what_is_down_is_named_once_and_keeps_its_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
        let taken = failure(address, Obstacle::Listener([inode].into()));
        let mut down = Down::default();
        down.set(vec![taken.clone()]);
        down.name().await;
        let own = format!("(pid {})", std::process::id());
        assert!(down.reasons()[&address].contains(&own), "{:?}", down.reasons());
        down.set(vec![taken]);
        assert!(down.look.is_none() && down.reasons()[&address].contains(&own), "{:?}", down.reasons());
        down.set(vec![failure(address, Obstacle::Other)]);
        assert!(down.reasons()[&address].ends_with("taken") && down.look.is_none());
        down.set(Vec::new());
        assert_eq!(down.len(), 0);
    }
}
