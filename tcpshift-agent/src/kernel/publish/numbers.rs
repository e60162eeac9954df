//! Numbers of slot tables and hash tables: which are free, and what was made for a plan that is not in force.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernel::load::Maps;

/// Tables, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct TableNumbers {
    pub(super) slots: Vec<u32>,
    pub(super) hashes: Vec<u32>,
}

impl TableNumbers {
    /// Adds others.
    pub(super) fn add(&mut self, other: Self) {
        self.slots.extend(other.slots);
        self.hashes.extend(other.hashes);
    }
}

/// Which numbers are free. A [`Fresh`] gives the numbers that it took back when it is dropped.
#[derive(Debug)]
pub(super) struct Numbers {
    slots: Mutex<Free>,
    hashes: Mutex<Free>,
}

/// Numbers of one kind that are free.
#[derive(Debug)]
struct Free {
    again: Vec<u32>,
    next: u32,
    most: u32,
}

impl Free {
    /// From 1 on: what hangs at 0 is never taken away.
    fn new(most: u32) -> Mutex<Self> {
        Mutex::new(Self { again: Vec::new(), next: 1, most })
    }

    fn take(&mut self) -> Option<u32> {
        self.again.pop().or_else(|| {
            let number = self.next;
            (number < self.most).then(|| self.next += 1)?;
            Some(number)
        })
    }
}

impl Numbers {
    /// Of so many slot tables and hash tables.
    pub(super) fn new(slots: u32, hashes: u32) -> Self {
        Self { slots: Free::new(slots), hashes: Free::new(hashes) }
    }

    /// Frees numbers.
    pub(super) fn give_back(&self, tables: &TableNumbers) {
        lock(&self.slots).again.extend(&tables.slots);
        lock(&self.hashes).again.extend(&tables.hashes);
    }
}

fn lock(free: &Mutex<Free>) -> MutexGuard<'_, Free> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was made for a plan that is not in force. It is taken back when this is dropped, unless it is kept.
#[derive(Debug)]
pub(super) struct Fresh {
    maps: Arc<Maps>,
    numbers: Arc<Numbers>,
    tables: TableNumbers,
    /// Where slot tables are pinned that are not shown yet.
    names: Vec<PathBuf>,
}

impl Fresh {
    /// Nothing yet.
    pub(super) fn new(maps: Arc<Maps>, numbers: Arc<Numbers>) -> Self {
        Self { maps, numbers, tables: TableNumbers::default(), names: Vec::new() }
    }

    /// Takes a number for a slot table, if one is free.
    pub(super) fn slot(&mut self) -> Option<u32> {
        let number = lock(&self.numbers.slots).take()?;
        self.tables.slots.push(number);
        Some(number)
    }

    /// Takes a number for a hash table, if one is free.
    pub(super) fn hash(&mut self) -> Option<u32> {
        let number = lock(&self.numbers.hashes).take()?;
        self.tables.hashes.push(number);
        Some(number)
    }

    /// A table is pinned under a name until its plan is in force.
    pub(super) fn named(&mut self, name: PathBuf) {
        self.names.push(name);
    }

    /// The plan is in force: nothing is taken back.
    pub(super) fn keep(&mut self) {
        (self.tables, self.names) = (TableNumbers::default(), Vec::new());
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        for name in &self.names {
            // The name may have been removed by hand.
            std::fs::remove_file(name).ok();
        }
        let TableNumbers { slots, hashes } = &self.tables;
        let done = [(&self.maps.slots.clear(slots), slots), (&self.maps.hash_tables.clear(hashes), hashes)];
        for (done, tables) in done {
            if let Err(error) = done
                && !tables.is_empty()
            {
                log::debug!("tables of a plan that was given up stay until their numbers are used again: {error}");
            }
        }
        self.numbers.give_back(&self.tables);
    }
}
