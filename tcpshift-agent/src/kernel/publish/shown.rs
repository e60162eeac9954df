//! What people see of the tables in force, by names in the bpf filesystem.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Publisher;
use super::tables::PlanTables;
use crate::kernel::pins::Pins;

impl Publisher {
    /// Shows the tables of the plan in force again. A route's slot table follows when its weights change.
    pub(in crate::kernel) fn show(&mut self, pins: &Pins) {
        self.shown.clear();
        self.show_new(None, pins, &[], &[]);
        self.names.show(pins);
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
        pins.show(&shown, changed, gone);
        self.show_chunks(pins);
    }

    /// Shows chunks of endpoint sets that were not shown before, and hides those that are gone.
    pub(super) fn show_chunks(&mut self, pins: &Pins) {
        let free = self.pools.lock();
        let chunks: Vec<_> = free.endpoints.shown().collect();
        let new = chunks.iter().filter(|(number, _)| !self.shown.contains(number));
        let new: Vec<_> = new.map(|(number, map)| (format!("endpoints-{number}"), *map)).collect();
        pins.show(&new, &[], &[]);
        let there: Vec<u32> = chunks.iter().map(|(number, _)| *number).collect();
        for number in self.shown.iter().filter(|number| !there.contains(number)) {
            pins.hide(&format!("endpoints-{number}"));
        }
        self.shown = there;
    }
}
