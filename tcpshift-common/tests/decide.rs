//! What the decision promises, whatever tables it reads.

use std::collections::HashMap;

use proptest::prelude::*;
use tcpshift_common::address::{Address, Flow, Prefix};
use tcpshift_common::decide::{Decision, Inputs, RouteTables, Steer, decide, hashed, outcome, slot, steer};
use tcpshift_common::destination::{DestinationFacts, EndpointFacts, policy};
use tcpshift_common::listener::{self, RuleRow};
use tcpshift_common::{DEFAULT_SEED, SLOTS, hash};

/// One route: the first slots belong to destination 0, the others to destination 1.
struct Route {
    first: u32,
    destinations: Vec<(DestinationFacts, Vec<EndpointFacts>)>,
}

impl RouteTables for Route {
    fn slot(&self, slot: u32) -> Option<u32> {
        Some(u32::from(slot >= self.first))
    }
    fn destination(&self, index: u32) -> Option<DestinationFacts> {
        Some(self.destinations.get(index as usize)?.0)
    }
    fn endpoint(&self, destination: u32, index: u32) -> Option<EndpointFacts> {
        self.destinations.get(destination as usize)?.1.get(index as usize).copied()
    }
    fn hashed(&self, destination: u32, cell: u32) -> Option<u32> {
        let cells = self.destinations.get(destination as usize)?.0.places;
        // Each endpoint has every so many-th cell, the last endpoint none.
        (cell < cells).then(|| cell % (self.destinations[destination as usize].0.endpoints.max(2) - 1))
    }
}

fn destination(number: u32, policy: u32, stride: u32, weights: &[u32]) -> (DestinationFacts, Vec<EndpointFacts>) {
    let mut upto = 0;
    let endpoints: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| {
            upto += weight;
            EndpointFacts { number: 100 * number + at as u32, weight: *weight, upto }
        })
        .collect();
    (DestinationFacts { number, endpoints: weights.len() as u32, weight: upto, policy, stride, places: 0 }, endpoints)
}

#[derive(Default)]
struct World {
    sequence: u64,
    turns: HashMap<u32, u64>,
    random: u64,
    loads: HashMap<u32, u32>,
}

impl Inputs for World {
    fn sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence - 1
    }
    fn turn(&mut self, destination: u32) -> u64 {
        let turn = self.turns.entry(destination).or_default();
        *turn += 1;
        *turn - 1
    }
    fn random(&mut self) -> u32 {
        self.random += 1;
        (hash::mix(self.random.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 32) as u32
    }
    fn load(&self, endpoint: u32) -> u32 {
        self.loads.get(&endpoint).copied().unwrap_or(0)
    }
}

fn flow(n: u32) -> Flow {
    let [a, b, c, d] = n.to_be_bytes();
    Flow {
        source: Address::v4([10, a, b, c]),
        source_port: 1024 + u32::from(d),
        destination: Address::v4([192, 0, 2, 1]),
        destination_port: 31_400,
    }
}

fn by(by: u32) -> Steer {
    Steer { by, v4_bits: 32, v6_bits: 128 }
}

fn split(first: u32, steer: Steer, connections: u32) -> [u32; 2] {
    let one = |number| destination(number, policy::LEAST_REQUEST, 1, &[1]);
    let route = Route { first, destinations: vec![one(0), one(1)] };
    let mut world = World::default();
    let mut counts = [0; 2];
    for n in 0..connections {
        counts[decide(DEFAULT_SEED, &steer, &flow(n), &route, &mut world).place as usize] += 1;
    }
    counts
}

#[test]
fn nothing_and_everything_are_exact_over_100_000_decisions() {
    for steering in [steer::CONNECTION, steer::SEQUENCE, steer::SOURCE] {
        assert_eq!(split(0, by(steering), 100_000), [0, 100_000]);
        assert_eq!(split(SLOTS, by(steering), 100_000), [100_000, 0]);
    }
}

#[test]
fn connections_are_split_within_their_binomial_bound() {
    for first in [100, 1_000, 5_000, 8_000, 9_900] {
        let n = 100_000f64;
        let p = f64::from(first) / f64::from(SLOTS);
        let counts = split(first, by(steer::CONNECTION), 100_000);
        let sigma = (n * p * (1.0 - p)).sqrt();
        assert!((f64::from(counts[0]) - n * p).abs() < 5.0 * sigma, "{counts:?} at {first}");
    }
}

