//! What the tables promise, for any endpoints.

use proptest::prelude::*;

use super::*;

const RING_DEFAULT: HashAlgorithm = HashAlgorithm::Ring { places: 1024 };
/// For many cases.
const SMALL: HashAlgorithm = HashAlgorithm::Maglev { places: 16_381 };
const MAGLEV: HashAlgorithm = HashAlgorithm::Maglev { places: 65_537 };

fn endpoints(weights: &[u32]) -> Vec<(String, u32)> {
    weights.iter().zip(1..).map(|(weight, n)| (format!("192.0.2.{n}:9000"), *weight)).collect()
}

/// The owner of each place by name.
fn owners(algorithm: HashAlgorithm, endpoints: &[(String, u32)]) -> Vec<String> {
    let table = HashTable::new(algorithm, endpoints.to_vec());
    let owner = |at| endpoints[table.endpoint(at).unwrap() as usize].0.clone();
    (0..table.places()).map(owner).collect()
}

fn counts(algorithm: HashAlgorithm, weights: &[u32]) -> Vec<f64> {
    let table = HashTable::new(algorithm, endpoints(weights));
    let mut counts = vec![0.0; weights.len()];
    for at in 0..table.places() {
        counts[table.endpoint(at).unwrap() as usize] += 1.0;
    }
    counts
}

#[test]
fn tables_are_what_they_have_always_been() {
    // Clients keep their endpoint over an upgrade only if this stays.
    let first = |algorithm, weights: &[u32]| -> Vec<u32> {
        let table = HashTable::new(algorithm, endpoints(weights));
        (0..12).map(|at| table.endpoint(at).unwrap()).collect()
    };
    let all = [
        first(RING_DEFAULT, &[1, 1, 1]),
        first(RING_DEFAULT, &[1, 2, 5]),
        first(MAGLEV, &[1, 1, 1]),
        first(MAGLEV, &[1, 2, 5]),
    ];
    let always = [
        [2, 1, 0, 2, 1, 0, 2, 2, 0, 0, 0, 2],
        [2, 2, 0, 2, 1, 0, 2, 2, 0, 2, 0, 2],
        [1, 0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0],
        [1, 2, 2, 0, 2, 0, 2, 2, 2, 0, 2, 1],
    ];
    assert_eq!(all, always);
}

#[test]
fn tables_have_as_many_places_as_asked_for() {
    let places = |algorithm, count| HashTable::new(algorithm, endpoints(&vec![1; count])).places();
    for (asked, count, given) in
        [(1, 3, 4_096), (5_000, 3, 5_000), (1_024, 1_024, 4_096), (1_024, 1_025, 8_192), (u64::MAX, 3, 65_536)]
    {
        assert_eq!(places(HashAlgorithm::Ring { places: asked }, count), given);
    }
    // What is no prime is never let in; it must do no harm all the same.
    for (asked, given) in [(0, 2), (1, 2), (2, 2), (7, 7), (8, 11), (65_537, 65_537), (u64::MAX, 5_000_011)] {
        assert_eq!(places(HashAlgorithm::Maglev { places: asked }, 3), given);
    }
}

#[test]
fn an_empty_table_does_no_harm() {
    for algorithm in [RING_DEFAULT, MAGLEV] {
        let table = HashTable::new(algorithm, Vec::new());
        assert_eq!(table.endpoint(table.places()), None);
        // The decision takes no index beyond the endpoints there are.
        assert!(table.endpoint(0).is_some());
    }
}

#[test]
fn logarithms_are_right() {
    for number in [1e-300, 1e-16, 0.1, 0.5, 0.7, 0.71, 0.999_999, 1.0, 2.0, 1e9] {
        assert!((ln(number) - f64::ln(number)).abs() <= 4e-15 * f64::ln(number).abs(), "{number}");
    }
}

#[test]
fn a_shelf_gives_back_what_is_there() {
    let mut shelf = Shelf::default();
    let one = shelf.table(HashTable::new(RING_DEFAULT, endpoints(&[1, 2])));
    let same = shelf.table(HashTable::new(RING_DEFAULT, endpoints(&[1, 2])));
    let other = shelf.table(HashTable::new(RING_DEFAULT, endpoints(&[2, 1])));
    assert!(Arc::ptr_eq(&one.content, &same.content) && one != other);
    assert_ne!(one, HashTable::new(HashAlgorithm::Maglev { places: 4_099 }, endpoints(&[1, 2])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shares_are_those_of_the_weights(weights in proptest::collection::vec(1u32..20, 1..12)) {
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let expected = |places: f64, weight: u32| places * f64::from(weight) / total;
        for (count, weight) in counts(SMALL, &weights).iter().zip(&weights) {
            prop_assert!((count - expected(16_381.0, *weight)).abs() <= 20.0, "{count} of {weights:?}");
        }
        for (count, weight) in counts(RING_DEFAULT, &weights).iter().zip(&weights) {
            let mean = expected(4_096.0, *weight);
            prop_assert!((count - mean).abs() <= 6.0 * mean.sqrt() + 1.0, "{count} of {weights:?}");
        }
    }

    #[test]
    fn only_the_places_of_who_goes_change_hands(
        weights in proptest::collection::vec(1u32..6, 2..12), equal in any::<bool>(), gone in any::<prop::sample::Index>(),
    ) {
        let weights = if equal { vec![1; weights.len()] } else { weights };
        let before = endpoints(&weights);
        let gone = gone.index(before.len());
        let mut after = before.clone();
        let (name, weight) = after.remove(gone);
        let moved = |algorithm| {
            let (before, after) = (owners(algorithm, &before), owners(algorithm, &after));
            let others = before.iter().zip(&after).filter(|(before, after)| **before != name && before != after);
            others.count()
        };
        prop_assert_eq!(moved(RING_DEFAULT), 0);
        // Maglev's own promise is a small number. Most of all moves where hardly anybody is left.
        let share = f64::from(weight) / f64::from(weights.iter().sum::<u32>());
        let moved = moved(SMALL) as f64 / 16_381.0;
        prop_assert!(moved <= 0.5 * share + 0.01, "{moved} for a share of {share}");
    }

    #[test]
    fn the_order_of_endpoints_does_not_matter(weights in proptest::collection::vec(1u32..6, 1..9)) {
        let forth = endpoints(&weights);
        let mut back = forth.clone();
        back.reverse();
        prop_assert_eq!(owners(RING_DEFAULT, &forth), owners(RING_DEFAULT, &back));
    }
}
