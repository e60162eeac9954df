//! The sources of objects: the user's files, the state directory, and the store that both feed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use tcpshift_agent::route::files::{Files, Look};
use tcpshift_agent::route::kind::Kind;
use tcpshift_agent::route::object::{Key, Object};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::state::StateFolder;
use tcpshift_agent::route::store::{Outcome, Refusal, Refused, Store, StoreChange};

fn entry(name: &str, address: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\nspec: {{address: {address}}}\n"
    )
}

/// The same with a version, in line 5.
fn versioned(name: &str, address: &str, version: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata:\n  name: {name}\n  \
         resourceVersion: '{version}'\nspec:\n  address: {address}\n"
    )
}

fn objects(text: &str) -> Vec<Object> {
    let (entries, problems) = read_all(&[Document { name: "test.yaml".to_owned(), text: text.to_owned() }], None);
    assert!(problems.is_empty(), "{problems:#?}");
    let valid = entries.into_iter().filter_map(|entry| match entry {
        ReadDocument::Valid(object) => Some(*object),
        _ => None,
    });
    valid.collect()
}

fn key(name: &str) -> Key {
    Key { kind: Kind::WorkloadEntry, namespace: "default".to_owned(), name: name.to_owned() }
}

/// Names and addresses, sorted.
fn said(look: &Look) -> Vec<String> {
    let objects = look.objects.as_ref().expect("something changed");
    let mut said: Vec<_> = objects
        .iter()
        .map(|one| format!("{}={}", one.key.name, one.content["spec"]["address"].as_str().expect("an address")))
        .collect();
    said.sort();
    said
}

fn files_of(folder: &Path) -> Files {
    Files::new(vec![folder.to_owned()], folder.join("state"))
}

/// Looks until a change has stood long enough to be read.
fn settled(files: &mut Files) -> Look {
    let look = files.look(false);
    assert!(look.objects.is_none() && look.again.is_some(), "somebody may be in the middle of writing");
    sleep(Duration::from_millis(270));
    files.look(false)
}

fn look_twice(files: &mut Files) -> Look {
    let look = files.look(false);
    assert!(look.objects.is_none() && look.again.is_some(), "a change that takes objects away has to stand");
    sleep(Duration::from_millis(420));
    files.look(false)
}

#[test]
fn the_unit_of_a_file_is_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let write = |text: &str| fs::write(&path, text).unwrap();
    write(&[entry("one", "10.0.0.1"), entry("bad", "'not an address'")].join("---\n"));
    let mut files = files_of(folder.path());
    let look = files.look(true);
    assert_eq!(said(&look), ["one=10.0.0.1"], "an invalid object is left out at the start");
    assert_eq!(look.problems.len(), 1);
    assert!(files.look(false).objects.is_none(), "nothing changed");

    write(&[entry("one", "'not an address'"), entry("bad", "10.0.0.2")].join("---\n"));
    let look = settled(&mut files);
    assert_eq!(said(&look), ["bad=10.0.0.2", "one=10.0.0.1"], "one keeps its last valid version, the other advances");

    write("a: [broken");
    let look = settled(&mut files);
    assert!(look.objects.is_none() && look.problems.is_empty(), "it may be half written");
    sleep(Duration::from_millis(200));
    let look = files.look(false);
    assert!(look.objects.is_none() && look.problems[0].to_string().contains("is not closed"), "{look:?}");
    assert_eq!(files.errors().count(), 1);

    write(&entry("bad", "10.0.0.3"));
    assert_eq!(said(&look_twice(&mut files)), ["bad=10.0.0.3"]);
    fs::remove_file(&path).unwrap();
    assert!(said(&look_twice(&mut files)).is_empty());
}

#[test]
fn an_object_that_stands_twice_is_said_with_both_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), entry("one", "10.0.0.1")).unwrap();
    let mut files = files_of(folder.path());
    assert_eq!(said(&files.look(true)), ["one=10.0.0.1"]);
    fs::write(path("b.yaml"), ["# more\n".to_owned(), entry("one", "10.0.0.2")].concat()).unwrap();
    let look = files.look(true);
    assert_eq!(said(&look), ["one=10.0.0.1"], "the last valid version is kept");
    let problem = look.problems[0].to_string();
    assert!(problem.contains("b.yaml:2: error:") && problem.contains("a.yaml:1"), "{problem}");
    fs::remove_file(path("a.yaml")).unwrap();
    assert_eq!(said(&files.look(true)), ["one=10.0.0.2"]);
    assert_eq!(files.errors().count(), 0);
}

#[test]
fn hidden_files_and_other_endings_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, entry("x", "10.0.0.1")).unwrap();
    };
    [".a.yaml", ".git/a.yaml", "a.yaml~", "a.txt"].into_iter().for_each(write);
    assert_eq!(files_of(folder.path()).look(true).objects.map(|all| all.len()), None);
    write("deep/er/a.yml");
    assert_eq!(files_of(folder.path()).look(true).objects.map(|all| all.len()), Some(1));
}

