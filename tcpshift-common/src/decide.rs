//! The decision: which destination of a route, and which of its endpoints, a new connection gets.
//!
//! A pure function of the flow, the seed, the route's tables, and what is handed in: counters, random words and loads.
//! [`RouteTables`] and [`Inputs`] hand them in.
//!
//! First the connection is given a slot of the route's weight table, and the slot names the destination. Only
//! then, inside that destination, an endpoint is chosen. So neither the number nor the health of a
//! destination's endpoints can change its share.

use crate::SLOTS;
use crate::address::{Address, Flow};
use crate::destination::{DestinationFacts, EndpointFacts, policy};
use crate::hash;

/// What of a connection leads to its slot (`tcpshift.io/steer-by`).
pub mod steer {
    /// The seeded hash of both addresses and ports.
    pub const CONNECTION: u32 = 0;
    /// The route's counter: ten connections in a row are split exactly.
    pub const SEQUENCE: u32 = 1;
    /// The seeded hash of the client's address or of its prefix: a client keeps its destination.
    pub const SOURCE: u32 = 2;
}

/// Sets the hash that leads to an endpoint apart. The bytes read `endpoint`.
const ENDPOINT_KEY: u64 = 0x656e_6470_6f69_6e74;

/// How a route steers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Steer {
    /// One of [`steer`].
    pub by: u32,
    /// `SOURCE` only: leading bits of an IPv4 client that count, 0 to 32.
    pub v4_bits: u32,
    /// `SOURCE` only: leading bits of an IPv6 client that count, 0 to 128.
    pub v6_bits: u32,
}

/// The tables of one route. An answer of `None` means that the table has no such cell.
pub trait RouteTables {
    /// The index, in the route, of the destination that a slot belongs to.
    fn slot(&self, slot: u32) -> Option<u32>;
    /// A destination, by its index in the route.
    fn destination(&self, index: u32) -> Option<DestinationFacts>;
    /// An endpoint, by the index of its destination in the route and its own index in the destination.
    fn endpoint(&self, destination: u32, index: u32) -> Option<EndpointFacts>;
    /// `SOURCE_HASH` only: the index of the endpoint that a cell of a destination's hash table names.
    fn hashed(&self, destination: u32, cell: u32) -> Option<u32>;
    /// The endpoint of a destination that has so many whose stretch of the weights holds `at`: [`find`], which may be called in
    /// another way.
    #[allow(clippy::inline_always, reason = "a call in a kernel program has five arguments at most")]
    #[inline(always)]
    fn found(&self, destination: u32, endpoints: u32, at: u32) -> Option<u32> {
        find(endpoints, at, |index| Some(self.endpoint(destination, index)?.upto))
    }
}

/// What changes from connection to connection. Each is asked for only where the decision needs it.
pub trait Inputs {
    /// The next number of the route's sequence, counting from 0.
    fn sequence(&mut self) -> u64;
    /// The next turn of a `ROUND_ROBIN` destination, counting from 0.
    fn turn(&mut self, destination: u32) -> u64;
    /// An even random word.
    fn random(&mut self) -> u32;
    /// Live connections of an endpoint.
    fn load(&self, endpoint: u32) -> u32;
}

/// What became of a decision.
pub mod outcome {
    /// Destination and endpoint are chosen.
    pub const CHOSEN: u32 = 0;
    /// The slot belongs to no destination: the route has none.
    pub const NO_DESTINATION: u32 = 1;
    /// The destination has no endpoint.
    pub const NO_ENDPOINT: u32 = 2;
    /// No route is for the connection, so that there was nothing to decide.
    pub const NO_ROUTE: u32 = 3;
}

/// A decision, explainable: the slot that was hit and what it led to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decision {
    /// One of [`outcome`].
    pub outcome: u32,
    /// The slot, `0..SLOTS`.
    pub slot: u32,
    /// The destination's index in the route; meaningless if there is none.
    pub place: u32,
    /// The endpoint's index in the destination; meaningless unless chosen.
    pub endpoint: u32,
}

/// Decides for one new connection.
#[allow(clippy::inline_always, reason = "a call in a kernel program has five arguments at most")]
#[inline(always)]
pub fn decide<T: RouteTables, I: Inputs>(seed: u64, steer: &Steer, flow: &Flow, table: &T, inputs: &mut I) -> Decision {
    let slot = slot(seed, steer, flow, inputs);
    let mut decision = Decision { outcome: outcome::NO_DESTINATION, slot, place: 0, endpoint: 0 };
    let Some(index) = table.slot(slot) else { return decision };
    let Some(destination) = table.destination(index) else { return decision };
    decision.place = index;
    match endpoint(seed, flow.source, index, &destination, table, inputs) {
        Some(endpoint) => {
            decision.outcome = outcome::CHOSEN;
            decision.endpoint = endpoint;
        }
        None => decision.outcome = outcome::NO_ENDPOINT,
    }
    decision
}

