//! What fails after a switch is made up for at the next one. Needs root, as all tests of the kernel do.

use std::io;

use super::*;
use std::thread;

use crate::kernel::features::Features;
use crate::kernel::load::{Purpose, clear, load};

fn publisher() -> Publisher {
    let room = Room::new(1);
    let (_, maps) = load(Purpose { room, speaks: false, features: Features::EVERYTHING, steering: None }).unwrap();
    clear(&maps).unwrap();
    Publisher::new(Arc::new(maps), room)
}

/// Every number of a slot table that is free.
fn free(publisher: &Publisher) -> Vec<u32> {
    let mut fresh = Fresh::new(Arc::clone(&publisher.maps), Arc::clone(&publisher.pools));
    let mut all: Vec<u32> = std::iter::from_fn(|| fresh.table(TableKind::Slots)).collect();
    all.sort_unstable();
    all
}

#[test]
fn tables_that_could_not_be_taken_away_are_at_the_next_change() {
    let failures: [fn() -> io::Result<Vec<SpareTable>>; 2] =
        [|| Err(io::Error::other("no memory")), || panic!("a thread that takes tables away")];
    for failure in failures {
        let mut publisher = publisher();
        let all = free(&publisher);
        assert_eq!(free(&publisher), all, "what was not kept is free again");
        let mut fresh = Fresh::new(Arc::clone(&publisher.maps), Arc::clone(&publisher.pools));
        let number = fresh.table(TableKind::Slots).unwrap();
        fresh.keep();
        drop(fresh);
        let mut old = Holdings::default();
        old.of_mut(TableKind::Slots).push(number);
        publisher.settling = Some(Settling { thread: thread::spawn(failure), old, spare: Vec::new(), index: 0 });
        // The plan is in force all the same.
        let prepared = publisher.prepare(&Plan::empty(1), &Sets::default(), None).unwrap();
        publisher.publish(prepared, None);
        assert_eq!(publisher.index, 1);
        publisher.reap_all();
        assert_eq!(free(&publisher), all);
    }
}
