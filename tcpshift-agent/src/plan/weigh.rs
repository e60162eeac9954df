//! Weights into slots: how many of the 10,000 slots each destination has, and which.
//!
//! Pure and without memory: the same names and weights give the same table in any order and on any machine.
//! It knows names and weights, and no [`Destination`](super::Destination).

use std::sync::{Arc, OnceLock};

use tcpshift_common::{SLOTS, hash};

/// Fixes the scores of slots for ever. It is not the agent's seed: two agents with different seeds share tables.
const SCORE_SEED: u64 = 0x736c_6f74_7363_6f72;

/// How slots are laid out over the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each destination's slots are spread by rank, and stay where they are when weights change.
    Scattered,
    /// Each destination's slots are in one stretch, in the order of names: what `sequence` walks.
    Sorted,
}

/// One route's weight table: which destination each slot belongs to.
#[derive(Clone, Debug)]
pub struct WeightTable {
    layout: Layout,
    /// Name and slots of each destination, in the route's order.
    shares: Vec<(String, u32)>,
    /// The place of the one that has all slots, if one has: it needs no table.
    sole: Option<u32>,
    /// Kept from the first connection that the agent decides for: a plan may have thousands of routes that see none, or whose
    /// connections programs decide for.
    kept: Arc<OnceLock<KeptSlots>>,
}

/// A table in as little memory as its indices take.
#[derive(Debug)]
enum KeptSlots {
    Narrow(Box<[u8]>),
    Wide(Box<[u16]>),
}

impl PartialEq for WeightTable {
    fn eq(&self, other: &Self) -> bool {
        let Self { layout, shares, sole: _, kept: _ } = self;
        *layout == other.layout && *shares == other.shares
    }
}

impl Eq for WeightTable {}

impl WeightTable {
    /// Weighs destinations given by name and weight. Names must be unique, and fewer than 65,536.
    pub fn new(layout: Layout, weights: &[(String, u64)]) -> Self {
        let slots = counts(weights);
        let sole = slots.iter().position(|slots| *slots == SLOTS).map(|place| place as u32);
        let shares = weights.iter().map(|(name, _)| name.clone()).zip(slots).collect();
        Self { layout, shares, sole, kept: Arc::default() }
    }

    /// Slots of each destination, in the route's order. They add up to 10,000, or to 0 if no weight is positive.
    pub fn shares(&self) -> impl Iterator<Item = u32> + '_ {
        self.shares.iter().map(|(_, slots)| *slots)
    }

    /// Whether any destination has slots.
    pub fn has_slots(&self) -> bool {
        self.shares().any(|slots| slots > 0)
    }

    /// The place of the destination that has all slots, if one has.
    pub fn sole(&self) -> Option<u32> {
        self.sole
    }

    /// The place of the destination that has a slot.
    pub fn place(&self, slot: u32) -> Option<u32> {
        if let Some(place) = self.sole {
            return (slot < SLOTS).then_some(place);
        }
        match self.kept.get_or_init(|| KeptSlots::new(self.slots(), self.shares.len())) {
            KeptSlots::Narrow(slots) => slots.get(slot as usize).map(|place| u32::from(*place)),
            KeptSlots::Wide(slots) => slots.get(slot as usize).map(|place| u32::from(*place)),
        }
    }

    /// The table itself: for each slot the place of its destination. Empty if no weight is positive. It is laid out for each
    /// call, which takes some milliseconds where there are many destinations.
    pub fn slots(&self) -> Vec<u16> {
        match self.layout {
            _ if self.shares().sum::<u32>() != SLOTS => Vec::new(),
            Layout::Scattered => scatter(&self.shares),
            Layout::Sorted => sort(&self.shares),
        }
    }
}

impl KeptSlots {
    fn new(slots: Vec<u16>, destinations: usize) -> Self {
        if destinations > usize::from(u8::MAX) + 1 {
            return Self::Wide(slots.into());
        }
        Self::Narrow(slots.into_iter().map(|place| place as u8).collect())
    }
}

/// Slots by largest remainder. Equal remainders go by name, so the order of the list does not matter. A
/// positive weight gets a slot as long as there are slots.
fn counts(weights: &[(String, u64)]) -> Vec<u32> {
    let total: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: u64| u128::from(weight) * u128::from(SLOTS);
    let mut counts: Vec<u32> = weights.iter().map(|(_, weight)| (exact(*weight) / total) as u32).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| {
        let remainder = |place: usize| exact(weights[place].1) % total;
        remainder(b).cmp(&remainder(a)).then_with(|| weights[a].0.cmp(&weights[b].0))
    });
    let left = SLOTS - counts.iter().sum::<u32>();
    for &place in order.iter().take(left as usize) {
        counts[place] += 1;
    }
    // Whoever rounded to nothing takes a slot from whoever has most.
    order.sort_by(|&a, &b| weights[b].1.cmp(&weights[a].1).then_with(|| weights[a].0.cmp(&weights[b].0)));
    for &starved in &order {
        if weights[starved].1 == 0 || counts[starved] > 0 {
            continue;
        }
        let richest =
            (0..weights.len()).max_by(|&a, &b| counts[a].cmp(&counts[b]).then_with(|| weights[b].0.cmp(&weights[a].0)));
        match richest {
            Some(richest) if counts[richest] > 1 => {
                counts[richest] -= 1;
                counts[starved] = 1;
            }
            _ => break,
        }
    }
    counts
}

/// The stable matching of slots and destinations, where both rank each other by one score of the pair and a
/// destination takes as many as it has slots. It is unique, so it depends on nothing but names and counts;
/// with two destinations, one more slot for one of them moves exactly one slot.
///
/// Slots propose to their best destination; one with too many keeps those of the highest score.
fn scatter(shares: &[(String, u32)]) -> Vec<u16> {
    let names: Vec<u64> = shares.iter().map(|(name, _)| hash::name(SCORE_SEED, name.as_bytes())).collect();
    let score = |slot: u32, place: usize| hash::words(names[place], &[u64::from(slot)]);
    let mut held: Vec<Vec<(u64, u32)>> = vec![Vec::new(); shares.len()];
    let mut free: Vec<(u64, u32)> = (0..SLOTS).map(|slot| (u64::MAX, slot)).collect();
    let open: Vec<usize> = (0..shares.len()).filter(|&place| shares[place].1 > 0).collect();
    while !free.is_empty() {
        for (refused_at, slot) in free.drain(..) {
            // The best destination below the score at which the slot was refused last. Scores of one slot
            // differ, since names do; should two be equal, the later place is the lower one.
            let best =
                open.iter().map(|&place| (score(slot, place), place)).filter(|&(score, _)| score < refused_at).max();
            if let Some((score, place)) = best {
                held[place].push((score, slot));
            }
        }
        for &place in &open {
            let room = shares[place].1 as usize;
            if held[place].len() > room {
                held[place].select_nth_unstable_by(room, |a, b| b.cmp(a));
                free.extend(held[place].drain(room..));
            }
        }
    }
    let mut slots = vec![0; SLOTS as usize];
    for (place, held) in held.iter().enumerate() {
        for &(_, slot) in held {
            slots[slot as usize] = place as u16;
        }
    }
    slots
}

/// Stretches in the order of names.
fn sort(shares: &[(String, u32)]) -> Vec<u16> {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| shares[a].0.cmp(&shares[b].0));
    order.iter().flat_map(|&place| std::iter::repeat_n(place as u16, shares[place].1 as usize)).collect()
}

#[cfg(test)]
mod tests;
