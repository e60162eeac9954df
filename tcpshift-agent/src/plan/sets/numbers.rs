//! Stable numbers of endpoints, and their rest.
//!
//! An endpoint that leaves all sets keeps its number while anything is known to hold it, and for [`REST`] after that: a client
//! may be at a handshake for which the endpoint was chosen, and which nobody counts yet. If the endpoint comes back meanwhile, it
//! has the number again, and its counters begin at zero. Then the number is free for any endpoint.
//!
//! Endpoints may come and go faster than numbers rest. Where few are left, those that have rested longest are free before their
//! time: few handshakes last that long, and what was decided before a number was given out is not counted for its new endpoint
//! (`EndpointSumRow::since`). To refuse a new endpoint instead would stop an event that is in force elsewhere. Only if that is not
//! enough, numbers go beyond the rows that the kernel has, which the publisher refuses.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// How long a number rests, in nanoseconds. The kernel gives up a handshake 63 s after its SYN, with `tcp_synack_retries` at its
/// default of 5, and 127 s after with 6 (`reqsk_timer_handler`, 6.18,
/// <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/inet_connection_sock.c>). A SYN cookie is answered within two minutes
/// (`MAX_SYNCOOKIE_AGE`, 6.18, <https://elixir.bootlin.com/linux/v6.18/source/include/net/tcp.h>).
pub const REST: u64 = 130_000_000_000;

/// Of numbers that the kernel has rows for, one in so many is not to rest, or as many as there are endpoints in sets if those are
/// more: all of them may be replaced at once.
const SPARE: usize = 4;

/// The numbers of endpoints.
#[derive(Clone, Debug)]
pub struct EndpointNumbers {
    numbers: HashMap<Arc<str>, u32>,
    /// By number.
    cells: Vec<Cell>,
    /// Those that have left their last set since they were settled last.
    left: Vec<u32>,
    /// Those in no set that somebody holds.
    held: BTreeSet<u32>,
    /// Those that rest, by the time since when.
    resting: BTreeSet<(u64, u32)>,
    free: BTreeSet<u32>,
    fresh: FreshEndpoints,
    /// Those that the kernel has rows for are below.
    most: usize,
}

/// Numbers whose counters have to begin before the sets that have them are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreshEndpoints {
    /// They are other endpoints' by now.
    pub new: Vec<u32>,
    /// They are the same endpoint's that had them before it was in no set.
    pub back: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Cell {
    name: Arc<str>,
    /// In how many sets it is.
    uses: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Used,
    Held,
    Resting(u64),
    Free,
}

impl Default for EndpointNumbers {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            cells: Vec::new(),
            left: Vec::new(),
            held: BTreeSet::new(),
            resting: BTreeSet::new(),
            free: BTreeSet::new(),
            fresh: FreshEndpoints::default(),
            most: usize::MAX,
        }
    }
}

impl EndpointNumbers {
    /// Says how many rows the kernel has.
    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// The number of an endpoint, a new one if it has none.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            let is_back = match self.cells[number as usize].state {
                State::Held => self.held.remove(&number),
                State::Resting(since) => self.resting.remove(&(since, number)),
                State::Used | State::Free => false,
            };
            if is_back {
                self.cells[number as usize].state = State::Used;
                self.fresh.back.push(number);
            }
            return number;
        }
        let name: Arc<str> = name.into();
        let cell = Cell { name: Arc::clone(&name), uses: 0, state: State::Used };
        let number = if let Some(number) = self.take() {
            self.cells[number as usize] = cell;
            number
        } else {
            self.cells.push(cell);
            (self.cells.len() - 1) as u32
        };
        self.numbers.insert(name, number);
        self.fresh.new.push(number);
        number
    }

    /// A number that was given out before, unless there is one that was not and the kernel has a row for it.
    fn take(&mut self) -> Option<u32> {
        if let Some(number) = self.free.pop_first() {
            return Some(number);
        }
        if self.cells.len() < self.most {
            return None;
        }
        let (_, number) = self.resting.pop_first()?;
        self.forget(number);
        Some(number)
    }

    /// A set that has the endpoint was made.
    pub fn enter(&mut self, number: u32) {
        if let Some(cell) = self.cells.get_mut(number as usize) {
            cell.uses += 1;
        }
    }

    /// A set that has the endpoint is no longer in force.
    pub fn leave(&mut self, number: u32) {
        if let Some(cell) = self.cells.get_mut(number as usize) {
            cell.uses = cell.uses.saturating_sub(1);
            if cell.uses == 0 {
                self.left.push(number);
            }
        }
    }

    /// Those that are in no set and may have connections, by name.
    pub fn left(&self) -> impl Iterator<Item = (u32, &Arc<str>)> {
        let numbers = self.held.iter().chain(self.resting.iter().map(|(_, number)| number));
        numbers.filter_map(|number| Some((*number, &self.cells.get(*number as usize)?.name)))
    }

    /// Numbers given out since this was asked last.
    pub fn take_fresh(&mut self) -> FreshEndpoints {
        std::mem::take(&mut self.fresh)
    }

    /// Nothing was put in force of what was made: frees the numbers that nobody asked for yet by
    /// [`take_fresh`](Self::take_fresh). Sets that are in force have to be made again.
    pub fn give_up(&mut self) {
        let FreshEndpoints { new, back } = self.take_fresh();
        for (number, cell) in (0..).zip(&mut self.cells) {
            if cell.uses > 0 {
                cell.uses = 0;
                self.left.push(number);
            }
        }
        for number in new {
            self.forget(number);
            self.free.insert(number);
        }
        for number in back {
            self.cells[number as usize].state = State::Held;
            self.held.insert(number);
        }
    }

    /// Sets are in force: has the numbers rest that are in none, once nobody holds them, and frees those that have rested. `now` is
    /// the time in nanoseconds, of a clock that never goes back.
    pub fn settle(&mut self, now: u64, is_held: impl Fn(u32) -> bool) {
        for number in std::mem::take(&mut self.left) {
            let cell = &mut self.cells[number as usize];
            if cell.uses == 0 && cell.state == State::Used {
                cell.state = State::Held;
                self.held.insert(number);
            }
        }
        for number in self.held.extract_if(.., |number| !is_held(*number)) {
            self.cells[number as usize].state = State::Resting(now);
            self.resting.insert((now, number));
        }
        while let Some(&(since, number)) = self.resting.first() {
            if now.saturating_sub(since) < REST && !self.is_short() {
                break;
            }
            self.resting.pop_first();
            if is_held(number) {
                // A handshake that it was chosen for is complete.
                self.cells[number as usize].state = State::Held;
                self.held.insert(number);
            } else {
                self.forget(number);
                self.free.insert(number);
            }
        }
    }

    /// Whether few numbers are left that the kernel has rows for.
    fn is_short(&self) -> bool {
        let used = self.cells.len() - self.free.len() - self.held.len() - self.resting.len();
        let left = self.free.len().saturating_add(self.most.saturating_sub(self.cells.len()));
        left < used.max(self.most / SPARE)
    }

    /// It is nobody's.
    fn forget(&mut self, number: u32) {
        let cell = &mut self.cells[number as usize];
        cell.state = State::Free;
        self.numbers.remove(&cell.name);
    }
}

#[cfg(test)]
mod tests;