#[test]
fn any_ten_in_a_row_are_split_exactly() {
    let route = Route { first: 8_000, destinations: vec![destination(0, 0, 1, &[1]), destination(1, 0, 1, &[1])] };
    let mut world = World::default();
    let indices: Vec<u32> =
        (0..30_000).map(|n| decide(DEFAULT_SEED, &by(steer::SEQUENCE), &flow(n), &route, &mut world).place).collect();
    for ten in indices.windows(10) {
        assert_eq!(ten.iter().sum::<u32>(), 2);
    }
}

#[test]
fn the_decision_for_a_client_is_what_it_has_always_been() {
    // Sticky clients depend on it: a change here moves them on an upgrade.
    let mut world = World::default();
    let slots: Vec<u32> = (0..4).map(|n| slot(DEFAULT_SEED, &by(steer::SOURCE), &flow(n << 8), &mut world)).collect();
    assert_eq!(slots, [4066, 4600, 3819, 7454]);
}

#[test]
fn a_source_prefix_keeps_neighbours_together() {
    let mut world = World::default();
    let steering = Steer { by: steer::SOURCE, v4_bits: 24, v6_bits: 64 };
    let mut at = |address: Address| slot(DEFAULT_SEED, &steering, &Flow { source: address, ..flow(0) }, &mut world);
    assert_eq!(at(Address::v4([10, 1, 2, 3])), at(Address::v4([10, 1, 2, 250])));
    assert_ne!(at(Address::v4([10, 1, 2, 3])), at(Address::v4([10, 1, 3, 3])));
    let v6 = |last: u8, net: u8| Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, net, 0, 0, 0, 0, 0, 0, 0, last]);
    assert_eq!(at(v6(1, 0)), at(v6(2, 0)));
    assert_ne!(at(v6(1, 0)), at(v6(1, 1)));
}

#[test]
fn round_robin_is_exact_in_every_round_and_even_inside_it() {
    // 5 and 2 shares: stride 4 is what the plan gives for a sum of 7.
    let route = Route { first: SLOTS, destinations: vec![destination(0, policy::ROUND_ROBIN, 4, &[5, 2])] };
    let mut world = World::default();
    let picks: Vec<u32> =
        (0..70).map(|n| decide(1, &by(steer::CONNECTION), &flow(n), &route, &mut world).endpoint).collect();
    for round in picks.windows(7) {
        assert_eq!(round.iter().sum::<u32>(), 2);
    }
    assert!(picks.windows(2).all(|pair| pair != [1, 1]), "a light endpoint never comes twice in a row: {picks:?}");
}

#[test]
fn idle_endpoints_are_used_as_their_weights_say() {
    for policy in [policy::RANDOM, policy::LEAST_REQUEST] {
        let route = Route { first: SLOTS, destinations: vec![destination(0, policy, 1, &[1, 2, 7])] };
        let mut world = World::default();
        let mut counts = [0f64; 3];
        for n in 0..100_000 {
            counts[decide(1, &by(steer::CONNECTION), &flow(n), &route, &mut world).endpoint as usize] += 1.0;
        }
        for (count, share) in counts.iter().zip([0.1, 0.2, 0.7]) {
            let sigma = (100_000.0 * share * (1.0f64 - share)).sqrt();
            assert!((count - 100_000.0 * share).abs() < 5.0 * sigma, "{counts:?}");
        }
    }
}

#[test]
fn the_less_loaded_of_two_is_taken() {
    let route = Route { first: SLOTS, destinations: vec![destination(0, policy::LEAST_REQUEST, 1, &[1, 1])] };
    let mut world = World { loads: HashMap::from([(0, 5), (1, 4)]), ..World::default() };
    for n in 0..100 {
        assert_eq!(decide(1, &by(steer::CONNECTION), &flow(n), &route, &mut world).endpoint, 1);
    }
    // Twice the weight bears twice the load.
    let route = Route { first: SLOTS, destinations: vec![destination(0, policy::LEAST_REQUEST, 1, &[2, 1])] };
    for n in 0..100 {
        assert_eq!(decide(1, &by(steer::CONNECTION), &flow(n), &route, &mut world).endpoint, 0);
    }
}

