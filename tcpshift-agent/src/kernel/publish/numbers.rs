//! Numbers and rows that are free, and what was taken for a plan or for sets that are not in force.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tcpshift_common::layout::{EndpointRow, HashRow, TABLES};

use super::free::Numbers;
use super::ranges::{Range, Ranges};
use crate::kernel::load::{Maps, Room};

/// Kinds of tables that are hung in by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableKind {
    Slots,
    WideSlots,
    Addresses,
    Listeners,
    Rules,
    Routes,
    Destinations,
}

const KINDS: usize = 7;

impl TableKind {
    pub(super) const ALL: [Self; KINDS] =
        [Self::Slots, Self::WideSlots, Self::Addresses, Self::Listeners, Self::Rules, Self::Routes, Self::Destinations];
}

/// What was taken: tables and sets by number, and ranges of rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    tables: [Vec<u32>; KINDS],
    pub(super) sets: Vec<u32>,
    pub(super) endpoints: Vec<Range>,
    pub(super) hashes: Vec<Range>,
}

impl Holdings {
    /// Tables of a kind, by number.
    pub(super) fn of(&self, kind: TableKind) -> &[u32] {
        &self.tables[kind as usize]
    }

    /// As [`Holdings::of`], to be added to.
    pub(super) fn of_mut(&mut self, kind: TableKind) -> &mut Vec<u32> {
        &mut self.tables[kind as usize]
    }

    /// Adds others.
    pub(super) fn add(&mut self, other: Self) {
        let Self { tables, sets, endpoints, hashes } = other;
        self.tables.iter_mut().zip(tables).for_each(|(all, others)| all.extend(others));
        self.sets.extend(sets);
        self.endpoints.extend(endpoints);
        self.hashes.extend(hashes);
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.iter().all(Vec::is_empty)
            && (self.sets.is_empty() && self.endpoints.is_empty() && self.hashes.is_empty())
    }

    /// Takes tables away, and chunks that one range alone has: what was hung in by these numbers is read by nobody.
    pub(super) fn clear(&self, maps: &Maps) -> std::io::Result<()> {
        for kind in TableKind::ALL {
            let numbers = self.of(kind);
            if !numbers.is_empty() {
                match kind {
                    TableKind::Slots => maps.slots.clear(numbers),
                    TableKind::WideSlots => maps.wide_slots.clear(numbers),
                    TableKind::Addresses => maps.addresses.clear(numbers),
                    // These stay, and are written again.
                    TableKind::Listeners | TableKind::Rules | TableKind::Routes | TableKind::Destinations => Ok(()),
                }?;
            }
        }
        Range::clear(&self.endpoints, &maps.set_chunks)?;
        Range::clear(&self.hashes, &maps.hash_chunks)
    }
}

/// What is free. A [`Fresh`] gives back what it took when it is dropped.
#[derive(Debug)]
pub(super) struct Pools(Mutex<Free>);

#[derive(Debug)]
pub(super) struct Free {
    tables: [Numbers; KINDS],
    sets: Numbers,
    pub(super) endpoints: Ranges<EndpointRow>,
    pub(super) hashes: Ranges<HashRow>,
}

impl Pools {
    /// All are free.
    pub(super) fn new(room: &Room) -> Self {
        let tables = TableKind::ALL.map(|kind| {
            Numbers::new(match kind {
                TableKind::Slots | TableKind::WideSlots => room.slot_tables,
                _ => TABLES,
            })
        });
        Self(Mutex::new(Free {
            tables,
            sets: Numbers::new(room.sets),
            endpoints: Ranges::of_endpoints(),
            hashes: Ranges::of_hashes(room.hash_chunks),
        }))
    }

    /// Takes numbers of slot tables, as many as there are of so many.
    pub(super) fn take_slots(&self, most: usize) -> Vec<u32> {
        let mut free = self.lock();
        let slots = &mut free.tables[TableKind::Slots as usize];
        std::iter::from_fn(|| slots.take()).take(most).collect()
    }

    /// To look at, or to take from.
    pub(super) fn lock(&self) -> MutexGuard<'_, Free> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees what was taken. Nobody may read it any more.
    pub(super) fn give_back(&self, taken: &Holdings) {
        let mut free = self.lock();
        let Free { tables, sets, endpoints, hashes } = &mut *free;
        tables.iter_mut().zip(&taken.tables).for_each(|(free, taken)| free.give_back(taken));
        sets.give_back(&taken.sets);
        endpoints.give_back(&taken.endpoints);
        hashes.give_back(&taken.hashes);
    }
}

/// What was made for what is not in force. It is taken back when this is dropped, unless it is kept.
#[derive(Debug)]
pub(super) struct Fresh {
    maps: Arc<Maps>,
    pools: Arc<Pools>,
    taken: Holdings,
    /// Where slot tables are pinned that are not shown yet.
    names: Vec<PathBuf>,
    /// Slot tables that could not be pinned, by route.
    pub(super) unnamed: BTreeMap<u32, OwnedFd>,
}

impl Fresh {
    /// Nothing yet.
    pub(super) fn new(maps: Arc<Maps>, pools: Arc<Pools>) -> Self {
        Self { maps, pools, taken: Holdings::default(), names: Vec::new(), unnamed: BTreeMap::new() }
    }

    /// Takes a number for a table, if one is free.
    pub(super) fn table(&mut self, kind: TableKind) -> Option<u32> {
        let number = self.pools.lock().tables[kind as usize].take()?;
        self.taken.of_mut(kind).push(number);
        Some(number)
    }

    /// Keeps a number that was taken before from another one.
    pub(super) fn add_table(&mut self, kind: TableKind, number: u32) {
        self.taken.of_mut(kind).push(number);
    }

    /// Takes a number for a set.
    pub(super) fn set(&mut self) -> Result<u32> {
        let number = self.pools.lock().sets.take();
        let number = number.context("no endpoint set is free; raise --max-routes, with which the agent starts")?;
        self.taken.sets.push(number);
        Ok(number)
    }

    /// Lays out an endpoint set in rows of its own.
    pub(super) fn endpoints(&mut self, rows: impl ExactSizeIterator<Item = EndpointRow>) -> Result<Range> {
        let Self { maps, pools, taken, .. } = self;
        let range = pools.lock().endpoints.lay_out(maps, &maps.set_chunks, rows)?;
        taken.endpoints.push(range);
        Ok(range)
    }

    /// Lays out a hash table in rows of its own.
    pub(super) fn hashes(&mut self, rows: impl ExactSizeIterator<Item = HashRow>) -> Result<Range> {
        let Self { maps, pools, taken, .. } = self;
        let range = pools.lock().hashes.lay_out(maps, &maps.hash_chunks, rows)?;
        taken.hashes.push(range);
        Ok(range)
    }

    /// A table is pinned under a name until its plan is in force.
    pub(super) fn named(&mut self, name: PathBuf) {
        self.names.push(name);
    }

    /// It is in force: nothing is taken back.
    pub(super) fn keep(&mut self) {
        (self.taken, self.names) = (Holdings::default(), Vec::new());
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        for name in &self.names {
            // The name may have been removed by hand.
            std::fs::remove_file(name).ok();
        }
        if self.taken.is_empty() {
            return;
        }
        if let Err(error) = self.taken.clear(&self.maps) {
            log::debug!("tables that were given up stay until their numbers are used again: {error}");
        }
        self.pools.give_back(&self.taken);
    }
}
