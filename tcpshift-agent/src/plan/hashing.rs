//! Tables that lead from a client's hash to an endpoint, the same one as long as it is there.
//!
//! Pure and without memory: the same addresses and weights give the same table on any machine. Endpoints that
//! come or go move few clients beside their own.
//!
//! A *ring* has a fixed number of places, and each place ranks the endpoints by a score of the pair, scaled by
//! the endpoint's weight (weighted rendezvous hashing). So exactly the places of who goes change hands, which
//! points on a circle do only if their number does not depend on the others. *Maglev* (Eisenbud et al. 2016)
//! lets the endpoints take places in turn, each by its own permutation: shares are exact to a place, and a
//! little more moves.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};
use std::f64::consts::{LN_2, SQRT_2};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use tcpshift_common::hash;

use crate::route::model::policy::HashAlgorithm;

/// Fixes the scores for ever. It is not the agent's seed: two agents with different seeds share tables.
const SCORE_SEED: u64 = 0x706c_6163_6573_6372;
/// Places of a ring, at least and at most: below, shares are coarse; above, it would take long to fill.
const RING: (u64, u64) = (4_096, 65_536);
/// Places of a Maglev table at most; a prime number.
const MAGLEV_MOST: u64 = 5_000_011;

/// Which endpoint each place belongs to.
#[derive(Clone, Debug)]
pub struct HashTable {
    content: Arc<Content>,
}

#[derive(Debug)]
struct Content {
    algorithm: HashAlgorithm,
    places: u32,
    /// Name and weight of each endpoint, in the destination's order.
    endpoints: Vec<(String, u32)>,
    /// Filled at first use.
    table: OnceLock<Vec<u32>>,
}

impl HashTable {
    /// A table for endpoints given by name and weight. Names must be unique, and weights positive.
    pub fn new(algorithm: HashAlgorithm, endpoints: Vec<(String, u32)>) -> Self {
        let places = match algorithm {
            HashAlgorithm::Ring { places } => {
                // With fewer than four each, some would have none. It grows in wide steps, since a new size is
                // a new table.
                let (least, most) = RING;
                places.max((endpoints.len() as u64 * 4).next_power_of_two()).clamp(least, most)
            }
            HashAlgorithm::Maglev { places } => prime(places.clamp(2, MAGLEV_MOST)),
        };
        Self { content: Arc::new(Content { algorithm, places: places as u32, endpoints, table: OnceLock::new() }) }
    }

    /// By what its places are filled.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.content.algorithm
    }

    /// How many places there are, at most 5,000,011.
    pub fn places(&self) -> u32 {
        self.content.places
    }

    /// The endpoint at a place, by its place in the destination.
    pub fn endpoint(&self, at: u32) -> Option<u32> {
        self.table().get(at as usize).copied()
    }

    /// The table itself: for each place, the endpoint's place in the destination.
    pub fn table(&self) -> &[u32] {
        self.content.table()
    }
}

impl Content {
    fn table(&self) -> &[u32] {
        self.table.get_or_init(|| match self.algorithm {
            HashAlgorithm::Ring { .. } => ring(self.places, &self.endpoints),
            HashAlgorithm::Maglev { .. } => maglev(self.places, &self.endpoints),
        })
    }
}

/// The same places for the same endpoints; whether they are filled in yet does not matter.
impl PartialEq for HashTable {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (&self.content, &other.content);
        Arc::ptr_eq(one, other)
            || (one.algorithm, one.places, &one.endpoints) == (other.algorithm, other.places, &other.endpoints)
    }
}

impl Eq for HashTable {}

impl Hash for HashTable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Content { algorithm: _, places, endpoints, table: _ } = &*self.content;
        (places, endpoints).hash(state);
    }
}

/// The tables of all sets: a set that is made anew need not fill its table again, and sets of the same endpoints share one.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    tables: HashSet<HashTable>,
}

impl Shelf {
    /// Forgets the tables that no set has any more.
    pub fn tidy(&mut self) {
        self.tables.retain(|table| Arc::strong_count(&table.content) > 1);
    }

    /// The one that is equal to `table` and was there before, else `table`.
    pub fn table(&mut self, table: HashTable) -> HashTable {
        if let Some(same) = self.tables.get(&table) {
            return same.clone();
        }
        self.tables.insert(table.clone());
        table
    }
}

