//! Which clients get another destination when one route takes the place of another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tcpshift_common::SLOTS;
use tcpshift_common::decide::steer;

use crate::plan::Route;

/// A share of the clients, from one destination to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// Where they went; none if the route had no destination.
    pub from: Option<String>,
    /// Where they go; none if the route has no destination.
    pub to: Option<String>,
    /// Of 10,000.
    pub slots: u32,
}

/// Who moves when `after` takes the place of `before`, the largest share first.
///
/// Where both steer alike by a hash, a client keeps its slot: the answer is exact. By `sequence` no client has
/// a slot; the answer is how many of 10,000 connections in a row are counted elsewhere. Where steering
/// changes, each client is decided anew, and the answer is what chance makes of it, rounded.
pub fn moves(before: &Route, after: &Route) -> Vec<Move> {
    let shares = if before.steer != after.steer {
        anew(&counts(before), &counts(after))
    } else if before.steer.by == steer::SEQUENCE {
        least(counts(before), counts(after))
    } else if before.table == after.table {
        // Equal tables have the same names in the same order.
        BTreeMap::new()
    } else {
        slot_by_slot(before, after)
    };
    let others = shares.into_iter().filter(|((from, to), slots)| from != to && *slots > 0);
    let owned = |name: Option<&str>| name.map(str::to_owned);
    let mut moves: Vec<Move> =
        others.map(|((from, to), slots)| Move { from: owned(from), to: owned(to), slots }).collect();
    moves.sort_by(|a, b| b.slots.cmp(&a.slots).then_with(|| a.cmp(b)));
    moves
}

type Name<'a> = Option<&'a str>;
type Shares<'a> = BTreeMap<(Name<'a>, Name<'a>), u32>;

fn slot_by_slot<'a>(before: &'a Route, after: &'a Route) -> Shares<'a> {
    // By place first: names are looked up once for each pair, not for each slot.
    let mut pairs: BTreeMap<(Option<u16>, Option<u16>), u32> = BTreeMap::new();
    let (slots_before, slots_after) = (before.table.slots(), after.table.slots());
    for slot in 0..SLOTS as usize {
        *pairs.entry((slots_before.get(slot).copied(), slots_after.get(slot).copied())).or_default() += 1;
    }
    let name = |route: &'a Route, place: Option<u16>| {
        place.and_then(|place| route.destinations.get(usize::from(place))).map(|one| one.name.as_str())
    };
    let mut shares = Shares::new();
    for ((from, to), slots) in pairs {
        *shares.entry((name(before, from), name(after, to))).or_default() += slots;
    }
    shares
}

/// Slots of each destination by name; all of them belong to none where no weight is positive.
fn counts(route: &Route) -> BTreeMap<Name<'_>, u32> {
    let mut counts: BTreeMap<Name<'_>, u32> =
        route.destinations.iter().map(|one| (Some(one.name.as_str()), one.slots)).collect();
    let given: u32 = counts.values().sum();
    counts.insert(None, SLOTS.saturating_sub(given));
    counts
}

/// What one loses another gains, in the order of names.
fn least<'a>(mut before: BTreeMap<Name<'a>, u32>, mut after: BTreeMap<Name<'a>, u32>) -> Shares<'a> {
    for (name, slots) in &mut before {
        let stays = after.get(name).map_or(0, |after| (*slots).min(*after));
        *slots -= stays;
        after.entry(*name).and_modify(|after| *after -= stays);
    }
    let mut shares = Shares::new();
    let mut gains = after.into_iter().filter(|(_, slots)| *slots > 0).peekable();
    for (from, mut lost) in before {
        while lost > 0 {
            let Some((to, gained)) = gains.peek_mut() else { break };
            let slots = lost.min(*gained);
            *shares.entry((from, *to)).or_default() += slots;
            lost -= slots;
            *gained -= slots;
            if *gained == 0 {
                gains.next();
            }
        }
    }
    shares
}

/// Two decisions that know nothing of each other.
fn anew<'a>(before: &BTreeMap<Name<'a>, u32>, after: &BTreeMap<Name<'a>, u32>) -> Shares<'a> {
    let both = before.iter().flat_map(|one| after.iter().map(move |other| (one, other)));
    both.map(|((from, lost), (to, gained))| ((*from, *to), (lost * gained + SLOTS / 2) / SLOTS)).collect()
}

#[cfg(test)]
mod tests;
