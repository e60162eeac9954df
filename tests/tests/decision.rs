//! The decision and the weight table, as pure functions: properties that no sample of connections can show.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use proptest::collection::vec;
use proptest::prelude::*;
use tcpshift_agent::plan::weigh::{Layout, WeightTable};
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::{Decision, Inputs, Steer, Table, decide, outcome, steer};
use tcpshift_common::destination::{Destination, Endpoint, policy};
use tcpshift_common::{DEFAULT_SEED, SLOTS};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::share::assert_share;

/// A route of a weight table, whose destinations have so many equal endpoints each.
struct Route {
    table: WeightTable,
    endpoints: u32,
}

impl Table for Route {
    fn slot(&self, slot: u32) -> Option<u32> {
        self.table.place(slot)
    }

    fn destination(&self, place: u32) -> Option<Destination> {
        let Self { table: _, endpoints } = *self;
        Some(Destination { number: place, endpoints, weight: endpoints, policy: policy::LEAST_REQUEST, stride: 1 })
    }

    fn endpoint(&self, place: u32, index: u32) -> Option<Endpoint> {
        let number = place * self.endpoints + index;
        (index < self.endpoints).then_some(Endpoint { number, weight: 1, upto: index + 1 })
    }
}

/// Random words, counters, and loads of 0.
struct Chance {
    noise: Noise,
    sequence: u64,
}

impl Inputs for Chance {
    fn sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }

    fn turn(&mut self, _: u32) -> u64 {
        self.sequence()
    }

    fn random(&mut self) -> u32 {
        self.noise.number() as u32
    }

    fn load(&self, _: u32) -> u32 {
        0
    }
}

fn chance() -> Chance {
    Chance { noise: Noise::new(1), sequence: 0 }
}

fn weights(weights: &[u64]) -> Vec<(String, u64)> {
    weights.iter().enumerate().map(|(number, weight)| (format!("tcp-echo:9000/v{}", number + 1), *weight)).collect()
}

fn table(layout: Layout, of: &[u64]) -> WeightTable {
    WeightTable::new(layout, &weights(of))
}

/// The connections of clients, each from a port of its own.
fn flow(number: u32) -> Flow {
    let [_, a, b, c] = (number / 20_000).to_be_bytes();
    Flow {
        source: Address::v4([10, a, b, c]),
        destination: Address::v4([10, 0, 0, 1]),
        source_port: 30_000 + number % 20_000,
        destination_port: 31_400,
    }
}

const CONNECTION: Steer = Steer { by: steer::CONNECTION, v4_bits: 32, v6_bits: 128 };
const SEQUENCE: Steer = Steer { by: steer::SEQUENCE, v4_bits: 32, v6_bits: 128 };

/// How many of so many connections each of two destinations gets.
fn count(route: &Route, steer: &Steer, connections: u32) -> [usize; 2] {
    let (mut counts, mut chance) = ([0; 2], chance());
    for number in 0..connections {
        let decision = decide(DEFAULT_SEED, steer, &flow(number), route, &mut chance);
        assert_eq!(decision.outcome, outcome::CHOSEN, "{decision:?}");
        counts[decision.place as usize] += 1;
    }
    counts
}

#[test]
fn weights_0_and_100_are_exact_over_100_000_decisions() {
    for steer in [CONNECTION, SEQUENCE] {
        let layout = if steer.by == steer::SEQUENCE { Layout::Sorted } else { Layout::Scattered };
        assert_eq!(count(&Route { table: table(layout, &[0, 100]), endpoints: 3 }, &steer, 100_000), [0, 100_000]);
        assert_eq!(count(&Route { table: table(layout, &[100, 0]), endpoints: 3 }, &steer, 100_000), [100_000, 0]);
    }
}

#[test]
fn shares_are_met_and_endpoints_do_not_matter() {
    for share in [1, 20, 50, 99] {
        let mut before = None;
        for endpoints in [1, 2, 10] {
            let route = Route { table: table(Layout::Scattered, &[100 - share, share]), endpoints };
            let counts = count(&route, &CONNECTION, 50_000);
            #[allow(clippy::cast_precision_loss, reason = "a percentage")]
            assert_share(&format!("{share} %"), counts[1], 50_000, share as f64 / 100.0);
            assert_eq!(*before.get_or_insert(counts), counts, "with {endpoints} endpoints the split is another");
        }
    }
}

#[test]
fn all_endpoints_of_a_destination_are_used_alike() {
    let route = Route { table: table(Layout::Scattered, &[1]), endpoints: 10 };
    let (mut counts, mut chance) = ([0_usize; 10], chance());
    for number in 0..20_000 {
        counts[decide(DEFAULT_SEED, &CONNECTION, &flow(number), &route, &mut chance).endpoint as usize] += 1;
    }
    for count in counts {
        assert_share("one endpoint of ten", count, 20_000, 0.1);
    }
}

#[test]
fn without_endpoints_the_share_is_refused_and_no_other_grows() {
    let route = Route { table: table(Layout::Scattered, &[80, 20]), endpoints: 0 };
    let decision: Decision = decide(DEFAULT_SEED, &CONNECTION, &flow(1), &route, &mut chance());
    assert_eq!(decision.outcome, outcome::NO_ENDPOINT);
    let nothing = Route { table: table(Layout::Scattered, &[]), endpoints: 1 };
    assert_eq!(decide(DEFAULT_SEED, &CONNECTION, &flow(1), &nothing, &mut chance()).outcome, outcome::NO_DESTINATION);
}