#[test]
fn an_object_that_cannot_be_named_any_more_keeps_its_last_valid_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let good = [entry("one", "10.0.0.1"), entry("two", "10.0.0.2")].join("---\n");
    for (right, wrong) in
        [("kind: WorkloadEntry", "kind: WorkloadEntri"), ("name: one", "name: One"), ("io/v1", "io/v11")]
    {
        fs::write(&path, &good).unwrap();
        let mut files = files_of(folder.path());
        files.look(true);
        fs::write(&path, good.replacen(right, wrong, 1)).unwrap();
        let look = files.look(true);
        assert_eq!(said(&look), ["one=10.0.0.1", "two=10.0.0.2"], "{wrong}");
        assert_eq!(look.problems.len(), 1);
        fs::write(&path, entry("two", "10.0.0.2")).unwrap();
        assert_eq!(said(&files.look(true)), ["two=10.0.0.2"], "once the file is clean, what is not there is gone");
    }
}

#[test]
fn links_renames_and_the_state_directory_do_not_double_objects() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("v1")).unwrap();
    fs::create_dir_all(path("state/objects")).unwrap();
    fs::write(path("v1/a.yaml"), entry("one", "10.0.0.1")).unwrap();
    fs::write(path("state/objects/one.yaml"), entry("one", "10.0.0.9")).unwrap();
    std::os::unix::fs::symlink("v1", path("current")).unwrap();
    std::os::unix::fs::symlink(".", path("self")).unwrap();
    let mut files = Files::new(vec![folder.path().to_owned(), path("v1/a.yaml")], path("state"));
    let look = files.look(true);
    assert_eq!(said(&look), ["one=10.0.0.1"]);
    assert!(look.problems.is_empty(), "{look:?}");
    fs::rename(path("v1/a.yaml"), path("v1/b.yaml")).unwrap();
    let look = settled(&mut files);
    assert_eq!(said(&look), ["one=10.0.0.1"]);
    assert!(look.problems.is_empty(), "{look:?}");
}

#[test]
fn a_file_that_could_not_be_read_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let mut files = Files::new(vec![path.clone()], folder.path().join("state"));
    fs::write(&path, entry("one", "10.0.0.1")).unwrap();
    files.look(true);
    fs::write(&path, entry("one", "10.0.0.2")).unwrap();
    let permissions = fs::metadata(&path).unwrap().permissions();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let look = files.look(true);
    fs::set_permissions(&path, permissions).unwrap();
    // Root reads it all the same; anybody else at the next look.
    let look = if look.objects.is_some() { look } else { files.look(true) };
    assert_eq!(said(&look), ["one=10.0.0.2"]);
}

