//! The user's files: which are read, and which versions of their objects count.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use tcpshift_agent::route::object::Object;
use tcpshift_agent::route::source::files::{Files, Look};
use tcpshift_agent::route::store::Store;

use super::entry;

/// Files, and a store that they tell.
struct Told {
    files: Files,
    store: Store,
}

impl Told {
    fn new(paths: Vec<PathBuf>, excluded: PathBuf) -> Self {
        Self { files: Files::new(paths, excluded), store: Store::default() }
    }

    fn look(&mut self, sure: bool) -> Look {
        let look = self.files.look(sure);
        self.store.update(look.update.clone());
        look
    }

    /// Names and addresses of all objects.
    fn said(&self) -> Vec<String> {
        let address = |one: &Object| one.content.tree()["spec"]["address"].as_str().expect("an address").to_owned();
        self.store.iter().map(|one| format!("{}={}", one.key.name, address(one))).collect()
    }
}

fn files_of(folder: &Path) -> Told {
    Told::new(vec![folder.to_owned()], folder.join("state"))
}

/// Looks until a change has stood long enough to be read.
fn settled(files: &mut Told) -> Look {
    let look = files.look(false);
    assert!(look.update.is_empty() && look.again.is_some(), "somebody may be in the middle of writing");
    sleep(Duration::from_millis(270));
    files.look(false)
}

fn look_twice(files: &mut Told) -> Look {
    let look = files.look(false);
    assert!(look.update.is_empty() && look.again.is_some(), "a change that takes objects away has to stand");
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
    assert_eq!(files.said(), ["one=10.0.0.1"], "an invalid object is left out at the start");
    assert_eq!(look.update.problems.len(), 1);
    assert!(files.look(false).update.is_empty(), "nothing changed");

    write(&[entry("one", "'not an address'"), entry("bad", "10.0.0.2")].join("---\n"));
    settled(&mut files);
    assert_eq!(files.said(), ["bad=10.0.0.2", "one=10.0.0.1"], "one keeps its last valid version, the other advances");

    write("a: [broken");
    let look = settled(&mut files);
    assert!(look.update.is_empty() && look.update.problems.is_empty(), "it may be half written");
    sleep(Duration::from_millis(200));
    let look = files.look(false);
    assert!(look.update.is_empty() && look.update.problems[0].to_string().contains("is not closed"), "{look:?}");
    assert_eq!(files.files.errors().count(), 1);

    write(&entry("bad", "10.0.0.3"));
    look_twice(&mut files);
    assert_eq!(files.said(), ["bad=10.0.0.3"]);
    fs::remove_file(&path).unwrap();
    look_twice(&mut files);
    assert!(files.said().is_empty());
}

#[test]
fn an_object_that_stands_twice_is_said_with_both_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), entry("one", "10.0.0.1")).unwrap();
    let mut files = files_of(folder.path());
    files.look(true);
    assert_eq!(files.said(), ["one=10.0.0.1"]);
    fs::write(path("b.yaml"), ["# more\n".to_owned(), entry("one", "10.0.0.2")].concat()).unwrap();
    let look = files.look(true);
    assert_eq!(files.said(), ["one=10.0.0.1"], "the last valid version is kept");
    let problem = look.update.problems[0].to_string();
    assert!(problem.contains("b.yaml:2: error:") && problem.contains("a.yaml:1"), "{problem}");
    fs::remove_file(path("a.yaml")).unwrap();
    files.look(true);
    assert_eq!(files.said(), ["one=10.0.0.2"]);
    assert_eq!(files.files.errors().count(), 0);
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
    assert_eq!(files_of(folder.path()).look(true).update.put.len(), 0);
    write("deep/er/a.yml");
    assert_eq!(files_of(folder.path()).look(true).update.put.len(), 1);
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
        assert_eq!(files.said(), ["one=10.0.0.1", "two=10.0.0.2"], "{wrong}");
        assert_eq!(look.update.problems.len(), 1);
        fs::write(&path, entry("two", "10.0.0.2")).unwrap();
        files.look(true);
        assert_eq!(files.said(), ["two=10.0.0.2"], "once the file is clean, what is not there is gone");
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
    let mut files = Told::new(vec![folder.path().to_owned(), path("v1/a.yaml")], path("state"));
    let look = files.look(true);
    assert_eq!(files.said(), ["one=10.0.0.1"]);
    assert!(look.update.problems.is_empty(), "{look:?}");
    fs::rename(path("v1/a.yaml"), path("v1/b.yaml")).unwrap();
    let look = settled(&mut files);
    assert_eq!(files.said(), ["one=10.0.0.1"]);
    assert!(look.update.problems.is_empty(), "{look:?}");
}

#[test]
fn a_file_that_could_not_be_read_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let mut files = Told::new(vec![path.clone()], folder.path().join("state"));
    fs::write(&path, entry("one", "10.0.0.1")).unwrap();
    files.look(true);
    fs::write(&path, entry("one", "10.0.0.2")).unwrap();
    let permissions = fs::metadata(&path).unwrap().permissions();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let look = files.look(true);
    fs::set_permissions(&path, permissions).unwrap();
    // Root reads it all the same; anybody else at the next look.
    if look.update.is_empty() {
        files.look(true);
    }
    assert_eq!(files.said(), ["one=10.0.0.2"]);
}
