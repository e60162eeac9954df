//! The tables of a plan, but for slot tables: those that are as in the plan before are that plan's.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, Builder, ScopedJoinHandle};

use anyhow::{Context, Result, bail};
use tcpshift_common::layout::{AddressKey, DestinationRow, ListenerRow, RouteRow, SideRow};
use tcpshift_common::listener::RuleRow;

use super::numbers::{Holdings, TableKind};
use crate::kernel::load::{Maps, TableArray};
use crate::kernel::rows::Rows;
use crate::kernel::sys::{MapRow, MappedWords};

/// Something that is to be hung in: a call that waits for the programs that run.
pub(super) type Hanging<'a> = Box<dyn Fn() -> Result<()> + Sync + 'a>;

/// What a plan has beside slot tables and sets.
#[derive(Debug)]
pub(super) struct PlanTables {
    addresses: Table<(AddressKey, u32)>,
    listeners: Table<ListenerRow>,
    rules: Table<RuleRow>,
    routes: Table<RouteRow>,
    destinations: Table<DestinationRow>,
}

/// A table that is hung in.
#[derive(Debug)]
struct Table<R> {
    number: u32,
    rows: Arc<[R]>,
    map: Arc<OwnedFd>,
}

/// Tables that stay hung in, by number: one that no program reads any more is written again, if it is large enough.
#[derive(Debug, Default)]
pub(super) struct StandingTables {
    listeners: Standing,
    rules: Standing,
    routes: Standing,
    destinations: Standing,
}

/// Those of one kind.
type Standing = BTreeMap<u32, StandingTable>;

#[derive(Debug)]
struct StandingTable {
    map: Arc<OwnedFd>,
    memory: MappedWords,
    room: usize,
    /// Rows that were written; those after them are zero.
    used: usize,
    /// Whether programs find it under its number. What comes before that may fail.
    is_hung: Arc<AtomicBool>,
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        Self { number: self.number, rows: Arc::clone(&self.rows), map: Arc::clone(&self.map) }
    }
}

impl PlanTables {
    /// Makes the tables of a plan and hangs them in, under numbers that `free` gives.
    pub(super) fn new(
        maps: &Maps,
        standing: &mut StandingTables,
        (rows, destinations): (Rows, Arc<[DestinationRow]>),
        last: Option<&Self>,
        mut free: impl FnMut(TableKind) -> Result<u32>,
    ) -> Result<Self> {
        let Rows { listeners, rules, routes, destinations: _, addresses, listed: _, left: _ } = rows;
        let types = maps.types.as_fd();
        let mut hanging: Vec<Hanging<'_>> = Vec::new();
        let addresses: Vec<_> = addresses.into_iter().collect();
        let last_addresses = last.map(|last| &last.addresses);
        let addresses = written_addresses(maps, last_addresses, addresses, &mut free, &mut hanging)?;
        let of = (types, &maps.listeners, &mut standing.listeners, TableKind::Listeners);
        let listeners = written(of, last.map(|last| &last.listeners), listeners.into(), &mut free, &mut hanging)?;
        let of = (types, &maps.rules, &mut standing.rules, TableKind::Rules);
        let rules = written(of, last.map(|last| &last.rules), rules.into(), &mut free, &mut hanging)?;
        let of = (types, &maps.routes, &mut standing.routes, TableKind::Routes);
        let routes = written(of, last.map(|last| &last.routes), routes.into(), &mut free, &mut hanging)?;
        let of = (types, &maps.destinations, &mut standing.destinations, TableKind::Destinations);
        let destinations = written(of, last.map(|last| &last.destinations), destinations, &mut free, &mut hanging)?;
        at_once(&hanging, || Ok(()))?;
        Ok(Self { addresses, listeners, rules, routes, destinations })
    }

    /// What programs are told of a plan with these tables.
    pub(super) fn side(&self, generation: u64, seed: u64) -> SideRow {
        SideRow {
            generation,
            seed,
            addresses: self.addresses.number,
            listeners: self.listeners.number,
            rules: self.rules.number,
            routes: self.routes.number,
            destinations: self.destinations.number,
            reserved: 0,
        }
    }

    /// The numbers of its tables.
    fn numbers(&self) -> [(TableKind, u32); 5] {
        [
            (TableKind::Addresses, self.addresses.number),
            (TableKind::Listeners, self.listeners.number),
            (TableKind::Rules, self.rules.number),
            (TableKind::Routes, self.routes.number),
            (TableKind::Destinations, self.destinations.number),
        ]
    }

    /// Adds to what is old which of its tables the next plan does not have.
    pub(super) fn leave(&self, next: &Self, old: &mut Holdings) {
        for ((kind, last), (_, next)) in self.numbers().into_iter().zip(next.numbers()) {
            if last != next {
                old.of_mut(kind).push(last);
            }
        }
    }

