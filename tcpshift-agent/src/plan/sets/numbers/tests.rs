//! Numbers of endpoints on a clock that is told.

use super::*;

const SECOND: u64 = 1_000_000_000;

/// An endpoint that comes into a set.
fn come(numbers: &mut EndpointNumbers, name: &str) -> u32 {
    let number = numbers.number(name);
    numbers.enter(number);
    number
}

fn fresh(new: &[u32], back: &[u32]) -> FreshEndpoints {
    FreshEndpoints { new: new.to_vec(), back: back.to_vec() }
}

#[test]
fn a_number_rests_before_it_is_another_endpoints() {
    let mut numbers = EndpointNumbers::default();
    assert_eq!(come(&mut numbers, "a"), 0);
    numbers.leave(0);
    numbers.settle(5 * SECOND, |_| false);
    numbers.settle(5 * SECOND + REST - 1, |_| false);
    assert_eq!(come(&mut numbers, "b"), 1, "a handshake may still be for the first one");
    numbers.settle(5 * SECOND + REST, |_| false);
    assert_eq!(come(&mut numbers, "c"), 0);
    assert_eq!(numbers.take_fresh(), fresh(&[0, 1, 0], &[]), "and its counters begin at zero");
}

#[test]
fn an_endpoint_that_comes_back_has_its_number_and_counts_from_zero() {
    let mut numbers = EndpointNumbers::default();
    come(&mut numbers, "a");
    numbers.take_fresh();
    // In two sets, it leaves one.
    come(&mut numbers, "a");
    numbers.leave(0);
    numbers.settle(0, |_| false);
    assert_eq!(come(&mut numbers, "a"), 0);
    assert_eq!(numbers.take_fresh(), FreshEndpoints::default(), "its counters go on");
    // It is in another set before that is settled.
    numbers.leave(0);
    numbers.leave(0);
    assert_eq!(come(&mut numbers, "a"), 0);
    numbers.settle(0, |_| false);
    assert_eq!(numbers.take_fresh(), FreshEndpoints::default());
    for is_held in [true, false] {
        numbers.leave(0);
        numbers.settle(0, |_| is_held);
        assert_eq!(come(&mut numbers, "a"), 0);
        assert_eq!(numbers.take_fresh(), fresh(&[], &[0]), "{is_held}");
    }
    numbers.settle(2 * REST, |_| false);
    assert_eq!(come(&mut numbers, "b"), 1, "it is in use, and rests no more");
}

#[test]
fn what_is_held_when_its_rest_is_over_is_not_given_out() {
    let mut numbers = EndpointNumbers::default();
    come(&mut numbers, "a");
    numbers.leave(0);
    numbers.settle(0, |_| false);
    // The last handshake came to a connection.
    numbers.settle(REST, |number| number == 0);
    numbers.settle(9 * REST, |number| number == 0);
    assert_eq!(come(&mut numbers, "b"), 1);
    numbers.settle(10 * REST, |_| false);
    assert_eq!(come(&mut numbers, "c"), 2, "it rests again");
    numbers.settle(11 * REST, |_| false);
    assert_eq!(come(&mut numbers, "d"), 0);
}

/// So many endpoints are replaced one after the other, 1,000 a second. Returns the highest number, and the shortest rest that a
/// number had.
fn churn(rows: usize, events: u64) -> (u32, u64) {
    let mut numbers = EndpointNumbers::default();
    numbers.limit(rows);
    let (mut last, mut highest, mut shortest) = (come(&mut numbers, "first"), 0, u64::MAX);
    let mut left = HashMap::new();
    for event in 0..events {
        let now = event * SECOND / 1_000;
        let number = come(&mut numbers, &format!("{event}"));
        highest = highest.max(number);
        if let Some(since) = left.remove(&number) {
            shortest = shortest.min(now - since);
        }
        numbers.leave(last);
        left.insert(last, now);
        last = number;
        numbers.take_fresh();
        numbers.settle(now, |_| false);
    }
    (highest, shortest)
}

#[test]
fn a_thousand_events_a_second_find_numbers() {
    // Rows of `--max-routes 10000`.
    let (highest, shortest) = churn(320_000, 200_000);
    assert!(highest < 131_000 && shortest >= REST, "{highest}, {shortest}");
    // Of few rows, those numbers are used that have rested longest.
    let (highest, shortest) = churn(320, 10_000);
    assert!(highest < 320, "{highest}");
    assert!(shortest > 200 * SECOND / 1_000, "{shortest}");
}

#[test]
fn where_few_are_left_the_longest_rest_ends_first() {
    let mut numbers = EndpointNumbers::default();
    numbers.limit(8);
    for at in 0..7 {
        come(&mut numbers, &format!("a{at}"));
        numbers.leave(at);
        numbers.settle(u64::from(at), |number| number == 1);
    }
    // In a room of eight two are never to rest: the seventh made the first one free.
    assert_eq!([come(&mut numbers, "b"), come(&mut numbers, "c")], [0, 7]);
    // One event brings more endpoints than are left.
    assert_eq!(["d", "e", "f", "g", "h"].map(|name| come(&mut numbers, name)), [2, 3, 4, 5, 6]);
    assert_eq!(come(&mut numbers, "i"), 8, "the kernel has no row for it, and one of eight is held");
    assert_eq!(come(&mut numbers, "a1"), 1, "by whom it comes back to");
}

#[test]
fn what_is_given_up_counts_on() {
    let mut numbers = EndpointNumbers::default();
    let [a, b] = [come(&mut numbers, "a"), come(&mut numbers, "b")];
    numbers.leave(b);
    numbers.take_fresh();
    numbers.settle(0, |_| false);
    // A plan that comes to nothing has a new endpoint and an old one, and not the one in force.
    numbers.leave(a);
    assert_eq!((come(&mut numbers, "c"), come(&mut numbers, "b")), (2, b));
    numbers.give_up();
    assert_eq!(come(&mut numbers, "a"), a);
    assert_eq!(numbers.take_fresh(), FreshEndpoints::default(), "its counters go on");
    numbers.settle(0, |_| false);
    assert_eq!(come(&mut numbers, "d"), 2, "no program has seen it");
    assert_eq!(come(&mut numbers, "b"), b);
    assert_eq!(numbers.take_fresh(), fresh(&[2], &[b]));
}
