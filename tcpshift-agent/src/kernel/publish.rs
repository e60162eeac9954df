//! Puts plans in force in the kernel: fresh tables for what changed, one write that switches, and old tables taken away
//! after.
//!
//! Programs read one side of a pair of tables while the other is made. Every table is immutable from the moment it is
//! hung in. A side is made anew only when no program can be reading it any more: the kernel waits for those that run
//! before it returns from hanging something into an array of maps (`maybe_wait_bpf_programs`), and [`Publisher`] waits
//! for such a call after each switch. It must not know where the tables are pinned.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use tcpshift_common::layout::PlanRow;

use super::load::{Maps, Room, Tables};
use super::pins::Pins;
use super::rows::{self, Places, Rows};
use super::sys::Row;
use crate::plan::{HashTable, Plan, Route};

/// Tables made before they are hung in together: a descriptor is held for each.
const AT_ONCE: usize = 256;

/// Numbers of tables that are free.
#[derive(Debug)]
struct Free {
    again: Vec<u32>,
    next: u32,
    most: u32,
}

impl Free {
    /// From 1 on: what hangs at 0 is never taken away.
    fn new(most: u32) -> Self {
        Self { again: Vec::new(), next: 1, most }
    }

    fn take(&mut self) -> Option<u32> {
        self.again.pop().or_else(|| {
            let number = self.next;
            (number < self.most).then(|| self.next += 1)?;
            Some(number)
        })
    }
}

/// Who publishes. There is one for the maps of an agent.
#[derive(Debug)]
pub(super) struct Publisher {
    maps: Arc<Maps>,
    room: Room,
    /// Plans published, those that were given up included.
    index: u64,
    free_slots: Free,
    free_hashes: Free,
    /// By number of the route: the route as it was when its table was made, and the table.
    slots: HashMap<u32, (Arc<Route>, u32)>,
    /// By number of the destination.
    hashes: HashMap<u32, (HashTable, u32)>,
    /// Tables of routes of which one destination has all, by its place: such routes share one.
    soles: HashMap<u32, OwnedFd>,
    /// Waits until no program reads the plan before, and then takes its tables away.
    settling: Option<JoinHandle<io::Result<()>>>,
    /// Numbers that are free when that is done.
    settled: Waste,
}

/// Tables that nobody will need.
#[derive(Debug, Default)]
struct Waste {
    slots: Vec<u32>,
    hashes: Vec<u32>,
}

