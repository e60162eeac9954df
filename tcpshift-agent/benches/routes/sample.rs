//! What is to see of 10,000 routes: a look at how counts have grown, which an agent takes once a second, and a sample.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tcpshift_agent::connections::Connections;
use tcpshift_agent::observe::ledger::{Index, Ledger};
use tcpshift_agent::observe::{History, Sample};
use tcpshift_agent::plan::{Plan, Sets};

use super::row;

/// How often each is measured.
const ROUNDS: u32 = 70;

/// Medians of a look and of a sample, while every destination and every endpoint has new connections.
pub(super) fn measure(plan: Plan, sets: Sets) -> (Duration, Duration) {
    let (plan, sets, connections) = (Arc::new(plan), Arc::new(sets), Connections::default());
    let mut history = History::default();
    let grow = || {
        for destination in plan.routes().flat_map(|route| &route.destinations) {
            connections.destinations.get(destination.number).opened.fetch_add(1, Relaxed);
            for endpoint in &*sets.of(destination).endpoints {
                connections.endpoints.get(endpoint.decides.number).opened.fetch_add(1, Relaxed);
            }
        }
    };
    let median = |mut took: Vec<Duration>| {
        took.sort_unstable();
        took[took.len() / 2]
    };
    let timed = |work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        begin.elapsed()
    };
    let looks = (0..ROUNDS).map(|_| {
        grow();
        timed(&mut || history.look(&plan, &sets, &connections))
    });
    let look = median(looks.collect());
    row("look how all of them have grown", look);
    let mut take = || drop(Sample::take((&plan, &sets), &[], &connections, &history, None));
    let sample = median((0..ROUNDS).map(|_| timed(&mut take)).collect());
    row("take a sample of all of them", sample);
    let mut ledger = Ledger::default();
    let mut rows = Vec::new();
    let told = timed(&mut || rows = ledger.tell(&plan, &sets, &connections));
    row(&format!("tell another agent {} counts", rows.len()), told);
    let other = Connections::default();
    let mut index = Index::default();
    row("name them, for such rows", timed(&mut || index = Index::new(&plan, &sets)));
    row("add such rows", timed(&mut || drop(index.add(&rows, &other))));
    (look, sample)
}
