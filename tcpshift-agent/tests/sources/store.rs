//! The store: what was applied beside what files have.

use jiff::Timestamp;
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::{Outcome, Refusal, Refused, Store, StoreChange};

use super::{entry, key, objects};

/// The same with a version, in line 5.
fn versioned(name: &str, address: &str, version: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata:\n  name: {name}\n  \
         resourceVersion: '{version}'\nspec:\n  address: {address}\n"
    )
}

#[test]
fn a_file_beats_what_was_applied_and_refuses_changes() {
    let mut store = Store::default();
    let done = store.apply(objects(&entry("one", "10.0.0.1")), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(done[0].1, Outcome::Created);
    store.update(Update::first(Source::Files, objects(&entry("one", "10.0.0.9"))));
    assert_eq!(store.get(&key("one")).unwrap().content.tree()["spec"]["address"], "10.0.0.9");
    assert_eq!((store.len(), store.hidden().count()), (1, 1));
    let refused = store.clone().apply(objects(&entry("one", "10.0.0.2")), Timestamp::UNIX_EPOCH).unwrap_err();
    let [Refused { refusal: Refusal::BelongsToFile(..), problem }] = &refused[..] else { panic!("{refused:#?}") };
    assert!(problem.message.contains("test.yaml:1"), "{problem}");
    let same = store.clone().apply(objects(&entry("one", "10.0.0.9")), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(same[0].1, Outcome::Unchanged, "what a file says already is no change");
    assert!(matches!(store.clone().delete(&[(key("one"), None)], true), Err(Refusal::BelongsToFile(..))));
    store.update(Update { gone: vec![key("one")], ..Update::first(Source::Files, Vec::new()) });
    assert_eq!(store.get(&key("one")).unwrap().content.tree()["spec"]["address"], "10.0.0.1");
}

#[test]
fn versions_count_changes_and_guard_them() {
    let mut store = Store::default();
    store.apply(objects(&entry("one", "10.0.0.1")), Timestamp::UNIX_EPOCH).unwrap();
    let before = store.clone();
    assert_eq!(store.apply(objects(&entry("one", "10.0.0.1")), Timestamp::now()).unwrap()[0].1, Outcome::Unchanged);
    assert_eq!(store.version(), 1);
    let with_version = |version: &str| versioned("one", "10.0.0.2", version);
    let conflict = store.clone().apply(objects(&with_version("7")), Timestamp::now()).unwrap_err();
    assert!(matches!(conflict[0].refusal, Refusal::Conflict { found: 1, .. }), "{conflict:#?}");
    let done = store.clone().apply(objects(&with_version("")), Timestamp::now()).unwrap();
    assert_eq!(done[0].1, Outcome::Configured, "an empty version is none");
    let done = store.apply(objects(&with_version("1")), Timestamp::now()).unwrap();
    assert_eq!((done[0].1, done[0].0.resource_version), (Outcome::Configured, 2));
    assert_eq!(done[0].0.created, Some(Timestamp::UNIX_EPOCH), "the time of creation is kept");
    assert!(matches!(before.changes(&store).as_slice(), [StoreChange::Modified(_)]));
    assert!(matches!(
        store.clone().delete(&[(key("one"), Some("1".to_owned()))], false),
        Err(Refusal::Conflict { .. })
    ));
    assert!(matches!(store.clone().delete(&[(key("two"), None)], false), Err(Refusal::NotFound(_))));
    let mut after = store.clone();
    after.delete(&[(key("one"), None), (key("one"), None)], false).unwrap();
    assert!(matches!(store.changes(&after).as_slice(), [StoreChange::Deleted(_)]));
}

#[test]
fn every_conflict_is_said_and_what_is_the_same_is_none() {
    let mut store = Store::default();
    let all = |address: &str, version: &str| {
        let one = |name| versioned(name, address, version);
        [one("one"), one("two"), one("three")].join("---\n")
    };
    let new = store.apply(objects(&all("10.0.0.1", "48213")), Timestamp::UNIX_EPOCH).unwrap();
    assert!(new.iter().all(|(_, outcome)| *outcome == Outcome::Created), "one that is not there has no version");
    let same = store.apply(objects(&all("10.0.0.1", "48213")), Timestamp::UNIX_EPOCH).unwrap();
    assert!(same.iter().all(|(_, outcome)| *outcome == Outcome::Unchanged));
    store.apply(objects(&entry("two", "10.0.0.2")), Timestamp::UNIX_EPOCH).unwrap();
    for (version, said) in [
        (
            "48213",
            ["48213 is another store's: the object has 1 here", "48213 is another store's: the object has 2 here"],
        ),
        (
            "0",
            [
                "0 is an older state, or another store's: the object has 1",
                "0 is an older state, or another store's: the object has 2",
            ],
        ),
        (
            "later",
            ["later is another store's: the object has 1 here", "later is another store's: the object has 2 here"],
        ),
    ] {
        let text = [versioned("one", "10.0.0.9", version), versioned("two", "10.0.0.9", version)].join("---\n");
        let refused = store.clone().apply(objects(&text), Timestamp::now()).unwrap_err();
        let messages: Vec<_> = refused.iter().map(|one| one.problem.message.as_str()).collect();
        assert_eq!(messages, said);
        let positions: Vec<_> = refused.iter().map(|one| (one.problem.file.as_str(), one.problem.line)).collect();
        assert_eq!(positions, [("test.yaml", 5), ("test.yaml", 13)], "the line of the version");
        assert!(refused.iter().all(|one| one.problem.cure.contains("--force")), "{refused:#?}");
    }
}

#[test]
fn what_a_cluster_adds_is_no_part_of_an_object() {
    let plain =
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata:\n  name: one\nspec: {address: 10.0.0.1}\n";
    let more = "  name: one\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: |\n      {\"kind\":\"Old\"}\n  \
                uid: 0c6a\n  generation: 4\n  managedFields: [{manager: kubectl}]\n  creationTimestamp: null\n";
    let printed = plain.replace("  name: one\n", more) + "status: {}\n";
    let (plain, printed) = (objects(plain), objects(&printed));
    assert_eq!(plain[0].content, printed[0].content);
    let kept = "  name: one\n  annotations: {note: mine, kubectl.kubernetes.io/last-applied-configuration: '{}'}\n";
    let kept = objects(&entry("one", "10.0.0.1").replace("metadata: {name: one}\n", &format!("metadata:\n{kept}")));
    assert_eq!(kept[0].content.tree()["metadata"]["annotations"], serde_json::json!({"note": "mine"}));
}