/// A plan whose tables are made, and that is not in force.
#[derive(Debug)]
pub struct Prepared {
    generation: u64,
    slots: HashMap<u32, (Arc<Route>, u32)>,
    hashes: HashMap<u32, (HashTable, u32)>,
    /// The tables that were made for it.
    fresh: Waste,
    /// Numbers of routes whose slot table is new, and whose is gone.
    changed: Vec<u32>,
    gone: Vec<u32>,
    /// Listeners that programs leave to the agent, since they have too many rules.
    pub left: Vec<String>,
    /// By the name it is pinned under.
    tables: [(&'static str, OwnedFd); 5],
}

impl Publisher {
    pub(super) fn new(maps: Arc<Maps>, room: Room) -> Self {
        Self {
            free_slots: Free::new(room.slot_tables),
            free_hashes: Free::new(room.hash_tables),
            maps,
            room,
            index: 0,
            slots: HashMap::new(),
            hashes: HashMap::new(),
            soles: HashMap::new(),
            settling: None,
            settled: Waste::default(),
        }
    }

    /// Makes the tables of a plan. Nothing of it is in force yet, and if it fails nothing has changed.
    pub(super) fn prepare(&mut self, plan: &Plan, pins: Option<&Pins>) -> Result<Prepared> {
        self.settle()?;
        self.check(plan)?;
        let mut fresh = Waste::default();
        let made = self.make(plan, pins, &mut fresh);
        if made.is_err() {
            if let Some(pins) = pins {
                pins.forget(plan.routes().map(|route| route.number));
            }
            self.discard(fresh);
        }
        made
    }

    /// Puts a plan in force by one write.
    pub(super) fn publish(&mut self, prepared: Prepared, pins: Option<&Pins>) -> Result<()> {
        let Prepared { generation, slots, hashes, fresh: _, changed, gone, left: _, tables } = prepared;
        self.index += 1;
        self.maps.plan.set(&0, &PlanRow { index: self.index, generation }).context("cannot switch to the plan")?;
        if let Some(pins) = pins {
            pins.show(&tables, &changed, &gone);
        }
        let old = Waste {
            slots: replaced(std::mem::replace(&mut self.slots, slots), &self.slots),
            hashes: replaced(std::mem::replace(&mut self.hashes, hashes), &self.hashes),
        };
        let maps = Arc::clone(&self.maps);
        let (slots, hashes) = (old.slots.clone(), old.hashes.clone());
        self.settled = old;
        self.settling = Some(thread::spawn(move || {
            // Nothing changes by this; it returns when every program that began before the switch has ended.
            maps.slots.clear(&[0])?;
            maps.slots.clear(&slots)?;
            maps.places.clear(&hashes)
        }));
        Ok(())
    }

    /// Gives up a plan that was prepared.
    pub(super) fn abandon(&mut self, prepared: Prepared, pins: Option<&Pins>) {
        if let Some(pins) = pins {
            pins.forget(prepared.changed.iter().copied());
        }
        self.discard(prepared.fresh);
    }

    /// Leaves decisions to the agent from now on.
    pub(super) fn stand_aside(&mut self) -> Result<()> {
        self.maps.plan.set(&0, &PlanRow::default()).context("cannot switch the programs off")
    }

    /// Waits until the tables of the plan before the one in force are gone.
    fn settle(&mut self) -> Result<()> {
        if let Some(settling) = self.settling.take() {
            match settling.join() {
                Ok(done) => done.context("cannot take old tables away")?,
                Err(_) => bail!("the thread that takes old tables away has ended"),
            }
            let Waste { slots, hashes } = std::mem::take(&mut self.settled);
            self.free_slots.again.extend(slots);
            self.free_hashes.again.extend(hashes);
        }
        Ok(())
    }

    /// Takes back tables that were never in force.
    fn discard(&mut self, Waste { slots, hashes }: Waste) {
        for done in [self.maps.slots.clear(&slots), self.maps.places.clear(&hashes)] {
            if let Err(error) = done {
                log::debug!("tables of a plan that was given up stay until they are used again: {error}");
            }
        }
        self.free_slots.again.extend(slots);
        self.free_hashes.again.extend(hashes);
    }

    /// Whether every number of a plan has its row in the maps that are made once.
    fn check(&self, plan: &Plan) -> Result<()> {
        let Room { routes, destinations, endpoints, .. } = self.room;
        for route in plan.routes() {
            let all = route.destinations.iter();
            let fits = route.number < routes
                && all.clone().all(|destination| destination.decides.number < destinations)
                && all.flat_map(|destination| &*destination.endpoints).all(|end| end.decides.number < endpoints);
            if !fits {
                bail!(
                    "the plan has more routes, destinations or endpoints than the maps have rows; raise --max-routes"
                );
            }
        }
        Ok(())
    }

    fn make(&mut self, plan: &Plan, pins: Option<&Pins>, fresh: &mut Waste) -> Result<Prepared> {
        let (slots, changed) = self.slot_tables(plan, pins, fresh)?;
        let hashes = self.hash_tables(plan, fresh)?;
        let gone = self.slots.keys().filter(|number| !slots.contains_key(number)).copied().collect();
        let Rows { listeners, rules, routes, destinations, endpoints, left } =
            Rows::new(plan, &Places { slots: &slots, hashes: &hashes });
        let maps = &*self.maps;
        let side = ((self.index + 1) & 1) as u32;
        // Each call waits for the programs that run, so they had better wait together.
        let (listeners, rules, routes, destinations, endpoints) = thread::scope(|scope| {
            let rules = scope.spawn(|| fill(maps, &maps.rules, side, &rules));
            let routes = scope.spawn(|| fill(maps, &maps.routes, side, &routes));
            let destinations = scope.spawn(|| fill(maps, &maps.destinations, side, &destinations));
            let endpoints = scope.spawn(|| fill(maps, &maps.endpoints, side, &endpoints));
            let listeners = fill(maps, &maps.listeners, side, &listeners);
            (listeners, rules.join(), routes.join(), destinations.join(), endpoints.join())
        });
        let joined = |filled: thread::Result<Result<OwnedFd>>| match filled {
            Ok(table) => table,
            Err(_) => bail!("a thread that fills tables has ended"),
        };
        let tables = [
            ("listeners", listeners?),
            ("rules", joined(rules)?),
            ("routes", joined(routes)?),
            ("destinations", joined(destinations)?),
            ("endpoints", joined(endpoints)?),
        ];
        let fresh = std::mem::take(fresh);
        Ok(Prepared { generation: plan.generation, slots, hashes, fresh, changed, gone, left, tables })
    }

    /// The slot tables of a plan: new ones for routes that have none that is like theirs.
    #[allow(clippy::type_complexity, reason = "the tables by number, and which are new")]
    fn slot_tables(
        &mut self,
        plan: &Plan,
        pins: Option<&Pins>,
        fresh: &mut Waste,
    ) -> Result<(HashMap<u32, (Arc<Route>, u32)>, Vec<u32>)> {
        let mut slots = HashMap::new();
        let mut wanted = Vec::new();
        for route in plan.routes() {
            match self.slots.get(&route.number) {
                Some((last, table)) if Arc::ptr_eq(last, route) || last.table == route.table => {
                    slots.insert(route.number, (Arc::clone(route), *table));
                }
                _ => wanted.push(route),
            }
        }
        let maps = Arc::clone(&self.maps);
        for some in wanted.chunks(AT_ONCE) {
            let mut made: Vec<(u32, OwnedFd)> = Vec::with_capacity(some.len());
            for route in some {
                let at = self.free_slots.take().context("no slot table is free; raise --max-routes")?;
                fresh.slots.push(at);
                let table = self.slot_table(&maps, route)?;
                if let Some(pins) = pins {
                    pins.prepare(route.number, table.as_fd()).context("cannot pin a slot table")?;
                }
                slots.insert(route.number, (Arc::clone(route), at));
                made.push((at, table));
            }
            hang(&maps.slots, &made).context("cannot hang in slot tables")?;
        }
        Ok((slots, wanted.into_iter().map(|route| route.number).collect()))
    }

    fn slot_table(&mut self, maps: &Maps, route: &Route) -> Result<OwnedFd> {
        let create = || {
            let table = maps.slots.create(maps.types.as_fd(), &rows::slots(&route.table));
            table.context("the kernel makes no slot table")
        };
        let Some(place) = route.table.sole() else { return create() };
        let table = match self.soles.entry(place) {
            std::collections::hash_map::Entry::Occupied(table) => table.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => vacant.insert(create()?),
        };
        Ok(table.try_clone()?)
    }

    fn hash_tables(&mut self, plan: &Plan, fresh: &mut Waste) -> Result<HashMap<u32, (HashTable, u32)>> {
        let mut hashes = HashMap::new();
        let mut made = Vec::new();
        let maps = Arc::clone(&self.maps);
        for destination in plan.routes().flat_map(|route| &route.destinations) {
            let Some(table) = &destination.hashing else { continue };
            let number = destination.decides.number;
            let at = match self.hashes.get(&number) {
                Some((last, at)) if last == table => *at,
                _ => {
                    let at = self.free_hashes.take().context("no hash table is free; raise --max-routes")?;
                    fresh.hashes.push(at);
                    let rows = maps.places.create(maps.types.as_fd(), &rows::places(table));
                    made.push((at, rows.context("the kernel makes no hash table")?));
                    at
                }
            };
            hashes.insert(number, (table.clone(), at));
            if made.len() >= AT_ONCE {
                hang(&maps.places, &std::mem::take(&mut made)).context("cannot hang in hash tables")?;
            }
        }
        hang(&maps.places, &made).context("cannot hang in hash tables")?;
        Ok(hashes)
    }
}

/// Makes a table and hangs it in on a side that no program reads.
fn fill<R: Row>(maps: &Maps, tables: &Tables<R>, side: u32, rows: &[R]) -> Result<OwnedFd> {
    let table = tables.create(maps.types.as_fd(), rows).context("the kernel makes no table for the plan")?;
    tables.hang(&[side], &[table.as_fd()]).context("cannot hang in a table of the plan")?;
    Ok(table)
}

fn hang<R: Row>(tables: &Tables<R>, made: &[(u32, OwnedFd)]) -> io::Result<()> {
    let at: Vec<u32> = made.iter().map(|(at, _)| *at).collect();
    let made: Vec<BorrowedFd<'_>> = made.iter().map(|(_, table)| table.as_fd()).collect();
    tables.hang(&at, &made)
}

/// Tables that the last plan had and the next has not.
fn replaced<T>(last: HashMap<u32, (T, u32)>, next: &HashMap<u32, (T, u32)>) -> Vec<u32> {
    let stays = |number: &u32, table: u32| next.get(number).is_some_and(|(_, next)| *next == table);
    last.into_iter().filter(|(number, (_, table))| !stays(number, *table)).map(|(_, (_, table))| table).collect()
}