/// The slot of a connection, `0..SLOTS`.
#[allow(clippy::inline_always, reason = "a call in a kernel program has five arguments at most")]
#[inline(always)]
pub fn slot<I: Inputs>(seed: u64, steer: &Steer, flow: &Flow, inputs: &mut I) -> u32 {
    match steer.by {
        steer::SEQUENCE => spread(inputs.sequence()),
        steer::SOURCE => hash::below(hash::words(seed, &flow.source.prefix(steer.v4_bits, steer.v6_bits)), SLOTS),
        _ => {
            let [a, b] = flow.source.words();
            let [c, d] = flow.destination.words();
            let ports = u64::from(flow.source_port) << 32 | u64::from(flow.destination_port);
            hash::below(hash::words(seed, &[a, b, c, d, ports]), SLOTS)
        }
    }
}

/// The slot of a sequence number: its four decimal digits in reverse (the van der Corput sequence in base
/// 10). Any ten numbers in a row fall one into each tenth of the table, any hundred one into each hundredth.
const fn spread(sequence: u64) -> u32 {
    let n = (sequence % SLOTS as u64) as u32;
    n % 10 * 1000 + n / 10 % 10 * 100 + n / 100 % 10 * 10 + n / 1000
}

/// Chooses among the endpoints of the destination at `index` of the route, for a client; `None` if it has none.
#[allow(clippy::inline_always, reason = "a call in a kernel program has five arguments at most")]
#[inline(always)]
pub fn endpoint<T: RouteTables, I: Inputs>(
    seed: u64,
    client: Address,
    index: u32,
    destination: &DestinationFacts,
    table: &T,
    inputs: &mut I,
) -> Option<u32> {
    if destination.endpoints == 0 || destination.weight == 0 {
        return None;
    }
    if destination.endpoints == 1 {
        return Some(0);
    }
    let drawn = |inputs: &mut I| hash::below(u64::from(inputs.random()) << 32, destination.weight);
    match destination.policy {
        policy::ROUND_ROBIN => {
            let turn = inputs.turn(destination.number) % u64::from(destination.weight);
            let at = turn * u64::from(destination.stride) % u64::from(destination.weight);
            table.found(index, destination.endpoints, at as u32)
        }
        policy::SOURCE_HASH => hashed(seed, client, index, destination, table, 0),
        policy::RANDOM => {
            let at = drawn(inputs);
            table.found(index, destination.endpoints, at)
        }
        _ => {
            let at = drawn(inputs);
            let first = table.found(index, destination.endpoints, at)?;
            let one = table.endpoint(index, first)?;
            // The second is drawn from what is left when the first is taken out.
            let rest = destination.weight.saturating_sub(one.weight);
            let mut at = hash::below(u64::from(inputs.random()) << 32, rest);
            if at >= one.upto.saturating_sub(one.weight) {
                at = at.saturating_add(one.weight);
            }
            let second = table.found(index, destination.endpoints, at)?;
            let other = table.endpoint(index, second)?;
            let (one_load, other_load) = (inputs.load(one.number), inputs.load(other.number));
            let is_less = is_less_loaded((other_load, other.weight), (one_load, one.weight));
            Some(if is_less { second } else { first })
        }
    }
}

/// Whether the second of two endpoints, each with its live connections and its weight, gets a connection that was drawn for
/// the first: if it has less load by weight, with half of this connection counted as its own.
///
/// Few connections are no measure of a weight. If none of this one counted, an endpoint of weight 5 would get every second
/// connection as soon as one of weight 95 has one. If all of it counted, an endpoint of little weight would bear more than
/// any other by its first connection, and never get one. Of equal weights the one with fewer connections is taken.
#[allow(clippy::inline_always, reason = "a call in a kernel program has five arguments at most")]
#[inline(always)]
const fn is_less_loaded((second_load, second_weight): (u32, u32), (first_load, first_weight): (u32, u32)) -> bool {
    // Crosswise instead of divided. (2^32 - 1)^2 + 2^31 is less than 2^64.
    let weight = first_weight as u64;
    second_load as u64 * weight + weight / 2 < first_load as u64 * second_weight as u64
}

/// The endpoint that a `SOURCE_HASH` destination's table has for a client, `step` cells after the client's own:
/// where to go on when the endpoint there cannot be reached.
#[allow(clippy::inline_always, reason = "a call in a kernel program has five arguments at most")]
#[inline(always)]
pub fn hashed<T: RouteTables>(
    seed: u64,
    client: Address,
    index: u32,
    destination: &DestinationFacts,
    table: &T,
    step: u32,
) -> Option<u32> {
    // Another hash than that of `SOURCE` steering: else a destination's clients, who share its slots, would share
    // its endpoints unevenly.
    let [a, b] = client.words();
    let own = hash::below(hash::words(seed, &[a, b, ENDPOINT_KEY]), destination.places);
    let cell = (u64::from(own) + u64::from(step)).checked_rem(u64::from(destination.places))?;
    table.hashed(index, cell as u32).filter(|&endpoint| endpoint < destination.endpoints)
}

/// Of so many endpoints, at least one, the index of that whose stretch of the weights holds `at`: binary search, at most 32
/// steps. `upto` is [`EndpointFacts::upto`] by index.
#[allow(clippy::inline_always, reason = "a call in a kernel program has five arguments at most")]
#[inline(always)]
pub fn find(endpoints: u32, at: u32, upto: impl Fn(u32) -> Option<u32>) -> Option<u32> {
    let (mut low, mut high) = (0, endpoints.saturating_sub(1));
    for _ in 0..u32::BITS {
        if low >= high {
            break;
        }
        let middle = low + (high - low) / 2;
        if upto(middle)? > at {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(low)
}
