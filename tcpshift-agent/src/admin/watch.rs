//! Who watches objects, and what they have to be told.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::api::{Failure, Reason, WatchChange, WatchEvent, WatchFilter, WatchReply};
use crate::route::object::Object;
use crate::route::store::Change;

/// Events that are kept for those who resume, and that a slow watcher may lag behind.
const KEPT: usize = 4096;

/// The events of late, and those who wait for the next.
#[derive(Debug)]
pub struct Watchers {
    events: VecDeque<(u64, WatchEvent)>,
    /// A watch cannot begin after a version before this one; none before the first plan.
    begins: Option<u64>,
    sender: broadcast::Sender<WatchEvent>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { events: VecDeque::new(), begins: None, sender: broadcast::Sender::new(KEPT) }
    }
}

impl Watchers {
    /// Tells everybody what changed.
    pub fn record(&mut self, changes: &[Change], version: u64) {
        // What the first plan holds was never told to anybody.
        if self.begins.is_none() {
            self.begins = Some(version);
            return;
        }
        for change in changes {
            let event = event(change, version);
            if self.events.len() == KEPT
                && let Some((dropped, _)) = self.events.pop_front()
            {
                self.begins = Some(dropped);
            }
            self.events.push_back((version, event.clone()));
            // Nobody may be listening.
            self.sender.send(event).ok();
        }
    }

    /// Starts a watch: after a version, or with all that is there.
    pub fn start(
        &self,
        filter: WatchFilter,
        after: Option<&str>,
        present: &[&Arc<Object>],
        version: u64,
    ) -> Result<WatchReply, Failure> {
        let backlog: Vec<WatchEvent> = match after {
            None => present.iter().map(|object| event(&Change::Added(Arc::clone(object)), version)).collect(),
            Some(after) => {
                let Ok(after) = after.parse::<u64>() else {
                    return Err(Failure::new(Reason::BadRequest, format!("{after:?} is no resourceVersion")));
                };
                if after > version || Some(after) < self.begins {
                    let message = format!("the changes since version {after} are not kept; read the objects again");
                    return Err(Failure::new(Reason::Gone, message));
                }
                self.events.iter().filter(|(version, _)| *version > after).map(|(_, event)| event.clone()).collect()
            }
        };
        let backlog = backlog.into_iter().filter(|event| filter.matches(event)).collect();
        Ok(WatchReply { backlog, events: self.sender.subscribe(), filter })
    }
}

fn event(change: &Change, version: u64) -> WatchEvent {
    let (change, object) = match change {
        Change::Added(object) => (WatchChange::Added, object),
        Change::Modified(object) => (WatchChange::Modified, object),
        Change::Deleted(object) => (WatchChange::Deleted, object),
    };
    WatchEvent {
        change,
        kind: object.key.kind.qualified(),
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
        object: object.document(),
        resource_version: version.to_string(),
    }
}