/// Shares of endpoints in percent, while `at_once` connections are open at a time, each of which lasts as long as any other.
fn shares_at(at_once: usize, weights: &[u32]) -> Vec<f64> {
    let route = Route { first: SLOTS, destinations: vec![destination(0, policy::LEAST_REQUEST, 1, weights)] };
    let (mut world, mut open) = (World::default(), Vec::new());
    let mut counts = vec![0.0; weights.len()];
    for n in 0..40_000 {
        if open.len() == at_once {
            let ends = open.swap_remove(world.random() as usize % at_once);
            *world.loads.entry(ends).or_insert(1) -= 1;
        }
        let index = decide(1, &by(steer::CONNECTION), &flow(n), &route, &mut world).endpoint;
        counts[index as usize] += 1.0 / 400.0;
        *world.loads.entry(index).or_default() += 1;
        open.push(index);
    }
    counts
}

#[test]
fn few_connections_keep_the_weights_of_endpoints() {
    for weights in [&[95, 5][..], &[50, 45, 5], &[70, 20, 10], &[10, 10, 10, 1, 1, 1, 1, 1]] {
        let sum = f64::from(weights.iter().sum::<u32>());
        for at_once in [1, 2, 3, 4, 5, 8, 16, 32, 100] {
            let shares = shares_at(at_once, weights);
            for (share, weight) in shares.iter().zip(weights) {
                let due = f64::from(*weight) * 100.0 / sum;
                let is_near = (due / 2.0..due * 1.5).contains(share) && (share - due).abs() < 8.5;
                assert!(is_near, "{at_once} at once, weights {weights:?}: {shares:.1?}");
            }
        }
    }
}

#[test]
fn the_greatest_loads_and_weights_are_compared_exactly() {
    let most = u32::MAX / 2;
    let route = Route { first: SLOTS, destinations: vec![destination(0, policy::LEAST_REQUEST, 1, &[most, most])] };
    let mut world = World { loads: HashMap::from([(0, u32::MAX), (1, u32::MAX - 1)]), ..World::default() };
    for n in 0..100 {
        assert_eq!(decide(1, &by(steer::CONNECTION), &flow(n), &route, &mut world).endpoint, 1);
    }
}

#[test]
fn a_client_keeps_its_endpoint_whatever_its_port() {
    let mut one = destination(0, policy::SOURCE_HASH, 1, &[1, 1, 1, 1]);
    one.0.places = 1000;
    let route = Route { first: SLOTS, destinations: vec![one] };
    let mut world = World { loads: HashMap::from([(0, 9)]), ..World::default() };
    let mut counts = [0; 4];
    for client in 0..3_000 {
        let mut endpoints = (0..3).map(|port| {
            let flow = flow(client << 8 | port);
            decide(DEFAULT_SEED, &by(steer::CONNECTION), &flow, &route, &mut world).endpoint
        });
        let first = endpoints.next().unwrap();
        assert!(endpoints.all(|other| other == first));
        counts[first as usize] += 1;
    }
    assert!(counts[..3].iter().all(|count| (850..1_150).contains(count)) && counts[3] == 0, "{counts:?}");
    // What it has always been: clients move if this changes.
    let (target, client) = (route.destinations[0].0, Address::v4([10, 0, 0, 1]));
    let walk = |step| hashed(DEFAULT_SEED, client, 0, &target, &route, step);
    assert_eq!([walk(0), walk(1), walk(2), walk(3), walk(1_000)], [1, 2, 0, 1, 1].map(Some));
    assert_eq!(hashed(1, client, 0, &destination(0, policy::SOURCE_HASH, 1, &[1, 1]).0, &route, 0), None);
}

#[test]
fn a_destination_s_own_clients_are_spread_too() {
    // Those of one slot in a hundred, where slots are the clients' hashes as well.
    let mut one = destination(0, policy::SOURCE_HASH, 1, &[1; 11]);
    one.0.places = 10;
    let route = Route { first: 100, destinations: vec![one, destination(1, 0, 1, &[1])] };
    let mut world = World::default();
    let mut counts = [0; 10];
    for client in 0..200_000 {
        let decision = decide(DEFAULT_SEED, &by(steer::SOURCE), &flow(client << 8), &route, &mut world);
        if decision.place == 0 {
            counts[decision.endpoint as usize] += 1;
        }
    }
    assert!(counts.iter().all(|count| (130..270).contains(count)), "{counts:?}");
}

