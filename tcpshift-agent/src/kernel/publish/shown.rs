//! What people see of the tables in force, by names in the bpf filesystem.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::Notify;

use super::Publisher;
use super::tables::PlanTables;
use crate::kernel::pins::Pins;

/// What is in force and could not be shown yet.
#[derive(Debug, Default)]
pub(super) struct Unshown {
    /// Whether there is something.
    has_failed: bool,
    /// Slot tables, by route.
    slots: BTreeMap<u32, OwnedFd>,
}

impl Publisher {
    /// Shows the tables of the plan in force again. A route's slot table follows when its weights change.
    pub(in crate::kernel) fn show(&mut self, pins: &Pins) {
        self.shown.clear();
        self.show_new(None, pins, &[], &[]);
        self.names.show(pins);
    }

    /// Shows what could not be shown before.
    pub(in crate::kernel) fn show_again(&mut self, pins: &Pins) {
        self.names.make_again(&self.maps, pins);
        if !std::mem::take(&mut self.unshown.has_failed) {
            return;
        }
        self.shown.clear();
        let shown = self.tables.as_ref().map(|tables| tables.shown(None)).unwrap_or_default();
        let done = pins.show(&shown, &[], &[]).and(self.try_chunks(pins));
        self.unshown.slots.retain(|route, table| pins.show_slots(*route, table.as_fd()).is_err());
        self.unshown.has_failed = done.is_err() || !self.unshown.slots.is_empty();
        if !self.unshown.has_failed {
            log::info!("all that is in force is shown");
        }
    }

    /// Shows names that were made meanwhile.
    pub(in crate::kernel) fn show_names(&mut self, pins: Option<&Pins>) {
        self.names.look(&self.maps, pins);
    }

    /// Is notified when names can be shown.
    pub(in crate::kernel) fn names_made(&self) -> Arc<Notify> {
        self.names.made()
    }

    /// Shows what was not shown before.
    pub(super) fn show_new(&mut self, last: Option<&PlanTables>, pins: &Pins, changed: &[u32], gone: &[u32]) {
        let shown = self.tables.as_ref().map(|tables| tables.shown(last)).unwrap_or_default();
        let done = pins.show(&shown, changed, gone);
        self.unshown.slots.retain(|route, _| !changed.contains(route) && !gone.contains(route));
        self.note(done);
        self.show_chunks(pins);
    }

    /// Shows chunks of endpoint sets that were not shown before, and hides those that are gone.
    pub(super) fn show_chunks(&mut self, pins: &Pins) {
        let done = self.try_chunks(pins);
        self.note(done);
    }

    /// Slot tables of these routes are in force, and could not be shown.
    pub(super) fn leave_unshown(&mut self, slots: BTreeMap<u32, OwnedFd>) {
        if !slots.is_empty() {
            self.unshown.slots.extend(slots);
            self.note(Err(anyhow::anyhow!("not all slot tables can be pinned")));
        }
    }

    /// Says once that something cannot be shown, until all is.
    fn note(&mut self, done: Result<()>) {
        if let Err(error) = done
            && !std::mem::replace(&mut self.unshown.has_failed, true)
        {
            log::warn!("what is in force is not shown as it is: {error:#}; it is tried again");
        }
    }

    fn try_chunks(&mut self, pins: &Pins) -> Result<()> {
        let free = self.pools.lock();
        let chunks: Vec<_> = free.endpoints.shown().collect();
        let new = chunks.iter().filter(|(number, _)| !self.shown.contains(number));
        let new: Vec<_> = new.map(|(number, map)| (format!("endpoints-{number}"), *map)).collect();
        let done = pins.show(&new, &[], &[]);
        let there: Vec<u32> = chunks.iter().map(|(number, _)| *number).collect();
        for number in self.shown.iter().filter(|number| !there.contains(number)) {
            pins.hide(&format!("endpoints-{number}"));
        }
        self.shown = there;
        done
    }
}
