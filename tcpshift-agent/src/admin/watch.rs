//! Tells the clients that watch objects about changes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::api::{ApiFailure, FailureReason, WatchChange, WatchEvent, WatchFilter, WatchReply};
use crate::route::object::Object;
use crate::route::store::StoreChange;

/// Events that are kept for clients that resume a watch, and their size as JSON, in bytes.
const KEPT: (usize, usize) = (4096, 16 << 20);
/// Events that a slow watcher may lag behind.
const LAG: usize = 256;

/// The latest events, and the channel to the watching clients.
#[derive(Debug)]
pub struct Watchers {
    events: VecDeque<Kept>,
    /// Their size as JSON.
    bytes: usize,
    /// A watch cannot begin after a version before this one; none before the first plan.
    begins: Option<u64>,
    sender: broadcast::Sender<Arc<WatchEvent>>,
}

#[derive(Debug)]
struct Kept {
    version: u64,
    bytes: usize,
    event: Arc<WatchEvent>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { events: VecDeque::new(), bytes: 0, begins: None, sender: broadcast::Sender::new(LAG) }
    }
}

impl Watchers {
    /// Sends changes to all watching clients.
    pub fn record(&mut self, changes: &[StoreChange], version: u64) {
        // No client watched before the first plan.
        if self.begins.is_none() {
            self.begins = Some(version);
            return;
        }
        for change in changes {
            let event = Arc::new(event(change, version));
            let bytes = event.object.to_string().len();
            self.bytes += bytes;
            self.events.push_back(Kept { version, bytes, event: Arc::clone(&event) });
            while self.events.len() > KEPT.0 || self.bytes > KEPT.1 {
                let Some(dropped) = self.events.pop_front() else { break };
                self.bytes -= dropped.bytes;
                self.begins = Some(dropped.version);
            }
            // There may be no client.
            self.sender.send(event).ok();
        }
    }

    /// Starts a watch: after a version, or with all objects that exist.
    pub fn start(
        &self,
        filter: WatchFilter,
        after: Option<&str>,
        present: &[&Arc<Object>],
        version: u64,
    ) -> Result<WatchReply, ApiFailure> {
        let backlog: Vec<WatchEvent> = match after {
            None => present.iter().map(|object| event(&StoreChange::Added(Arc::clone(object)), version)).collect(),
            Some(after) => {
                let Ok(after) = after.parse::<u64>() else {
                    return Err(ApiFailure::new(FailureReason::BadRequest, format!("{after:?} is no resourceVersion")));
                };
                if after > version || Some(after) < self.begins {
                    let message = format!("the changes since version {after} are not kept; read the objects again");
                    return Err(ApiFailure::new(FailureReason::Gone, message));
                }
                let events = self.events.iter().filter(|kept| kept.version > after);
                events.map(|kept| WatchEvent::clone(&kept.event)).collect()
            }
        };
        let backlog = backlog.into_iter().filter(|event| filter.matches(event)).collect();
        Ok(WatchReply { backlog, events: self.sender.subscribe(), filter })
    }
}

fn event(change: &StoreChange, version: u64) -> WatchEvent {
    let (change, object) = match change {
        StoreChange::Added(object) => (WatchChange::Added, object),
        StoreChange::Modified(object) => (WatchChange::Modified, object),
        StoreChange::Deleted(object) => (WatchChange::Deleted, object),
    };
    WatchEvent {
        change,
        kind: object.key.kind.qualified(),
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
        object: object.document(),
        origin: object.origin.to_string(),
        resource_version: version.to_string(),
    }
}