#[test]
fn an_empty_destination_is_said_and_never_replaced() {
    let route = Route { first: 5_000, destinations: vec![destination(0, 0, 1, &[1]), destination(1, 0, 1, &[])] };
    let mut world = World::default();
    let mut refused = 0;
    for n in 0..10_000 {
        let Decision { outcome, place, .. } = decide(1, &by(steer::CONNECTION), &flow(n), &route, &mut world);
        assert_eq!(outcome == outcome::NO_ENDPOINT, place == 1);
        refused += place;
    }
    assert!((4_700..5_300).contains(&refused), "{refused}");
}

#[test]
fn the_longest_source_then_the_longest_destination_then_the_order_counts() {
    let prefix = |octets, bits| Prefix::v4(octets, bits);
    let rule = |source, destination, route| RuleRow::new(source, destination, route);
    let mut rules = vec![
        rule(Prefix::ANY, Prefix::ANY, 0),
        rule(prefix([10, 0, 0, 0], 8), Prefix::ANY, 1),
        rule(prefix([10, 1, 0, 0], 16), Prefix::ANY, 2),
        rule(prefix([10, 0, 0, 0], 8), prefix([192, 0, 2, 1], 32), 3),
        rule(Prefix::ANY, Prefix::ANY, 4),
    ];
    rules.sort_by_key(RuleRow::rank);
    let route = |source| listener::route(&rules, &Flow { source: Address::v4(source), ..flow(0) });
    assert_eq!(route([10, 1, 1, 1]), Some(2), "a longer source beats a longer destination");
    assert_eq!(route([10, 2, 1, 1]), Some(3), "of equal sources the longer destination");
    assert_eq!(route([11, 0, 0, 1]), Some(0), "of equal rules the first");
    let v6 = Flow { source: Address::v6([0x20; 16]), ..flow(0) };
    assert_eq!(listener::route(&rules, &v6), Some(0));
    assert_eq!(listener::route(&rules[..1], &v6), None);
}

proptest! {
    #[test]
    fn no_table_and_no_input_makes_it_panic(
        weights in proptest::collection::vec(0u32..=u32::MAX / 8, 0..6), policy in 0u32..5, stride in any::<u32>(),
        endpoints in 0u32..9, places in any::<u32>(), seed in any::<u64>(), by in 0u32..5, bits in any::<(u32, u32)>(), n in any::<u32>(),
    ) {
        let (mut target, list) = destination(0, policy, stride, &weights);
        target.endpoints = endpoints;
        target.places = places;
        let route = Route { first: SLOTS / 2, destinations: vec![(target, list)] };
        let steering = Steer { by, v4_bits: bits.0, v6_bits: bits.1 };
        let decision = decide(seed, &steering, &flow(n), &route, &mut World::default());
        prop_assert!(decision.slot < SLOTS);
    }

    #[test]
    fn a_prefix_contains_what_begins_alike(address in any::<u32>(), bits in 0u32..=32, other in any::<u32>()) {
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        let net = (address & mask).to_be_bytes();
        let prefix = Prefix::v4(net, bits);
        prop_assert!(prefix.contains(Address::v4(address.to_be_bytes())));
        prop_assert_eq!(prefix.contains(Address::v4(other.to_be_bytes())), other & mask == address & mask);
    }

    #[test]
    fn a_family_is_told_alike_with_a_branch_and_without(high in any::<u64>(), low in any::<u64>(), ip in any::<[u8; 4]>()) {
        let others = [(high, low), (0, low), (0, 0), (0, 1), (high, low & 0xffff_ffff | 0xffff_0000_0000)];
        let others = others.map(|(high, low)| Address { high, low });
        for address in others.into_iter().chain([Address::v4(ip)]) {
            prop_assert_eq!(address.is_v6() == 0, address.is_v4(), "{:?}", address);
        }
    }
}
