//! Puts plans in force in the kernel: fresh tables for what changed, one write that switches, and old tables taken away
//! after.
//!
//! Programs read one side of the tables while another is made. Every table is immutable from the moment it is hung in.
//! The kernel waits for programs that run before it returns from hanging something into an array of maps
//! (`maybe_wait_bpf_programs`, 6.18, <https://elixir.bootlin.com/linux/v6.18/source/kernel/bpf/syscall.c>). One such wait
//! has passed since a side was last in force when it is written again, so no program can still read it. A call takes some
//! 10 ms, so those of one plan run at once.

mod numbers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, Builder, JoinHandle, ScopedJoinHandle};

use anyhow::{Context, Result, anyhow, bail};
use tcpshift_common::layout::{AddressKey, PlanRow, SIDES};

use self::numbers::{Fresh, Numbers, TableNumbers};
use super::load::{self, Maps, Room};
use super::pins::Pins;
use super::rows::{self, Rows, TablesInUse};
use super::sys::MapRow;
use crate::plan::{HashTable, Plan, Route, Sets};

/// Tables made before they are hung in together: a descriptor is held for each.
const AT_ONCE: usize = 256;

/// Who publishes. There is one for the maps of an agent.
#[derive(Debug)]
pub(super) struct Publisher {
    maps: Arc<Maps>,
    room: Room,
    /// Plans published.
    index: u64,
    numbers: Arc<Numbers>,
    /// By number of the route: the route as it was when its table was made, and the table.
    slots: HashMap<u32, (Arc<Route>, u32)>,
    /// By the numbers of a route and a destination: variants of a route share destinations.
    hashes: HashMap<(u32, u32), (HashTable, u32)>,
    /// Tables of routes of which one destination has all slots, by its index: such routes share one.
    soles: HashMap<u32, OwnedFd>,
    settling: Option<Settling>,
    /// What could not be taken away, and is with the next that is.
    owed: TableNumbers,
    /// Those of the plan in force, by the names they are pinned under; none before the first.
    tables: Vec<(&'static str, OwnedFd)>,
}

/// A switch whose old tables are being taken away.
#[derive(Debug)]
struct Settling {
    thread: JoinHandle<io::Result<()>>,
    /// Free when the thread has ended.
    old: TableNumbers,
}

/// A plan whose tables are made, and that is not in force. What was made for it is given back when it is dropped.
#[derive(Debug)]
pub struct PreparedPlan {
    generation: u64,
    slots: HashMap<u32, (Arc<Route>, u32)>,
    hashes: HashMap<(u32, u32), (HashTable, u32)>,
    /// The tables that were made for it.
    fresh: Fresh,
    /// Numbers of routes with a new slot table, and of routes that are gone.
    changed: Vec<u32>,
    gone: Vec<u32>,
    /// Whether clients who connect to services are steered by it.
    pub has_clients: bool,
    /// Listeners that programs leave to the agent, since they have too many rules.
    pub left: Vec<String>,
    /// By the name it is pinned under.
    tables: [(&'static str, OwnedFd); 6],
}

impl Publisher {
    pub(super) fn new(maps: Arc<Maps>, room: Room) -> Self {
        Self {
            numbers: Arc::new(Numbers::new(room.slot_tables, room.hash_tables)),
            maps,
            room,
            index: 0,
            slots: HashMap::new(),
            hashes: HashMap::new(),
            soles: HashMap::new(),
            settling: None,
            owed: TableNumbers::default(),
            tables: Vec::new(),
        }
    }

    /// Shows the tables of the plan in force again. A route's slot table follows when its weights change.
    pub(super) fn show(&self, pins: &Pins) {
        pins.show(&self.tables, &[], &[]);
    }

    /// Routes that a plan may have: of their numbers there are twice as many.
    pub(super) fn routes(&self) -> u32 {
        self.room.routes / 2
    }

    /// Makes the tables of a plan. Nothing of it is in force yet, and if it fails nothing has changed.
    pub(super) fn prepare(&mut self, plan: &Plan, sets: &Sets, pins: Option<&Pins>) -> Result<PreparedPlan> {
        self.check(plan, sets)?;
        self.reap(false);
        self.make(plan, sets, pins)
    }

    /// Puts a plan in force by one write. Nothing can fail then: what cannot be shown or taken away is said.
    pub(super) fn publish(&mut self, prepared: PreparedPlan, pins: Option<&Pins>) {
        let PreparedPlan { generation, slots, hashes, mut fresh, changed, gone, tables, .. } = prepared;
        self.index += 1;
        self.maps.switch(PlanRow { index: self.index, generation });
        fresh.keep();
        if let Some(pins) = pins {
            pins.show(&tables, &changed, &gone);
        }
        self.tables = tables.into();
        let mut old = TableNumbers {
            slots: replaced(std::mem::replace(&mut self.slots, slots), &self.slots),
            hashes: replaced(std::mem::replace(&mut self.hashes, hashes), &self.hashes),
        };
        self.reap(true);
        old.add(std::mem::take(&mut self.owed));
        let (maps, gone) = (Arc::clone(&self.maps), old.clone());
        if let Ok(thread) = Builder::new().spawn(move || settle(&maps, &gone)) {
            self.settling = Some(Settling { thread, old });
        } else {
            // The host gives no thread.
            let done = settle(&self.maps, &old).map_err(Into::into);
            self.settled(done, old);
        }
    }

    /// Leaves decisions to the agent from now on.
    pub(super) fn stand_aside(&mut self) {
        self.maps.switch(PlanRow::default());
    }

    /// Frees the numbers of old tables if they are gone, or waits for that.
    fn reap(&mut self, wait: bool) {
        let Some(Settling { thread, old }) = self.settling.take_if(|settling| wait || settling.thread.is_finished())
        else {
            return;
        };
        let done = match thread.join() {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(anyhow!("the thread for it has ended by a panic")),
        };
        self.settled(done, old);
    }

    fn settled(&mut self, done: Result<()>, old: TableNumbers) {
        match done {
            Ok(()) => self.numbers.give_back(&old),
            Err(error) => {
                log::warn!(
                    "old tables in the kernel stay until the next change, since they cannot be taken away: {error:#}"
                );
                self.owed.add(old);
            }
        }
    }

    /// Whether every number of a plan has its row in the maps that are made once.
    fn check(&self, plan: &Plan, sets: &Sets) -> Result<()> {
        let Room { routes, destinations, endpoints, .. } = self.room;
        for route in plan.routes() {
            let all = route.destinations.iter();
            let fits = route.number < routes
                && all.clone().all(|destination| destination.number < destinations)
                && all
                    .flat_map(|destination| &*sets.of(destination).endpoints)
                    .all(|end| end.decides.number < endpoints);
            if !fits {
                bail!(
                    "the plan has, or had before, more routes, destinations or endpoints than the maps have rows; \
                     raise --max-routes, with which the agent starts"
                );
            }
        }
        Ok(())
    }

    fn make(&mut self, plan: &Plan, sets: &Sets, pins: Option<&Pins>) -> Result<PreparedPlan> {
        let mut fresh = Fresh::new(Arc::clone(&self.maps), Arc::clone(&self.numbers));
        let (mut made_slots, mut made_hashes) = (Vec::new(), Vec::new());
        let (slots, changed) = self.slot_tables(plan, pins, &mut fresh, &mut made_slots)?;
        let hashes = self.hash_tables(plan, sets, &mut fresh, &mut made_hashes)?;
        let gone = self.slots.keys().filter(|number| !slots.contains_key(number)).copied().collect();
        let Rows { listeners, rules, routes, destinations, endpoints, addresses, left } =
            Rows::new(plan, sets, &TablesInUse { slots: &slots, hashes: &hashes });
        let maps = &*self.maps;
        let side = ((self.index + 1) % u64::from(SIDES)) as u32;
        let (keys, numbers): (Vec<AddressKey>, Vec<u32>) = addresses.into_iter().unzip();
        let addresses = maps.addresses.create_by(maps.types.as_fd(), &keys, &numbers).context(NO_TABLE)?;
        let listeners = fill(maps, &maps.listeners, &listeners)?;
        let rules = fill(maps, &maps.rules, &rules)?;
        let routes = fill(maps, &maps.routes, &routes)?;
        let destinations = fill(maps, &maps.destinations, &destinations)?;
        let endpoints = fill(maps, &maps.endpoints, &endpoints)?;
        // Each call waits for the programs that run, so they had better wait together.
        at_once(&[
            &|| hang(&maps.slots, &made_slots),
            &|| hang(&maps.hash_tables, &made_hashes),
            &|| turn(&maps.addresses, side, &addresses),
            &|| turn(&maps.listeners, side, &listeners),
            &|| turn(&maps.rules, side, &rules),
            &|| turn(&maps.routes, side, &routes),
            &|| turn(&maps.destinations, side, &destinations),
            &|| turn(&maps.endpoints, side, &endpoints),
        ])?;
        let tables = [
            ("addresses", addresses),
            ("listeners", listeners),
            ("rules", rules),
            ("routes", routes),
            ("destinations", destinations),
            ("endpoints", endpoints),
        ];
        let (generation, has_clients) = (plan.generation, rows::has_clients(plan));
        Ok(PreparedPlan { generation, slots, hashes, fresh, changed, gone, has_clients, left, tables })
    }

    fn free_slot(&mut self, fresh: &mut Fresh) -> Result<u32> {
        let number = fresh.slot().or_else(|| {
            self.reap(true);
            fresh.slot()
        });
        number.context("no slot table is free; raise --max-routes")
    }

    fn free_hash(&mut self, fresh: &mut Fresh) -> Result<u32> {
        let number = fresh.hash().or_else(|| {
            self.reap(true);
            fresh.hash()
        });
        number.context("no hash table is free; raise --max-routes")
    }

    /// The slot tables of a plan, and which routes have new ones. Those stay in `made` that are not hung in yet.
    #[allow(clippy::type_complexity, reason = "the tables by number")]
    fn slot_tables(
        &mut self,
        plan: &Plan,
        pins: Option<&Pins>,
        fresh: &mut Fresh,
        made: &mut Vec<(u32, OwnedFd)>,
    ) -> Result<(HashMap<u32, (Arc<Route>, u32)>, Vec<u32>)> {
        let (mut slots, mut changed) = (HashMap::new(), Vec::new());
        let maps = Arc::clone(&self.maps);
        for route in plan.routes() {
            if slots.contains_key(&route.number) {
                continue;
            }
            let at = match self.slots.get(&route.number) {
                Some((last, at)) if Arc::ptr_eq(last, route) || last.table == route.table => *at,
                _ => {
                    let at = self.free_slot(fresh)?;
                    let table = self.slot_table(&maps, route)?;
                    if let Some(pins) = pins {
                        match pins.prepare(route.number, table.as_fd()) {
                            Ok(name) => fresh.named(name),
                            // It is in force without a name, and then that is said.
                            Err(error) => log::debug!("cannot pin the slot table of route {}: {error}", route.number),
                        }
                    }
                    changed.push(route.number);
                    made.push((at, table));
                    at
                }
            };
            slots.insert(route.number, (Arc::clone(route), at));
            if made.len() >= AT_ONCE {
                hang(&maps.slots, &std::mem::take(made))?;
            }
        }
        Ok((slots, changed))
    }

    fn slot_table(&mut self, maps: &Maps, route: &Route) -> Result<OwnedFd> {
        let create = || {
            let table = maps.slots.create(maps.types.as_fd(), &rows::slots(&route.table));
            table.context("the kernel makes no slot table")
        };
        let Some(index) = route.table.sole() else { return create() };
        let table = match self.soles.entry(index) {
            std::collections::hash_map::Entry::Occupied(table) => table.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => vacant.insert(create()?),
        };
        Ok(table.try_clone()?)
    }

    /// The hash tables of a plan. Those stay in `made` that are not hung in yet.
    fn hash_tables(
        &mut self,
        plan: &Plan,
        sets: &Sets,
        fresh: &mut Fresh,
        made: &mut Vec<(u32, OwnedFd)>,
    ) -> Result<HashMap<(u32, u32), (HashTable, u32)>> {
        let mut hashes = HashMap::new();
        let maps = Arc::clone(&self.maps);
        let all =
            plan.routes().flat_map(|route| route.destinations.iter().map(|destination| (route.number, destination)));
        for (route, destination) in all {
            let Some(table) = &sets.of(destination).hashing else { continue };
            let number = (route, destination.number);
            if hashes.contains_key(&number) {
                continue;
            }
            let at = match self.hashes.get(&number) {
                Some((last, at)) if last == table => *at,
                _ => {
                    let at = self.free_hash(fresh)?;
                    let rows = maps.hash_tables.create(maps.types.as_fd(), &rows::hash_rows(table));
                    made.push((at, rows.context("the kernel makes no hash table")?));
                    at
                }
            };
            hashes.insert(number, (table.clone(), at));
            if made.len() >= AT_ONCE {
                hang(&maps.hash_tables, &std::mem::take(made))?;
            }
        }
        Ok(hashes)
    }
}

/// Takes tables away that were in force until the last switch.
fn settle(maps: &Maps, old: &TableNumbers) -> io::Result<()> {
    // Nothing changes by this; it returns when every program that began before the switch has ended.
    maps.slots.clear(&[0])?;
    maps.slots.clear(&old.slots)?;
    maps.hash_tables.clear(&old.hashes)
}

/// Does several things at once; what the host gives no thread for is done after the others have begun.
fn at_once<const N: usize>(all: &[&(dyn Fn() -> Result<()> + Sync); N]) -> Result<()> {
    thread::scope(|scope| {
        let begun = all.map(|one| Builder::new().spawn_scoped(scope, one));
        let done = begun.into_iter().zip(all).map(|(begun, one)| match begun.map(ScopedJoinHandle::join) {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => bail!("a thread that hangs in tables has ended by a panic"),
            Err(_) => one(),
        });
        done.collect::<Vec<_>>().into_iter().collect()
    })
}

const NO_TABLE: &str = "the kernel makes no table for the plan";

/// Makes a table of a plan.
fn fill<R: MapRow>(maps: &Maps, tables: &load::TableArray<R>, rows: &[R]) -> Result<OwnedFd> {
    tables.create(maps.types.as_fd(), rows).context(NO_TABLE)
}

/// Hangs in a table of a plan on a side that no program reads.
fn turn<R: MapRow, K: MapRow>(tables: &load::TableArray<R, K>, side: u32, table: &OwnedFd) -> Result<()> {
    tables.hang(&[side], &[table.as_fd()]).context("cannot hang in a table of the plan")
}

/// Hangs in tables that were made.
fn hang<R: MapRow>(tables: &load::TableArray<R>, made: &[(u32, OwnedFd)]) -> Result<()> {
    let at: Vec<u32> = made.iter().map(|(at, _)| *at).collect();
    let made: Vec<BorrowedFd<'_>> = made.iter().map(|(_, table)| table.as_fd()).collect();
    tables.hang(&at, &made).context("cannot hang in tables of routes")
}

/// Tables that the last plan had and the next has not.
fn replaced<K: Eq + Hash, T>(last: HashMap<K, (T, u32)>, next: &HashMap<K, (T, u32)>) -> Vec<u32> {
    let stays = |number: &K, table: u32| next.get(number).is_some_and(|(_, next)| *next == table);
    last.into_iter().filter(|(number, (_, table))| !stays(number, *table)).map(|(_, (_, table))| table).collect()
}
