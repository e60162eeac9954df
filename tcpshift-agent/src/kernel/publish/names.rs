//! Map `destinations`: what programs decide by, with names, for people. No program reads it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, Result};
use tcpshift_common::layout::{DestinationRow, NamedDestinationRow, write};

use crate::kernel::load::Maps;
use crate::kernel::rows::ListedRoute;
use crate::kernel::sys::MappedWords;

/// Words of a row.
const WORDS: usize = size_of::<NamedDestinationRow>() / size_of::<u64>();

/// The map of a plan.
#[derive(Debug)]
pub(super) struct NamedDestinations {
    pub(super) map: OwnedFd,
    memory: MappedWords,
    routes: Vec<ListedRoute>,
    rows: Arc<[DestinationRow]>,
}

impl NamedDestinations {
    /// Makes the map of a plan. What is as it was in the last one is copied from there.
    pub(super) fn new(
        maps: &Maps,
        routes: Vec<ListedRoute>,
        rows: Arc<[DestinationRow]>,
        last: Option<&Self>,
    ) -> Result<Self> {
        let made = maps.name_destinations(rows.len() as u32);
        let (map, memory) = made.context("the kernel makes no map of destinations")?;
        for (number, listed) in routes.iter().enumerate() {
            let ListedRoute { at, route, first } = listed;
            let range = *first..*first + route.destinations.len();
            let is_same = |last: &&Self| {
                last.routes.get(number).is_some_and(|last| last.is(listed))
                    && last.rows.get(range.clone()) == rows.get(range.clone())
            };
            if let Some(last) = last.filter(is_same) {
                memory.copy(&last.memory, range, WORDS);
                continue;
            }
            let (listener, name) = (write(at), write(&route.name()));
            for (index, destination) in range.zip(&route.destinations) {
                let row = NamedDestinationRow {
                    listener,
                    route: name,
                    name: write(&destination.name),
                    weight: destination.weight,
                    slots: destination.slots,
                    route_number: route.number,
                    row: rows.get(index).copied().unwrap_or_default(),
                };
                memory.write_at(index, &row);
            }
        }
        Ok(Self { map, memory, routes, rows })
    }
}
