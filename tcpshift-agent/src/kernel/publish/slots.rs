//! Slot tables: one for each route that has slots, shared by all plans in which the route has the same weights.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::Publisher;
use super::numbers::{Fresh, TableKind};
use crate::kernel::load::Maps;
use crate::kernel::pins::Pins;
use crate::kernel::rows;
use crate::plan::{Plan, Route};

/// Tables made before they are hung in together: a descriptor is held for each.
const AT_ONCE: usize = 256;

/// By number of the route: the route as it was when its table was made, and the table; none of one that has none.
pub(super) type SlotTables = Vec<Option<(Arc<Route>, u32)>>;

impl Publisher {
    /// The slot tables of a plan, which routes have new ones that can be shown, and those that are not hung in yet.
    #[allow(clippy::type_complexity, reason = "tables by number")]
    pub(super) fn slot_tables(
        &mut self,
        plan: &Plan,
        pins: Option<&Pins>,
        fresh: &mut Fresh,
    ) -> Result<(SlotTables, Vec<u32>, [(TableKind, Vec<(u32, OwnedFd)>); 2])> {
        let (mut slots, mut changed) = (SlotTables::with_capacity(self.slots.len()), Vec::new());
        let mut made = [(TableKind::Slots, Vec::new()), (TableKind::WideSlots, Vec::new())];
        let maps = Arc::clone(&self.maps);
        for route in plan.routes() {
            // Of one that has no slots programs need none.
            let number = route.number as usize;
            if slot_table_of(&slots, number).is_some() || !route.table.has_slots() {
                continue;
            }
            let kind = slot_kind(route);
            let is_same =
                |last: &Arc<Route>| Arc::ptr_eq(last, route) || last.table == route.table && slot_kind(last) == kind;
            let at = match slot_table_of(&self.slots, number) {
                Some((last, at)) if is_same(last) => *at,
                _ => {
                    let (at, table, is_hung) = match self.spare.pop_if(|_| kind == TableKind::Slots) {
                        Some(spare) => {
                            let at = spare.number;
                            fresh.add_table(kind, at);
                            let table = spare.fill(&rows::slots(&route.table)[0]);
                            (at, table.context("the kernel freezes no slot table")?, true)
                        }
                        None => (self.free_table(kind, fresh)?, self.slot_table(&maps, route)?, false),
                    };
                    match pins.map(|pins| pins.prepare(route.number, table.as_fd())) {
                        None => {}
                        Some(Ok(name)) => {
                            fresh.named(name);
                            changed.push(route.number);
                        }
                        Some(Err(error)) => {
                            log::debug!("cannot pin the slot table of route {}: {error}", route.number);
                            fresh.unnamed.insert(route.number, table.try_clone()?);
                        }
                    }
                    let made = &mut made[usize::from(kind == TableKind::WideSlots)].1;
                    if !is_hung {
                        made.push((at, table));
                    }
                    if made.len() >= AT_ONCE {
                        hang(&maps, kind, &std::mem::take(made))?;
                    }
                    at
                }
            };
            if slots.len() <= number {
                slots.resize(number + 1, None);
            }
            slots[number] = Some((Arc::clone(route), at));
        }
        Ok((slots, changed, made))
    }

    fn slot_table(&mut self, maps: &Maps, route: &Route) -> Result<OwnedFd> {
        let types = maps.types.as_fd();
        let create = || {
            let table = match slot_kind(route) {
                TableKind::WideSlots => maps.wide_slots.create(types, &rows::wide_slots(&route.table)),
                _ => maps.slots.create(types, &rows::slots(&route.table)),
            };
            table.context("the kernel makes no slot table")
        };
        let Some(index) = route.table.sole().filter(|_| !rows::is_wide(route)) else { return create() };
        let table = match self.soles.entry(index) {
            std::collections::hash_map::Entry::Occupied(table) => table.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => vacant.insert(create()?),
        };
        Ok(table.try_clone()?)
    }
}

pub(super) fn slot_table_of(slots: &SlotTables, route: usize) -> Option<&(Arc<Route>, u32)> {
    slots.get(route)?.as_ref()
}

pub(super) fn slot_kind(route: &Route) -> TableKind {
    if rows::is_wide(route) { TableKind::WideSlots } else { TableKind::Slots }
}

/// Hangs in slot tables that were made.
pub(super) fn hang(maps: &Maps, kind: TableKind, made: &[(u32, OwnedFd)]) -> Result<()> {
    let at: Vec<u32> = made.iter().map(|(at, _)| *at).collect();
    let made: Vec<BorrowedFd<'_>> = made.iter().map(|(_, table)| table.as_fd()).collect();
    let hung = match kind {
        _ if at.is_empty() => Ok(()),
        TableKind::WideSlots => maps.wide_slots.hang(&at, &made),
        _ => maps.slots.hang(&at, &made),
    };
    hung.context("cannot hang in tables of routes")
}
