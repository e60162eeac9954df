//! The share that moves is the share that changed, and who moves is who is decided differently.

use proptest::prelude::*;
use tcpshift_common::address;
use tcpshift_common::decide::{Inputs, Steer, decide, steer};

use super::*;
use crate::plan::weigh::Layout;
use crate::plan::{Chosen, Destination, Limits, LoadBalancer, OnEmpty, Sets, Settings, WeightTable, Wish};

fn route(by: u32, weights: &[(&str, u64)]) -> Route {
    let layout = if by == steer::SEQUENCE { Layout::Sorted } else { Layout::Scattered };
    let named: Vec<(String, u64)> = weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
    let table = WeightTable::new(layout, &named);
    let destinations = weights.iter().zip(table.shares()).map(|((name, weight), slots)| Destination {
        name: (*name).to_owned(),
        host: (*name).to_owned(),
        subset: None,
        port: 1,
        target: 0,
        weight: *weight,
        slots,
        settings: Settings::default(),
        number: 0,
        choice: LoadBalancer::default(),
        set: 0,
    });
    Route {
        number: 0,
        kind: crate::route::kind::Kind::VirtualService,
        namespace: "default".to_owned(),
        object: "r".to_owned(),
        rule: 0,
        id: 0,
        steer: Steer { by, v4_bits: 0, v6_bits: 0 },
        on_empty: OnEmpty::Refuse,
        limits: Limits::default(),
        asked: Wish::Auto,
        chosen: Chosen::default(),
        destinations: destinations.collect(),
        table,
    }
}

fn told(before: &Route, after: &Route) -> Vec<(String, u32)> {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    moves(before, after).iter().map(|one| (format!("{}>{}", name(&one.from), name(&one.to)), one.slots)).collect()
}

#[test]
fn routes_without_weights_have_no_destination() {
    let (none, some) = (route(0, &[("a", 0), ("b", 0)]), route(0, &[("a", 1), ("b", 0)]));
    assert_eq!(told(&none, &some), [("->a".to_owned(), 10_000)]);
    assert_eq!(told(&some, &none), [("a>-".to_owned(), 10_000)]);
    assert_eq!(told(&some, &some), []);
}

#[test]
fn a_route_that_steers_otherwise_decides_anew() {
    let (before, after) = (route(0, &[("a", 80), ("b", 20)]), route(2, &[("a", 80), ("b", 20)]));
    assert_eq!(told(&before, &after), [("a>b".to_owned(), 1_600), ("b>a".to_owned(), 1_600)]);
}

struct NoInputs;

impl Inputs for NoInputs {
    fn sequence(&mut self) -> u64 {
        0
    }
    fn turn(&mut self, _: u32) -> u64 {
        0
    }
    fn random(&mut self) -> u32 {
        0
    }
    fn load(&self, _: u32) -> u32 {
        0
    }
}

proptest! {
    #[test]
    fn growing_one_of_two_moves_exactly_the_growth(a in 0_u64..=10_000, b in 0_u64..=10_000, by in 0_u32..3) {
        let of = |v2: u64| route(by, &[("v1", 10_000 - v2), ("v2", v2)]);
        let way = if a < b { "v1>v2" } else { "v2>v1" };
        let expected = if a == b { vec![] } else { vec![(way.to_owned(), a.abs_diff(b) as u32)] };
        prop_assert_eq!(told(&of(a), &of(b)), expected);
    }

    #[test]
    fn nobody_is_lost(
        before in prop::collection::vec(0_u64..100, 1..8), after in prop::collection::vec(0_u64..100, 1..8),
        by in 0_u32..2,
    ) {
        const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let of = |weights: &[u64]| route(by, &NAMES.into_iter().zip(weights.iter().copied()).collect::<Vec<_>>());
        let (before, after) = (of(&before), of(&after));
        let found = moves(&before, &after);
        let (old, new) = (counts(&before), counts(&after));
        for (name, slots) in &old {
            let of = |pick: fn(&Move) -> &Option<String>| -> u32 {
                found.iter().filter(|one| pick(one).as_deref() == *name).map(|one| one.slots).sum()
            };
            let now = new.get(name).copied().unwrap_or(0);
            prop_assert_eq!(slots + of(|one| &one.to), now + of(|one| &one.from), "{:?} {:?}", name, found);
        }
    }

    #[test]
    fn who_moves_is_decided_differently(a in 1_u64..100, b in 1_u64..100, c in 0_u64..100) {
        let (before, after) = (route(0, &[("a", a), ("b", 50)]), route(0, &[("b", b), ("c", c)]));
        let foretold: u32 = moves(&before, &after).iter().map(|one| one.slots).sum();
        let flows = 4_000_u32;
        let mut moved = 0;
        for port in 0..flows {
            let flow = address::Flow { source_port: port, ..address::Flow::default() };
            let to = |route: &Route| {
                let place = decide(7, &route.steer, &flow, &Sets::default().table(route), &mut NoInputs).place;
                route.destinations[place as usize].name.clone()
            };
            moved += u32::from(to(&before) != to(&after));
        }
        let (found, expected) = (f64::from(moved) / f64::from(flows), f64::from(foretold) / 10_000.0);
        prop_assert!((found - expected).abs() < 0.05, "{} {}", found, expected);
    }
}
