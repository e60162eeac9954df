//! Puts plans and endpoint sets in force in the kernel: new tables for what changed, one write that switches, and old tables
//! taken away after.
//!
//! Programs read the tables of one plan while those of another are made, and tables that two plans have alike are shared.
//! What a program may read is never written. The kernel waits for programs that run before it returns from
//! hanging something into an array of maps (`maybe_wait_bpf_programs`, 6.18,
//! <https://elixir.bootlin.com/linux/v6.18/source/kernel/bpf/syscall.c>). One such wait has passed since a plan or a set was
//! in force when what it had is used again, so no program can still read it. A call takes some 10 ms, so those of one plan
//! run at once, and an endpoint set, which is memory, is replaced without one.

mod free;
mod names;
mod numbers;
mod ranges;
mod sets;
mod shown;
mod slots;
mod spare;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, anyhow, bail};
use tcpshift_common::layout::{PlanRow, SIDES, SideRow};

use self::names::{Listed, ShownNames};
use self::numbers::{Fresh, Holdings, Pools, TableKind};
use self::sets::{KernelSets, NextSets};
use self::shown::Unshown;
use self::slots::{SlotTables, hang, slot_kind, slot_table_of};
use self::spare::SpareTable;
use self::tables::{Hanging, PlanTables, StandingTables, at_once};
use super::load::{Maps, Room};
use super::need::Need;
use super::pins::Pins;
use super::rows::{self, Rows, TablesInUse};
use crate::plan::{Plan, Sets};

/// Who publishes. There is one for the maps of an agent.
#[derive(Debug)]
pub(super) struct Publisher {
    maps: Arc<Maps>,
    room: Room,
    /// Plans published.
    index: u64,
    /// How many of them had been published when the last wait began that is over.
    settled: u64,
    /// The plan in force; none if programs leave decisions to the agent.
    in_force: Option<Plan>,
    pools: Arc<Pools>,
    slots: SlotTables,
    /// Tables of routes of which one destination has all slots, by its index: such routes share one.
    soles: HashMap<u32, OwnedFd>,
    sets: KernelSets,
    spare: Vec<SpareTable>,
    settling: Option<Settling>,
    /// What could not be taken away yet, and is with the next that is.
    owed: Holdings,
    /// Whether that failed when it was tried last.
    has_failed: bool,
    /// Those of the plan in force; none before the first.
    tables: Option<PlanTables>,
    standing: StandingTables,
    names: ShownNames,
    /// Chunks of endpoint sets that are shown.
    shown: Vec<u32>,
    unshown: Unshown,
}

/// Old tables that are being taken away.
#[derive(Debug)]
struct Settling {
    thread: JoinHandle<io::Result<Vec<SpareTable>>>,
    /// Free when the thread has ended.
    old: Holdings,
    /// Numbers of the spare tables that it makes.
    spare: Vec<u32>,
    /// Plans that had been published when it began.
    index: u64,
}

/// What is made and not in force. It is given back when it is dropped.
#[derive(Debug)]
pub struct PreparedPlan {
    /// None if sets alone are replaced.
    next: Option<NextPlan>,
    sets: NextSets,
    /// What was made for it.
    fresh: Fresh,
    /// What the plan needs attached; none if sets alone are replaced.
    pub(super) need: Option<Need>,
    /// Whether clients who connect to services are steered by the plan; none if sets alone are replaced.
    pub has_clients: Option<bool>,
    /// Listeners that programs leave to the agent, since they have too many rules.
    pub left: Vec<String>,
}

/// The tables of a plan that is not in force.
#[derive(Debug)]
struct NextPlan {
    plan: Plan,
    side: SideRow,
    slots: SlotTables,
    tables: PlanTables,
    listed: Listed,
    /// Numbers of routes with a new slot table, and of routes that have none any more.
    changed: Vec<u32>,
    gone: Vec<u32>,
}

impl Publisher {
    pub(super) fn new(maps: Arc<Maps>, room: Room) -> Self {
        Self {
            pools: Arc::new(Pools::new(&room)),
            maps,
            room,
            index: 0,
            settled: 0,
            in_force: None,
            slots: SlotTables::new(),
            soles: HashMap::new(),
            sets: KernelSets::default(),
            spare: Vec::new(),
            settling: None,
            owed: Holdings::default(),
            has_failed: false,
            tables: None,
            standing: StandingTables::default(),
            names: ShownNames::default(),
            shown: Vec::new(),
            unshown: Unshown::default(),
        }
    }

    /// Numbers of endpoints: they are below.
    pub(super) fn endpoints(&self) -> u32 {
        self.room.endpoints
    }

    /// Routes that a plan may have: of their numbers there are twice as many.
    pub(super) fn routes(&self) -> u32 {
        self.room.routes / 2
    }

