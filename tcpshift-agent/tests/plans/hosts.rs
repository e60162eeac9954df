//! What two hosts with the same objects have in common: the digest of what they ask for, and every decision.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use proptest::prelude::*;
use tcpshift_agent::plan::{Digest, Plan, Planner, Sets};
use tcpshift_common::DEFAULT_SEED;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::{Inputs, decide};
use tcpshift_common::hash;

use crate::any::{documents, each_set};
use crate::sets::{named, some_answers};

/// Flows that two planners decide for.
const FLOWS: usize = 100_000;

fn digest(documents: &[String], change: impl FnOnce(&mut Planner)) -> (Digest, Digest) {
    let (store, _) = crate::store(documents);
    let mut planner = crate::planner();
    change(&mut planner);
    let intent = planner.resolve(store.iter());
    (intent.digest(), planner.assemble(&intent, &Plan::empty(DEFAULT_SEED)).digest)
}

/// Words that follow from a number; loads follow from the address.
struct Drawn<'a> {
    word: u64,
    addresses: &'a HashMap<u32, String>,
}

impl Inputs for Drawn<'_> {
    fn sequence(&mut self) -> u64 {
        self.word
    }

    fn turn(&mut self, _: u32) -> u64 {
        self.word
    }

    fn random(&mut self) -> u32 {
        self.word = hash::mix(self.word);
        self.word as u32
    }

    fn load(&self, endpoint: u32) -> u32 {
        self.addresses[&endpoint].bytes().map(u32::from).sum::<u32>() % 7
    }
}

/// What decides, beside the flow.
struct Decider {
    plan: Plan,
    sets: Sets,
    addresses: HashMap<u32, String>,
}

impl Decider {
    fn new(documents: &[String]) -> Self {
        let (store, _) = crate::store(documents);
        let mut planner = crate::planner();
        some_answers(&mut planner);
        let plan = planner.plan(store.iter(), &Plan::empty(DEFAULT_SEED));
        let sets = planner.sets().clone();
        let endpoints = each_set(&plan, &sets).into_iter().flat_map(|set| &*set.endpoints);
        let addresses = endpoints.map(|endpoint| (endpoint.decides.number, endpoint.address.to_string())).collect();
        Self { plan, sets, addresses }
    }

    /// Where a connection to one of the listeners goes, in words.
    fn decide(&self, listener: usize, flow: &Flow, word: u64) -> String {
        let listener = &self.plan.listeners[listener % self.plan.listeners.len()];
        let Some(route) = listener.route(flow) else { return format!("{}: no route", listener.name) };
        let mut inputs = Drawn { word, addresses: &self.addresses };
        let decision = decide(self.plan.seed, &route.steer, flow, &self.sets.table(route), &mut inputs);
        let destination = route.destinations.get(decision.place as usize);
        let endpoint = destination.and_then(|one| self.sets.of(one).endpoints.get(decision.endpoint as usize));
        format!(
            "{} {}: {} {:?} {:?}",
            listener.name,
            route.name(),
            decision.outcome,
            destination.map(|one| &one.name),
            endpoint.map(|one| &one.address)
        )
    }
}

/// A client near those that drawn rules are for, or anybody.
fn client(word: u64) -> Address {
    let [a, b, c, d, ..] = word.to_le_bytes();
    match word >> 60 {
        0..6 => Address::v4([10, a % 3, c, d]),
        6..12 => Address::from(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, u16::from(a), u16::from(b)])),
        _ => Address::v4([a, b, c, d]),
    }
}

#[test]
fn two_planners_with_the_same_objects_decide_a_hundred_thousand_flows_alike() {
    const EACH: usize = FLOWS / 50;
    let (mut decided, mut outcomes) = (0, BTreeMap::<u32, usize>::new());
    for draw in 0..50_u64 {
        let mut documents = documents(&(draw * 90..draw * 90 + 90).collect::<Vec<_>>());
        documents.extend(named([70, 30], 3));
        let one = Decider::new(&documents);
        documents.reverse();
        documents.rotate_left(draw as usize % 40);
        let other = Decider::new(&documents);
        assert_eq!(one.plan.digest, other.plan.digest);
        for at in 0..EACH as u64 {
            let word = hash::mix(draw << 32 | at);
            let flow = Flow {
                source: client(word),
                destination: Address::v4([192, 0, 2, 1]),
                source_port: (word % 50_000) as u32 + 1_024,
                destination_port: 9_000,
            };
            let listener = hash::mix(word) as usize;
            let found = one.decide(listener, &flow, word);
            assert_eq!(other.decide(listener, &flow, word), found, "{flow:?}");
            let outcome = found.contains("Some(Tcp(");
            *outcomes.entry(outcome.into()).or_default() += 1;
            decided += 1;
        }
    }
    assert_eq!(decided, FLOWS);
    assert!(outcomes[&1] > FLOWS / 4, "{outcomes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_digest_says_what_objects_ask_for_and_nothing_else(
        seeds in proptest::collection::vec(any::<u64>(), 0..120),
        turn in any::<usize>(),
        weights in any::<[u8; 2]>(),
    ) {
        let weights = weights.map(u32::from);
        let drawn = documents(&seeds);
        let with = |weights: [u32; 2], of_endpoint| [drawn.clone(), named(weights, of_endpoint)].concat();
        let mut documents = with(weights, 1);
        let (intent, plan) = digest(&documents, |_| ());
        prop_assert_eq!(intent, plan);
        let turn = turn % documents.len();
        documents.reverse();
        documents.rotate_left(turn);
        prop_assert_eq!(digest(&documents, |_| ()), (intent, plan), "another order of files");
        let joined = documents.join("---\n");
        prop_assert_eq!(digest(&[joined], |_| ()), (intent, plan), "one file");
        let elsewhere = |planner: &mut Planner| {
            planner.host.seed += 1;
            planner.host.networks = vec!["10.0.0.0/8".parse().expect("a network")];
            planner.host.listen_addresses = vec!["192.0.2.1".parse().expect("an address")];
            some_answers(planner);
        };
        prop_assert_eq!(digest(&documents, elsewhere), (intent, plan), "another host");
        let is_other = |documents: &[String]| digest(documents, |_| ()).0 != intent;
        prop_assert!(is_other(&with([weights[0] + 1, weights[1]], 1)), "another weight");
        prop_assert!(is_other(&with([weights[0], weights[1] + 1], 1)), "another weight");
        prop_assert!(is_other(&with(weights, 2)), "another weight of an endpoint");
        prop_assert!(is_other(&with([weights[0], weights[1] + 1], 2)), "both");
    }
}