#[test]
fn a_file_beats_what_was_applied_and_refuses_changes() {
    let mut store = Store::default();
    let done = store.apply(objects(&entry("one", "10.0.0.1")), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(done[0].1, Outcome::Created);
    store.replace_files(objects(&entry("one", "10.0.0.9")));
    assert_eq!(store.get(&key("one")).unwrap().content["spec"]["address"], "10.0.0.9");
    assert_eq!((store.len(), store.hidden().count()), (1, 1));
    let refused = store.clone().apply(objects(&entry("one", "10.0.0.2")), Timestamp::UNIX_EPOCH).unwrap_err();
    let [Refused { refusal: Refusal::BelongsToFile(..), problem }] = &refused[..] else { panic!("{refused:#?}") };
    assert!(problem.message.contains("test.yaml:1"), "{problem}");
    let same = store.clone().apply(objects(&entry("one", "10.0.0.9")), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(same[0].1, Outcome::Unchanged, "what a file says already is no change");
    assert!(matches!(store.clone().delete(&[(key("one"), None)], true), Err(Refusal::BelongsToFile(..))));
    store.replace_files(Vec::new());
    assert_eq!(store.get(&key("one")).unwrap().content["spec"]["address"], "10.0.0.1");
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
        let places: Vec<_> = refused.iter().map(|one| (one.problem.file.as_str(), one.problem.line)).collect();
        assert_eq!(places, [("test.yaml", 5), ("test.yaml", 13)], "the line of the version");
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
    assert_eq!(kept[0].content["metadata"]["annotations"], serde_json::json!({"note": "mine"}));
}

/// Stores objects as the agent does.
fn put(state: &mut StateFolder, store: &mut Store, text: &str) {
    let done = store.apply(objects(text), Timestamp::UNIX_EPOCH).expect("no refusal");
    let stored: Vec<_> = done.into_iter().map(|(object, _)| object).collect();
    state.write(&stored, &[], store.version()).expect("written");
}

fn load(folder: &Path) -> Store {
    let (objects, version, problems) = StateFolder::open(folder).and_then(|state| state.load()).expect("loaded");
    assert!(problems.is_empty(), "{problems:#?}");
    Store::new(objects, version)
}

#[test]
fn the_state_directory_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let long = "x".repeat(60) + ".";
    let long = long.repeat(4) + "end";
    let mut store = Store::default();
    let mut state = StateFolder::open(&path).unwrap();
    put(
        &mut state,
        &mut store,
        &[entry("one", "10.0.0.1"), entry(&long, "10.0.0.2"), entry("three", "10.0.0.3")].join("---\n"),
    );
    state.write(&[], &[key("three")], 7).unwrap();
    assert!(StateFolder::open(&path).unwrap_err().to_string().contains("another agent"));
    drop(state);
    let back = load(&path);
    assert_eq!(back.len(), 2);
    assert_eq!(back.version(), 7, "a version is never given twice");
    for name in ["one", &long] {
        assert_eq!(back.get(&key(name)).unwrap().document(), store.get(&key(name)).unwrap().document());
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_journal_that_a_crash_left_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::default();
    let mut state = StateFolder::open(folder.path()).unwrap();
    put(&mut state, &mut store, &[entry("one", "10.0.0.1"), entry("two", "10.0.0.2")].join("---\n"));
    drop(state);
    let journal = serde_json::json!({
        "write": {"workloadentries.networking.istio.io/default/one.yaml": entry("one", "10.0.0.9")},
        "remove": ["workloadentries.networking.istio.io/default/two.yaml"],
    });
    fs::write(folder.path().join("journal.json"), journal.to_string()).unwrap();
    let back = load(folder.path());
    assert_eq!(back.get(&key("one")).unwrap().content["spec"]["address"], "10.0.0.9");
    assert!(back.get(&key("two")).is_none() && !folder.path().join("journal.json").exists());
    for bad in ["{", "{\"write\": {\"../x\": \"\"}, \"remove\": []}", "{\"write\": {}, \"remove\": [\"/etc/x\"]}"] {
        fs::write(folder.path().join("journal.json"), bad).unwrap();
        let error = format!("{:#}", StateFolder::open(folder.path()).unwrap_err());
        assert!(error.contains("journal.json") && error.contains("move it away"), "{error}");
    }
}

#[test]
fn who_takes_a_directory_over_reads_the_journal_and_writes_nothing_before_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::default();
    let mut old = StateFolder::open(folder.path()).unwrap();
    put(&mut old, &mut store, &[entry("one", "10.0.0.1"), entry("two", "10.0.0.2")].join("---\n"));
    let journal = serde_json::json!({
        "write": {}, "remove": ["workloadentries.networking.istio.io/default/two.yaml"],
    });
    let path = folder.path().join("journal.json");
    fs::write(&path, journal.to_string()).unwrap();
    let two = folder.path().join("objects/workloadentries.networking.istio.io/default/two.yaml");
    let mut new = StateFolder::open_as(folder.path(), Some(old.lend().unwrap())).unwrap();
    assert_eq!(new.load().unwrap().0.len(), 1, "it knows what is to come");
    assert!(two.exists() && path.exists(), "and leaves it to whoever has the directory");
    old.let_go();
    new.catch_up();
    assert!(!two.exists() && !path.exists());
    assert_eq!(new.load().unwrap().0.len(), 1);
}

#[test]
fn a_change_that_the_disk_refuses_halfway_is_kept_by_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::default();
    let mut state = StateFolder::open(folder.path()).unwrap();
    // A folder where a file has to be: the second file of the change cannot be written.
    let wall = folder.path().join("objects/workloadentries.networking.istio.io/default/two.yaml");
    fs::create_dir_all(wall.join("x")).unwrap();
    put(&mut state, &mut store, &[entry("one", "10.0.0.1"), entry("two", "10.0.0.2")].join("---\n"));
    let three = store.apply(objects(&entry("three", "10.0.0.3")), Timestamp::UNIX_EPOCH).unwrap();
    // Later changes join the one that waits, and a start finds them all.
    state.write(&[three[0].0.clone()], &[], 2).unwrap();
    drop(state);
    fs::rename(&wall, folder.path().join("wall")).unwrap();
    fs::create_dir(&wall).unwrap();
    let mut state = StateFolder::open(folder.path()).unwrap();
    assert_eq!(state.load().unwrap().0.len(), 3);
    state.write(&[], &[key("one")], 3).unwrap();
    fs::remove_dir_all(&wall).unwrap();
    drop(state);
    assert_eq!(load(folder.path()).len(), 2);
    assert!(!folder.path().join("journal.json").exists());
}

#[test]
fn a_damaged_file_of_the_state_is_said_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::default();
    put(&mut StateFolder::open(folder.path()).unwrap(), &mut store, &entry("one", "10.0.0.1"));
    let damaged = folder.path().join("objects/damaged.yaml");
    fs::write(&damaged, "a: [").unwrap();
    let (objects, _, problems) = StateFolder::open(folder.path()).unwrap().load().unwrap();
    assert_eq!((objects.len(), problems.len()), (1, 1));
    assert!(problems[0].to_string().contains("damaged.yaml") && damaged.exists());
}