    /// Whether programs decide by a plan: then only its sets may be others.
    pub(super) fn is_in_force(&self, plan: &Plan) -> bool {
        let is_it = |last: &Plan| last.generation == plan.generation && last.is_like(plan);
        self.in_force.as_ref().is_some_and(is_it)
    }

    /// Makes what a plan and its sets need. Nothing of it is in force yet, and if it fails nothing has changed.
    pub(super) fn prepare(&mut self, plan: &Plan, sets: &Sets, pins: Option<&Pins>) -> Result<PreparedPlan> {
        self.reap(false);
        self.show_names(pins);
        if self.is_in_force(plan) {
            let mut fresh = Fresh::new(Arc::clone(&self.maps), Arc::clone(&self.pools));
            let sets = self.sets.for_event(sets, self.room.endpoints, &mut fresh)?;
            return Ok(PreparedPlan { next: None, sets, fresh, need: None, has_clients: None, left: Vec::new() });
        }
        self.check(plan)?;
        self.make(plan, sets, pins)
    }

    /// Puts in force what was prepared: a plan by one write, a set by one. Nothing can fail then: what cannot be shown or taken
    /// away is said.
    pub(super) fn publish(&mut self, prepared: PreparedPlan, pins: Option<&Pins>) {
        let PreparedPlan { next, sets, mut fresh, .. } = prepared;
        let mut old = Holdings::default();
        if let Some(NextPlan { plan, side, slots, tables, listed, changed, gone }) = next {
            self.index += 1;
            // One wait has passed since this side was in force: see `make`.
            self.maps.write_side((self.index % u64::from(SIDES)) as usize, &side);
            self.maps.switch(PlanRow { index: self.index, generation: plan.generation });
            self.in_force = Some(plan);
            let last = self.tables.replace(tables);
            if let (Some(last), Some(next)) = (&last, &self.tables) {
                last.leave(next, &mut old);
            }
            let last_slots = std::mem::replace(&mut self.slots, slots);
            for (number, last) in last_slots.into_iter().enumerate() {
                let Some((route, table)) = last else { continue };
                if slot_table_of(&self.slots, number).is_none_or(|(_, next)| *next != table) {
                    old.of_mut(slot_kind(&route)).push(table);
                }
            }
            let unnamed = std::mem::take(&mut fresh.unnamed);
            fresh.keep();
            old.add(self.sets.follow(sets));
            if let Some(pins) = pins {
                self.show_new(last.as_ref(), pins, &changed, &gone);
                self.leave_unshown(unnamed);
            }
            self.names.follow(&self.maps, listed, pins);
        } else {
            for set in sets.new.values() {
                self.maps.put_set(set.number, set.begins());
            }
            fresh.keep();
            old.add(self.sets.follow(sets));
            if let Some(pins) = pins {
                self.show_chunks(pins);
            }
        }
        self.settle(old);
    }

    /// Leaves decisions to the agent from now on.
    pub(super) fn stand_aside(&mut self) {
        self.in_force = None;
        self.maps.switch(PlanRow::default());
    }

    /// Has taken away what could not be yet, if something is owed and nothing else is being taken away; and shown what could not
    /// be shown.
    pub(super) fn tidy(&mut self, pins: Option<&Pins>) {
        if let Some(pins) = pins {
            self.show_again(pins);
        }
        if !self.owed.is_empty() || self.names.has_old() || self.settled < self.index {
            self.settle(Holdings::default());
        }
    }

    /// Has old tables taken away once no program can read them; those that are added while others are being taken away follow
    /// after them.
    fn settle(&mut self, old: Holdings) {
        self.owed.add(old);
        self.reap(false);
        if self.settling.is_some() {
            return;
        }
        let old = std::mem::take(&mut self.owed);
        let spare = self.pools.take_slots(spare::most(&self.room).saturating_sub(self.spare.len()));
        let (maps, gone, numbers) = (Arc::clone(&self.maps), old.clone(), spare.clone());
        let names = self.names.take_old();
        let work = move || {
            drop(names);
            take_away(&maps, &gone, &numbers)
        };
        if let Ok(thread) = Builder::new().spawn(work) {
            self.settling = Some(Settling { thread, old, spare, index: self.index });
        } else {
            // The host gives no thread.
            let done = take_away(&self.maps, &old, &spare).map_err(Into::into);
            self.settled(done, old, spare, self.index);
        }
    }

    /// Frees old tables if they are gone, or waits for that.
    fn reap(&mut self, wait: bool) {
        let Some(Settling { thread, old, spare, index }) =
            self.settling.take_if(|settling| wait || settling.thread.is_finished())
        else {
            return;
        };
        let done = match thread.join() {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(anyhow!("the thread for it has ended by a panic")),
        };
        self.settled(done, old, spare, index);
    }

    /// Frees the numbers of spare tables, which others replace.
    fn give_up_spare(&mut self) {
        let mut taken = Holdings::default();
        taken.of_mut(TableKind::Slots).extend(self.spare.drain(..).map(|table| table.number));
        self.pools.give_back(&taken);
    }