/// Each place belongs to whoever has the best score there.
fn ring(places: u32, endpoints: &[(String, u32)]) -> Vec<u32> {
    let names: Vec<u64> = endpoints.iter().map(|(name, _)| hash::name(SCORE_SEED, name.as_bytes())).collect();
    let weights: Vec<f64> = endpoints.iter().map(|(_, weight)| f64::from(*weight)).collect();
    let equal = weights.windows(2).all(|pair| pair[0].total_cmp(&pair[1]).is_eq());
    let owner = |place: u32| {
        let place = hash::mix(u64::from(place) ^ SCORE_SEED);
        let scores = names.iter().map(|name| hash::mix(name ^ place)).zip(&weights).zip(0_u32..);
        if equal {
            return scores.map(|((score, _), index)| (Reverse(score), index)).min().map_or(0, |(_, index)| index);
        }
        // The first of several clocks that run as fast as their weights.
        let mut first = (f64::INFINITY, 0);
        for ((score, weight), index) in scores {
            let even = even(score);
            // A logarithm takes its time, and 1 - x is never more than -ln x.
            if (1.0 - even) / weight < first.0 {
                let time = -ln(even) / weight;
                if time < first.0 {
                    first = (time, index);
                }
            }
        }
        first.1
    };
    (0..places).map(owner).collect()
}

/// A hash as a number between 0 and 1, neither of them included. Its negative logarithm is a waiting time with a
/// mean of 1.
fn even(score: u64) -> f64 {
    ((score >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// The natural logarithm of a positive number that is no subnormal. Of basic operations only, whose results are
/// the same on every machine; those of the system's own logarithm need not be.
fn ln(number: f64) -> f64 {
    const FRACTION: u32 = 52;
    const BIAS: i32 = 1023;
    let bits = number.to_bits();
    let mut exponent = (bits >> FRACTION) as i32 - BIAS;
    let mut rest = f64::from_bits(bits & ((1 << FRACTION) - 1) | (BIAS as u64) << FRACTION);
    if rest > SQRT_2 {
        rest /= 2.0;
        exponent += 1;
    }
    let s = (rest - 1.0) / (rest + 1.0);
    // 2 (s + s³/3 + s⁵/5 + …); s is below 0.172, so that the next term is lost in rounding.
    let mut sum = 0.0;
    for odd in (1..=19_u32).rev().step_by(2) {
        sum = sum * s * s + 1.0 / f64::from(odd);
    }
    2.0 * s * sum + f64::from(exponent) * LN_2
}

/// When an endpoint takes its next place: after `taken` others, `weight` in each unit of time.
#[derive(PartialEq, Eq)]
struct Turn {
    taken: u64,
    weight: u64,
    index: u32,
    /// Where its permutation is.
    at: u64,
    skip: u64,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        // Fewer than 2^23 places and weights below 2^32 keep the products exact. Of two, the earlier one is the
        // greater, as the heap wants it.
        let (one, two) = ((self.taken + 1) * other.weight, (other.taken + 1) * self.weight);
        two.cmp(&one).then_with(|| other.index.cmp(&self.index))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The endpoints take a place each, in turn as their weights say: the next free one in their own order. `places`
/// must be prime, so that each order has every place.
fn maglev(places: u32, endpoints: &[(String, u32)]) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let size = u64::from(places);
    let mut turns: BinaryHeap<Turn> = endpoints
        .iter()
        .zip(0..)
        .map(|((name, weight), index)| {
            let name = hash::name(SCORE_SEED, name.as_bytes());
            let (at, skip) = (hash::words(name, &[0]) % size, hash::words(name, &[1]) % (size - 1) + 1);
            Turn { taken: 0, weight: u64::from(*weight).max(1), index, at, skip }
        })
        .collect();
    let mut table = vec![FREE; places as usize];
    for _ in 0..places {
        let Some(mut turn) = turns.peek_mut() else { break };
        while table[turn.at as usize] != FREE {
            turn.at = (turn.at + turn.skip) % size;
        }
        let at = turn.at as usize;
        table[at] = turn.index;
        turn.taken += 1;
    }
    table
}

/// The first prime number from `least` on, which is at most [`MAGLEV_MOST`].
fn prime(least: u64) -> u64 {
    let is_prime = |number: u64| number > 1 && !(2..=number.isqrt()).any(|factor| number.is_multiple_of(factor));
    (least..MAGLEV_MOST).find(|number| is_prime(*number)).unwrap_or(MAGLEV_MOST)
}

#[cfg(test)]
mod tests;