    /// Its tables by the names under which they are shown, but for those that the plan before has too.
    pub(super) fn shown(&self, last: Option<&Self>) -> Vec<(String, BorrowedFd<'_>)> {
        let maps =
            [&self.addresses.map, &self.listeners.map, &self.rules.map, &self.routes.map, &self.destinations.map];
        let names = ["addresses", "listeners", "rules", "routes", "plan_dests"];
        let last = last.map(Self::numbers);
        let is_new = |at: usize| last.is_none_or(|last| last[at] != self.numbers()[at]);
        let new = names.into_iter().zip(maps).enumerate().filter(|(at, _)| is_new(*at));
        new.map(|(_, (name, map))| (name.to_owned(), map.as_fd())).collect()
    }
}

/// The table of addresses of the next plan: that of the plan in force if it has the same rows. It is a trie, which cannot be
/// memory, so that it is made anew.
fn written_addresses<'a>(
    maps: &'a Maps,
    last: Option<&Table<(AddressKey, u32)>>,
    rows: Vec<(AddressKey, u32)>,
    free: &mut impl FnMut(TableKind) -> Result<u32>,
    hanging: &mut Vec<Hanging<'a>>,
) -> Result<Table<(AddressKey, u32)>> {
    if let Some(last) = last.filter(|last| *last.rows == *rows) {
        return Ok(last.clone());
    }
    let number = free(TableKind::Addresses)?;
    let (keys, numbers): (Vec<AddressKey>, Vec<u32>) = rows.iter().copied().unzip();
    let made = maps.addresses.create_by(maps.types.as_fd(), &keys, &numbers);
    let map = Arc::new(made.context("the kernel makes no table for the plan")?);
    let hung = Arc::clone(&map);
    hanging.push(Box::new(move || {
        maps.addresses.hang(&[number], &[hung.as_fd()]).context("cannot hang in a table of the plan")
    }));
    Ok(Table { number, rows: rows.into(), map })
}

/// A table of the next plan, in memory: that of the plan in force if it has the same rows. Where a table of its number is large
/// enough, that is written, and nothing is to be hung in.
fn written<'a, R: MapRow + PartialEq + Sync>(
    (types, tables, standing, kind): (BorrowedFd<'_>, &'a TableArray<R>, &mut Standing, TableKind),
    last: Option<&Table<R>>,
    rows: Arc<[R]>,
    free: &mut impl FnMut(TableKind) -> Result<u32>,
    hanging: &mut Vec<Hanging<'a>>,
) -> Result<Table<R>> {
    if let Some(last) = last.filter(|last| *last.rows == *rows) {
        return Ok(last.clone());
    }
    let number = free(kind)?;
    if standing.get(&number).is_none_or(|table| table.room < rows.len()) {
        // Some more than there are, so that the next that are added need no other table.
        let room = (rows.len() + rows.len() / 4).max(1);
        let made = tables.create_memory(types, u32::try_from(room)?);
        let (map, memory) = made.context("the kernel makes no table for the plan")?;
        standing.insert(number, StandingTable { map: map.into(), memory, room, used: 0, is_hung: Arc::default() });
    }
    let table = standing.get_mut(&number).context("a table is not there")?;
    rows.iter().enumerate().for_each(|(at, row)| table.memory.write_at(at, row));
    table.memory.clear(rows.len()..table.used, size_of::<R>());
    table.used = rows.len();
    if !table.is_hung.load(Relaxed) {
        let (map, is_hung) = (Arc::clone(&table.map), Arc::clone(&table.is_hung));
        hanging.push(Box::new(move || {
            tables.hang(&[number], &[map.as_fd()]).context("cannot hang in a table of the plan")?;
            is_hung.store(true, Relaxed);
            Ok(())
        }));
    }
    Ok(Table { number, rows, map: Arc::clone(&table.map) })
}

/// Does several things at once, and another one beside them. What the host gives no thread for is done after the others have
/// begun.
pub(super) fn at_once<T>(all: &[Hanging<'_>], beside: impl FnOnce() -> Result<T>) -> Result<T> {
    thread::scope(|scope| {
        let begun: Vec<_> = all.iter().map(|one| (one, Builder::new().spawn_scoped(scope, one))).collect();
        let beside = beside();
        let done: Vec<Result<()>> = begun
            .into_iter()
            .map(|(one, begun)| match begun.map(ScopedJoinHandle::join) {
                Ok(Ok(done)) => done,
                Ok(Err(_)) => bail!("a thread that hangs in tables has ended by a panic"),
                Err(_) => one(),
            })
            .collect();
        done.into_iter().collect::<Result<()>>()?;
        beside
    })
}