    /// Frees all that is old.
    fn reap_all(&mut self) {
        self.reap(true);
        if !self.owed.is_empty() || self.settled < self.index {
            self.settle(Holdings::default());
            self.reap(true);
        }
    }

    fn settled(&mut self, done: Result<Vec<SpareTable>>, old: Holdings, mut spare: Vec<u32>, index: u64) {
        match done {
            Ok(made) => {
                spare.retain(|number| made.iter().all(|table| table.number != *number));
                self.spare.extend(made);
                self.pools.give_back(&old);
                (self.settled, self.has_failed) = (index, false);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    log::warn!("old tables in the kernel cannot be taken away: {error:#}; it is tried again");
                }
                self.owed.add(old);
            }
        }
        let mut unused = Holdings::default();
        unused.of_mut(TableKind::Slots).extend(spare);
        self.pools.give_back(&unused);
    }

    /// Whether every number of a plan has its row in the maps that are made once.
    fn check(&self, plan: &Plan) -> Result<()> {
        let Room { routes, destinations, .. } = self.room;
        for route in plan.routes() {
            let mut all = route.destinations.iter();
            if route.number >= routes || !all.all(|destination| destination.number < destinations) {
                bail!(
                    "the plan has, or had before, more routes or destinations than the maps have rows; raise --max-routes, \
                     with which the agent starts"
                );
            }
        }
        Ok(())
    }

    fn make(&mut self, plan: &Plan, sets: &Sets, pins: Option<&Pins>) -> Result<PreparedPlan> {
        // The side that is written next was in force two plans ago.
        if self.settled + 1 < self.index {
            self.reap_all();
        }
        if self.settled + 1 < self.index {
            bail!("the kernel cannot take away what the plan before the last has left");
        }
        let mut fresh = Fresh::new(Arc::clone(&self.maps), Arc::clone(&self.pools));
        let (slots, changed, made) = self.slot_tables(plan, pins, &mut fresh)?;
        let maps = Arc::clone(&self.maps);
        let hanging = made.iter().filter(|(_, tables)| !tables.is_empty()).map(|(kind, tables)| -> Hanging<'_> {
            let maps = &*maps;
            Box::new(move || hang(maps, *kind, tables))
        });
        // Each call waits for the programs that run. Meanwhile everything else is made.
        let (sets, tables, listed, left) = at_once(&hanging.collect::<Vec<_>>(), || {
            let sets = self.sets.for_plan(plan, sets, self.room.endpoints, &mut fresh)?;
            // No plan in force has these numbers.
            sets.new.values().for_each(|set| self.maps.put_set(set.number, set.begins()));
            let number = |set: u32| self.sets.number(&sets, set);
            let mut rows = Rows::new(plan, &TablesInUse { slots: &slots, sets: &number });
            let (left, routes) = (std::mem::take(&mut rows.left), std::mem::take(&mut rows.listed));
            let destinations: Arc<[_]> = std::mem::take(&mut rows.destinations).into();
            let listed = Listed { routes: routes.into(), rows: Arc::clone(&destinations) };
            let (last, mut standing) = (self.tables.take(), std::mem::take(&mut self.standing));
            let free = |kind| self.free_table(kind, &mut fresh);
            let made = PlanTables::new(&maps, &mut standing, (rows, destinations), last.as_ref(), free);
            (self.tables, self.standing) = (last, standing);
            Ok((sets, made?, listed, left))
        })?;
        let has_table = |number: &usize| slot_table_of(&slots, *number).is_some();
        let had = self.slots.iter().enumerate().filter(|(_, last)| last.is_some()).map(|(number, _)| number);
        let gone = had.filter(|number| !has_table(number)).map(|number| number as u32).collect();
        let side = tables.side(plan.generation, plan.seed);
        let next = NextPlan { plan: plan.clone(), side, slots, tables, listed, changed, gone };
        let need = Some(Need::of(plan));
        Ok(PreparedPlan { next: Some(next), sets, fresh, need, has_clients: Some(rows::has_clients(plan)), left })
    }

    fn free_table(&mut self, kind: TableKind, fresh: &mut Fresh) -> Result<u32> {
        let number = fresh.table(kind).or_else(|| {
            self.reap_all();
            self.give_up_spare();
            fresh.table(kind)
        });
        number.context("no table is free; raise --max-routes, with which the agent starts")
    }
}

/// Takes away what was in force until the last switch, and makes spare tables with these numbers; none if that fails.
fn take_away(maps: &Maps, old: &Holdings, spare: &[u32]) -> io::Result<Vec<SpareTable>> {
    // Nothing changes by this; it returns when every program that began before the switch has ended.
    maps.slots.clear(&[0])?;
    old.clear(maps)?;
    Ok(spare::make(maps, spare).unwrap_or_else(|error| {
        log::debug!("no spare slot tables: {error}");
        Vec::new()
    }))
}
