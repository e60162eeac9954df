//! What the weight table promises: exact counts, minimal movement, no memory and no order.

use proptest::prelude::*;
use tcpshift_common::SLOTS;

use super::{Layout, WeightTable};

fn named(weights: &[u64]) -> Vec<(String, u64)> {
    weights
        .iter()
        .enumerate()
        .map(|(at, weight)| (format!("echo.default.svc.cluster.local:9000/v{at}"), *weight))
        .collect()
}

fn table(weights: &[u64]) -> WeightTable {
    WeightTable::new(Layout::Scattered, &named(weights))
}

/// Slots that are another destination's in the second table.
fn moved(a: &WeightTable, b: &WeightTable) -> usize {
    a.slots().into_iter().zip(b.slots()).filter(|(a, b)| a != b).count()
}

#[test]
fn whole_percents_are_exact() {
    for percent in 0..=100u64 {
        let table = table(&[100 - percent, percent]);
        assert_eq!(table.shares().collect::<Vec<_>>(), [(100 - percent) as u32 * 100, percent as u32 * 100]);
        let second = table.slots().iter().filter(|place| **place == 1).count();
        assert_eq!(second as u64, percent * 100);
    }
}

#[test]
fn growing_by_any_whole_percent_moves_the_difference_and_nobody_back() {
    let tables: Vec<_> = (0..=100u64).map(|percent| table(&[100 - percent, percent]).slots()).collect();
    for from in 0..=100 {
        for to in from..=100 {
            let moved = tables[from].iter().zip(&tables[to]).filter(|(a, b)| a != b).count();
            assert_eq!(moved, (to - from) * 100);
            let back = tables[from].iter().zip(&tables[to]).any(|(a, b)| *a == 1 && *b == 0);
            assert!(!back, "from {from} to {to}");
        }
    }
}

#[test]
fn tables_are_what_they_have_always_been() {
    // Sticky clients and other agents depend on these slots: a change here moves clients on an upgrade.
    let slots = table(&[80, 20]).slots();
    let first: Vec<usize> = (0..10_000).filter(|slot| slots[*slot] == 1).take(8).collect();
    assert_eq!(first, [6, 8, 9, 10, 20, 29, 37, 49]);
}

#[test]
fn a_small_weight_is_never_rounded_away() {
    let table = table(&[1_000_000_000, 1, 1, 0]);
    assert_eq!(table.shares().collect::<Vec<_>>(), [9_998, 1, 1, 0]);
}

#[test]
fn more_destinations_than_slots_are_survived() {
    let table = table(&vec![1; 20_000]);
    assert_eq!(table.shares().sum::<u32>(), SLOTS);
    assert!(table.shares().all(|slots| slots <= 1));
}

#[test]
fn what_is_kept_for_connections_is_the_table() {
    for destinations in [2, 256, 257, 300] {
        let table = table(&vec![1; destinations]);
        let slots: Vec<u32> = table.slots().into_iter().map(u32::from).collect();
        let kept: Vec<u32> = (0..SLOTS).map(|slot| table.place(slot).unwrap()).collect();
        assert_eq!(kept, slots, "{destinations} destinations");
        assert_eq!(table.place(SLOTS), None);
    }
}

#[test]
fn sorted_tables_are_stretches_by_name() {
    let weights = [("b".to_owned(), 30), ("a".to_owned(), 70)];
    let table = WeightTable::new(Layout::Sorted, &weights);
    assert!(table.slots()[..7_000].iter().all(|place| *place == 1));
    assert!(table.slots()[7_000..].iter().all(|place| *place == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_are_within_one_of_exact_and_add_up(weights in proptest::collection::vec(0u64..1_000, 1..12)) {
        let total: u64 = weights.iter().sum();
        let table = table(&weights);
        let shares: Vec<_> = table.shares().collect();
        prop_assert_eq!(shares.iter().sum::<u32>(), if total == 0 { 0 } else { SLOTS });
        let mut counted = vec![0u32; weights.len()];
        table.slots().iter().for_each(|place| counted[usize::from(*place)] += 1);
        prop_assert_eq!(&counted, &shares);
        for (weight, slots) in weights.iter().zip(&shares) {
            if total > 0 {
                let exact = *weight as f64 * f64::from(SLOTS) / total as f64;
                prop_assert!((f64::from(*slots) - exact).abs() < 12.0 && (*slots > 0) == (*weight > 0), "{slots} for {exact}");
            }
        }
    }

    #[test]
    fn the_order_of_destinations_never_matters(weights in proptest::collection::vec(1u64..100, 2..6), turn in 0usize..6) {
        let forward = named(&weights);
        let mut turned = forward.clone();
        turned.rotate_left(turn % weights.len());
        for layout in [Layout::Scattered, Layout::Sorted] {
            let (a, b) = (WeightTable::new(layout, &forward), WeightTable::new(layout, &turned));
            for (x, y) in a.slots().into_iter().zip(b.slots()) {
                prop_assert_eq!(&forward[usize::from(x)].0, &turned[usize::from(y)].0);
            }
        }
    }

    #[test]
    fn movement_stays_within_twice_the_minimum(old in proptest::collection::vec(0u64..100, 3..8), new in proptest::collection::vec(0u64..100, 8)) {
        let new = &new[..old.len()];
        prop_assume!(old.iter().sum::<u64>() > 0 && new.iter().sum::<u64>() > 0);
        let (a, b) = (table(&old), table(new));
        let least: u32 = a.shares().zip(b.shares()).map(|(a, b)| b.saturating_sub(a)).sum();
        prop_assert!(moved(&a, &b) <= 2 * least as usize, "{} moved, {least} would do", moved(&a, &b));
    }
}
