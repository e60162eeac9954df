//! An edit of weights is resolved alone, and comes to what all objects come to.

use std::sync::Arc;

use proptest::prelude::*;
use tcpshift_agent::plan::Plan;
use tcpshift_agent::route::object::Object;
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::{Store, StoreChange};
use tcpshift_common::DEFAULT_SEED;

use crate::any::documents;
use crate::sets::named;

/// What is different, if objects are different and nothing came or went.
fn edits(last: &Store, next: &Store) -> Vec<(Arc<Object>, Arc<Object>)> {
    let edit = |change| match change {
        StoreChange::Modified(new) => (Arc::clone(last.get(&new.key).expect("it was there")), new),
        other => panic!("{other:?}"),
    };
    last.changes(next).into_iter().map(edit).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_edit_of_weights_comes_to_what_all_objects_come_to(
        seeds in proptest::collection::vec(any::<u64>(), 0..60),
        weights in proptest::collection::vec(any::<[u8; 2]>(), 1..5),
    ) {
        let drawn = documents(&seeds);
        let with = |weights: [u32; 2]| crate::objects(&[drawn.clone(), named(weights, 1)].concat()).0;
        let (mut store, mut planner, mut plan) = (Store::default(), crate::planner(), Plan::empty(DEFAULT_SEED));
        store.update(Update::first(Source::Files, with([300, 300])));
        let mut intent = planner.resolve(store.iter());
        plan = planner.assemble(&intent, &plan);
        for weights in weights {
            let mut next = store.draft();
            next.update(Update::first(Source::Files, with(weights.map(|weight| u32::from(weight) + 1))));
            let edits = edits(&store, &next);
            if edits.is_empty() {
                continue;
            }
            intent = planner.edit(&intent, &edits).expect("nothing but weights is different");
            prop_assert_eq!(&intent, &crate::planner().resolve(next.iter()));
            let mut fork = planner.fork();
            let expected = fork.plan(next.iter(), &plan);
            plan = planner.assemble(&intent, &plan);
            prop_assert_eq!(&plan, &expected);
            store = next;
        }
    }
}
