//! The state directory: what it gives back after a restart or a crash.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;
use tcpshift_agent::route::source::state::StateFolder;
use tcpshift_agent::route::store::Store;

use super::{entry, key, objects};

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
    assert_eq!(back.get(&key("one")).unwrap().content.tree()["spec"]["address"], "10.0.0.9");
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
