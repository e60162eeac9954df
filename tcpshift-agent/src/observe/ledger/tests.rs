//! What one agent tells another, and what the other makes of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tcpshift_common::layout::SUM_WORDS;

use super::*;
use crate::connections::{AttemptOutcome, Direction, KeptDecision, LiveSlab};
use crate::observe::example::{ONE, TWO, plan};

const DECIDED: KeptDecision = KeptDecision { generation: 1, listener: 0, route: 0, destination: ONE, slot: 0 };

fn steering() -> Arc<Connections> {
    let words = |count: u32| Box::new((0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
    Arc::new(Connections::sharing([words(8), words(8), words(0), words(8 * SUM_WORDS)].map(|words| words as _)))
}

fn opened(connections: &Connections) -> [[u64; 2]; 2] {
    [ONE, TWO].map(|number| [connections.opened(number), connections.opened_since_mark(number)])
}

#[test]
fn totals_go_on_and_nothing_is_told_twice() {
    let (plan, sets) = plan();
    let (old, new) = (steering(), steering());
    old.destinations.get(ONE).opened.store(100, Relaxed);
    old.mark(ONE);
    let slab = LiveSlab::new(Arc::clone(&old));
    let held = slab.open(DECIDED, ([192, 0, 2, 1], 1000).into());
    held.attach(5);
    let failed = slab.open(DECIDED, ([192, 0, 2, 1], 1000).into());
    failed.fail(ConnectionFailure::ConnectTimeout);
    drop(failed);
    old.steered.add(TWO, &SumRow { opened: 7, refused: 2, failed: 1, closed: 3, rtt: 30, ..SumRow::default() });
    old.sequences.get(0).store(9, Relaxed);
    old.listeners.get(0).unrouted.store(4, Relaxed);

    let (mut ledger, index) = (Ledger::default(), Index::new(&plan, &sets));
    let mut carried = index.add(&ledger.tell(&plan, &sets, &old), &new);
    carried.sort_unstable();
    assert_eq!(carried, [(ONE, 1), (TWO, 0)]);
    assert_eq!(opened(&new), [[102, 2], [9, 9]]);
    assert_eq!(new.steered.get(TWO), old.steered.get(TWO));
    assert_eq!(new.destinations.get(ONE).last_failure.get(), old.destinations.get(ONE).last_failure.get());
    assert_eq!(new.destinations.get(ONE).failures().collect::<Vec<_>>(), [(ConnectionFailure::ConnectTimeout, 1)]);
    assert_eq!((new.sequences.get(0).load(Relaxed), new.listeners.get(0).unrouted.load(Relaxed)), (9, 4));
    assert_eq!(new.endpoints.get(5).opened.load(Relaxed), 1);
    assert_eq!((new.active_of(ONE), new.endpoints.load(5)), (0, 0), "whom it carries is not the new agent's load");

    assert_eq!(ledger.tell(&plan, &sets, &old), []);
    held.end(Ended::IdleTimeout);
    held.moved(Direction::Forth, 100);
    held.attempted(AttemptOutcome::Failed(ConnectionFailure::ConnectRefused));
    drop(held);
    assert_eq!(index.add(&ledger.tell(&plan, &sets, &old), &new), [(ONE, 0)]);
    assert_eq!(opened(&new), [[102, 2], [9, 9]]);
    assert_eq!(new.destinations.get(ONE).ended().collect::<Vec<_>>(), [(Ended::IdleTimeout, 1)]);
    assert_eq!(new.destinations.get(ONE).sent.load(Relaxed), 100);
    let endpoint = new.endpoints.get(5);
    assert_eq!((endpoint.opened.load(Relaxed), endpoint.failed.load(Relaxed)), (1, 1));
}

#[test]
fn shares_by_other_weights_begin_anew() {
    let (plan, sets) = plan();
    let (old, new) = (steering(), steering());
    old.destinations.get(ONE).opened.store(100, Relaxed);
    let mut rows = Ledger::default().tell(&plan, &sets, &old);
    let weights = rows.iter_mut().find_map(|(_, words)| words.get_mut("Weights")).unwrap();
    *weights += 1;
    Index::new(&plan, &sets).add(&rows, &new);
    assert_eq!(opened(&new)[0], [100, 0]);
}

#[test]
fn where_no_program_steers_the_agent_has_the_counts() {
    let (plan, sets) = plan();
    let (old, new) = (steering(), Arc::new(Connections::default()));
    old.steered.add(TWO, &SumRow { opened: 7, refused: 2, ..SumRow::default() });
    Index::new(&plan, &sets).add(&Ledger::default().tell(&plan, &sets, &old), &new);
    assert_eq!(opened(&new)[1], [9, 9]);
    assert_eq!(new.destinations.get(TWO).failures().collect::<Vec<_>>(), [(ConnectionFailure::NoEndpoint, 2)]);
}

#[test]
fn what_is_not_known_is_passed_over() {
    let (plan, sets) = plan();
    let new = Connections::default();
    let words = |words: &[(&str, u64)]| words.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect();
    let old = steering();
    old.destinations.get(ONE).opened.store(1, Relaxed);
    let subject = Ledger::default().tell(&plan, &sets, &old).remove(0).0;
    let rows =
        [("volcano".to_owned(), words(&[("Opened", 5)])), (subject, words(&[("Opened", u64::MAX), ("Lava", 5)]))];
    Index::new(&plan, &sets).add(&rows, &new);
    assert_eq!(new.opened(ONE), MOST, "no sum overflows");
}

#[test]
fn each_word_is_written_in_its_own_way() {
    let written: HashSet<String> = Word::all().map(Word::written).collect();
    assert_eq!(written.len(), Word::all().count());
}
