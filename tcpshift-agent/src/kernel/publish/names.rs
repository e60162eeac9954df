//! Map `destinations`: what programs decide by, with names, for people. No program reads it.
//!
//! It is the largest map of a plan, and is made whole for each, since a reader may have the one before open. That of a large plan
//! is made by a thread after the plan is in force, so that no edit waits until the kernel has so much memory: it is shown a
//! moment later, and of plans that follow on each other at once the last one's.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::Builder;

use anyhow::{Context, Result, anyhow};
use tcpshift_common::layout::{DestinationRow, NamedDestinationRow, write};
use tokio::sync::Notify;

use crate::kernel::load::Maps;
use crate::kernel::pins::Pins;
use crate::kernel::rows::ListedRoute;
use crate::kernel::sys::MappedWords;

/// Its name.
const NAME: &str = "destinations";

/// Words of a row.
const WORDS: usize = size_of::<NamedDestinationRow>() / size_of::<u64>();

/// Destinations whose names are shown before an edit is answered: their map is made in a millisecond.
const AT_ONCE: usize = 1_000;

/// Names of the plan in force.
#[derive(Debug, Default)]
pub(super) struct ShownNames {
    shown: Option<Arc<NamedDestinations>>,
    /// Whether it has its name in the bpf filesystem.
    is_pinned: bool,
    /// Something failed since all was well.
    has_failed: bool,
    /// The next map, which is being made.
    making: Option<(Listed, Receiver<Result<NamedDestinations>>)>,
    /// What the map after that is made of.
    next: Option<Listed>,
    /// Maps that were shown before. To free them takes a while.
    old: Vec<Arc<NamedDestinations>>,
    /// A map is made.
    made: Arc<Notify>,
}

/// The map of a plan.
#[derive(Debug)]
pub(super) struct NamedDestinations {
    map: OwnedFd,
    memory: MappedWords,
    of: Listed,
}

/// What a map is made of.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) routes: Arc<[ListedRoute]>,
    pub(super) rows: Arc<[DestinationRow]>,
}

impl ShownNames {
    /// Follows a plan that is in force.
    pub(super) fn follow(&mut self, maps: &Arc<Maps>, of: Listed, pins: Option<&Pins>) {
        let is_large = of.rows.len() > AT_ONCE;
        self.next = Some(of);
        if is_large {
            self.make(maps, pins);
        } else {
            // One that is being made is of a plan before.
            self.making = None;
            self.make_here(maps, pins);
        }
    }

    /// Shows a map that was made meanwhile.
    pub(super) fn look(&mut self, maps: &Arc<Maps>, pins: Option<&Pins>) {
        let Some((of, making)) = self.making.take() else { return };
        let made = match making.try_recv() {
            Err(TryRecvError::Empty) => {
                self.making = Some((of, making));
                return;
            }
            Ok(made) => made,
            Err(TryRecvError::Disconnected) => Err(anyhow!("the thread that makes it has ended by a panic")),
        };
        if self.put(made, pins) {
            self.make(maps, pins);
        } else {
            self.next.get_or_insert(of);
        }
    }

    /// Shows them again.
    pub(super) fn show(&mut self, pins: &Pins) {
        let Some(names) = &self.shown else { return };
        let pinned = pins.pin(NAME, names.map.as_fd());
        self.is_pinned = self.note(pinned).is_some();
    }

    /// Makes and shows what could not be before.
    pub(super) fn make_again(&mut self, maps: &Arc<Maps>, pins: &Pins) {
        if !self.has_failed {
            return;
        }
        self.make(maps, Some(pins));
        if !self.is_pinned {
            self.show(pins);
        }
        self.has_failed = self.next.is_some() || self.making.is_some() || self.shown.is_some() && !self.is_pinned;
    }

    /// Maps that nobody needs, to be dropped where that may take a while.
    pub(super) fn take_old(&mut self) -> Vec<Arc<NamedDestinations>> {
        std::mem::take(&mut self.old)
    }

    /// Whether there are such.
    pub(super) fn has_old(&self) -> bool {
        !self.old.is_empty()
    }

    /// Is notified when [`ShownNames::look`] has something to show.
    pub(super) fn made(&self) -> Arc<Notify> {
        Arc::clone(&self.made)
    }

    /// Has the next map made, unless another one is.
    fn make(&mut self, maps: &Arc<Maps>, pins: Option<&Pins>) {
        let Some(of) = self.next.take_if(|_| self.making.is_none()) else { return };
        let (maps_there, last, notify) = (Arc::clone(maps), self.shown.clone(), self.made());
        let ((give, made), listed) = (mpsc::channel(), of.clone());
        let work = move || {
            // Nobody may want it any more.
            give.send(NamedDestinations::new(&maps_there, listed, last.as_deref())).ok();
            notify.notify_one();
        };
        if Builder::new().name("names".to_owned()).spawn(work).is_ok() {
            self.making = Some((of, made));
        } else {
            // The host gives no thread.
            self.next = Some(of);
            self.make_here(maps, pins);
        }
    }

    fn make_here(&mut self, maps: &Maps, pins: Option<&Pins>) {
        let Some(of) = self.next.take() else { return };
        let made = NamedDestinations::new(maps, of.clone(), self.shown.as_deref());
        if !self.put(made, pins) {
            self.next = Some(of);
        }
    }

    /// Shows a map. Returns false if it could not be made.
    fn put(&mut self, made: Result<NamedDestinations>, pins: Option<&Pins>) -> bool {
        let Some(names) = self.note(made) else { return false };
        self.old.extend(self.shown.replace(Arc::new(names)));
        if let Some(pins) = pins {
            self.show(pins);
        }
        true
    }

    /// Says once that something failed, until all is well.
    fn note<T>(&mut self, done: Result<T>) -> Option<T> {
        let error = match done {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        if !std::mem::replace(&mut self.has_failed, true) {
            log::warn!("the map `{NAME}` shows a plan before the one in force: {error:#}; it is tried again");
        }
        None
    }
}

impl NamedDestinations {
    /// Makes the map of a plan. What is as it was in the last one is copied from there.
    fn new(maps: &Maps, of: Listed, last: Option<&Self>) -> Result<Self> {
        let Listed { routes, rows } = &of;
        let made = maps.name_destinations(rows.len() as u32);
        let (map, memory) = made.context("the kernel makes no map of destinations")?;
        for (number, listed) in routes.iter().enumerate() {
            let ListedRoute { at, route, first } = listed;
            let range = *first..*first + route.destinations.len();
            let is_same = |last: &&Self| {
                last.of.routes.get(number).is_some_and(|last| last.is(listed))
                    && last.of.rows.get(range.clone()) == rows.get(range.clone())
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
        Ok(Self { map, memory, of })
    }
}