#[test]
fn growing_v2_by_any_whole_percent_moves_exactly_the_difference_and_nobody_back() {
    let tables: Vec<WeightTable> = (0..=100).map(|v2| table(Layout::Scattered, &[100 - v2, v2])).collect();
    let owners = |table: &WeightTable| (0..SLOTS).map(|slot| table.place(slot).unwrap()).collect::<Vec<_>>();
    let owners: Vec<Vec<u32>> = tables.iter().map(owners).collect();
    for from in 0..=100_usize {
        for to in from..=100 {
            let pairs = || owners[from].iter().zip(&owners[to]);
            let moved = pairs().filter(|(before, after)| **before == 0 && **after == 1).count();
            let back = pairs().filter(|(before, after)| **before == 1 && **after == 0).count();
            assert_eq!((moved, back), ((to - from) * 100, 0), "from {from} % to {to} %");
        }
    }
}

/// Slots of each of `count` destinations.
fn slots(table: &WeightTable, count: usize) -> Vec<u32> {
    let mut slots = vec![0; count];
    for slot in 0..SLOTS {
        slots[table.place(slot).unwrap() as usize] += 1;
    }
    slots
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_exact_and_nobody_with_a_weight_is_forgotten(of in vec(0_u64..=u64::from(u32::MAX), 1..12)) {
        prop_assume!(of.iter().any(|weight| *weight > 0));
        let total: u128 = of.iter().map(|weight| u128::from(*weight)).sum();
        for layout in [Layout::Scattered, Layout::Sorted] {
            let table = table(layout, &of);
            let shares: Vec<u32> = table.shares().collect();
            prop_assert_eq!(shares.iter().sum::<u32>(), SLOTS);
            prop_assert_eq!(&slots(&table, of.len()), &shares, "the table and its counts differ");
            for (weight, slots) in of.iter().zip(&shares) {
                prop_assert_eq!(*weight > 0, *slots > 0);
                let exact = u128::from(*weight) * u128::from(SLOTS) / total;
                // A slot more or less for rounding, and what those who would round to nothing are given.
                prop_assert!(u128::from(*slots).abs_diff(exact) <= 1 + of.len() as u128, "{} of {} has {}", weight, total, slots);
            }
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(of in vec(1_u64..1000, 2..8), turn in 1_usize..8) {
        let list = weights(&of);
        let mut turned = list.clone();
        turned.rotate_left(turn % of.len());
        let (one, other) = (WeightTable::new(Layout::Scattered, &list), WeightTable::new(Layout::Scattered, &turned));
        for slot in 0..SLOTS {
            let name = |table: &WeightTable, list: &[(String, u64)]| list[table.place(slot).unwrap() as usize].0.clone();
            prop_assert_eq!(name(&one, &list), name(&other, &turned));
        }
    }

    #[test]
    fn with_more_destinations_movement_is_at_most_twice_the_least(
        of in vec(1_u64..1000, 3..10), which in 0_usize..10, grown in 1_u64..1000,
    ) {
        let mut after = of.clone();
        let which = which % of.len();
        after[which] += grown;
        let (before, after) = (table(Layout::Scattered, &of), table(Layout::Scattered, &after));
        let moved = (0..SLOTS).filter(|slot| before.place(*slot) != after.place(*slot)).count();
        let least: u32 = before.shares().zip(after.shares()).map(|(before, after)| after.saturating_sub(before)).sum();
        prop_assert!(moved <= 2 * least as usize, "{} moved where {} must", moved, least);
    }

    #[test]
    fn by_sequence_ten_in_a_row_are_off_by_less_than_one_and_hundreds_exact(v2 in 0_u64..=100, begin in 0_u64..100_000, tens in 1_usize..=20) {
        let (route, length) = (Route { table: table(Layout::Sorted, &[100 - v2, v2]), endpoints: 1 }, tens * 10);
        let mut chance = chance();
        chance.sequence = begin;
        // In hundredths of a connection.
        let two = 100 * (0..length)
            .filter(|_| decide(DEFAULT_SEED, &SEQUENCE, &flow(0), &route, &mut chance).place == 1)
            .count() as u64;
        let asked = length as u64 * v2;
        // Ten in a row are exact for whole tenths; a hundred for whole percents.
        if v2 % 10 == 0 && length % 10 == 0 || length % 100 == 0 {
            prop_assert_eq!(two, asked, "{} connections at {} %", length, v2);
        } else if length == 10 {
            prop_assert!(two.abs_diff(asked) < 100, "{} hundredths of {} connections at {} %", two, length, v2);
        }
    }

    #[test]
    fn by_source_only_the_prefix_counts(a in any::<[u8; 4]>(), host in any::<u8>(), ports in any::<[u16; 2]>()) {
        let route = Route { table: table(Layout::Scattered, &[50, 50]), endpoints: 1 };
        let by_source = Steer { by: steer::SOURCE, v4_bits: 24, v6_bits: 64 };
        let place = |last: u8, port: u16| {
            let source = Address::v4([a[0], a[1], a[2], last]);
            let flow = Flow { source, source_port: u32::from(port), ..flow(0) };
            decide(DEFAULT_SEED, &by_source, &flow, &route, &mut chance()).slot
        };
        prop_assert_eq!(place(a[3], ports[0]), place(host, ports[1]));
    }
}
