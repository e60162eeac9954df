//! Plans as data, and what holds for every plan: [`any`].
//!
//! Plans as data: each `plans/NAME.yaml` is a set of objects, and `plans/NAME.txt` what its plan is.
//!
//! A set may begin with lines `# with: BASE…`, which put `plans/base/BASE.yaml` in front of it,
//! `# namespace: NS`, the agent's namespace, `# label: K=V`, one more label of the agent, and `# room: N`, routes that
//! an agent has room for that steers its host's programs. With
//! `TCPSHIFT_WRITE_PLANS=1` the expected plans are written anew, to be read before they are committed.

mod any;
mod edits;
mod hosts;
mod numbers;
mod render;
mod sets;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tcpshift_agent::plan::{Abilities, Host, Plan, Planner, Scope};
use tcpshift_agent::route::object::{Key, Object};
use tcpshift_agent::route::problem::{Problem, Severity};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::Store;
use tcpshift_common::DEFAULT_SEED;

use crate::render::text;

#[test]
fn every_set_has_its_plan() {
    let write = std::env::var_os("TCPSHIFT_WRITE_PLANS").is_some();
    let mut wrong = Vec::new();
    let sets = sets();
    for path in &sets {
        let found = planned(&documents(path), path);
        let expected = path.with_extension("txt");
        if write {
            fs::write(&expected, &found).expect("the folder can be written to");
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{}\n{found}", path.display()));
        }
    }
    assert!(sets.len() >= 40, "only {} sets are left", sets.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), sets.len(), wrong.join("\n"));
}

#[test]
fn the_order_of_documents_does_not_matter() {
    for path in sets() {
        let mut documents = documents(&path);
        let expected = planned(&documents, &path);
        for turn in [1, 2, 3] {
            let turn = turn % documents.len();
            documents.reverse();
            documents.rotate_left(turn);
            assert_eq!(planned(&documents, &path), expected, "{}", path.display());
        }
    }
}

fn sets() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the sets are there").flatten().map(|entry| entry.path());
    let mut sets: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    sets.sort();
    sets
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a set says of itself in comments.
fn said<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(word)?.strip_prefix(": "));
    lines.flat_map(str::split_whitespace).collect()
}

/// Each document of a set.
fn documents(path: &Path) -> Vec<String> {
    let text = read(path);
    let mut texts: Vec<String> =
        said(&text, "with").iter().map(|base| read(&folder().join(format!("base/{base}.yaml")))).collect();
    texts.push(text);
    texts.iter().flat_map(|text| text.split("\n---\n").map(str::to_owned)).collect()
}

/// The plan of a set as text.
fn planned(documents: &[String], path: &Path) -> String {
    let own = read(path);
    let mut planner = planner();
    if let Some(namespace) = said(&own, "namespace").first() {
        (*namespace).clone_into(&mut planner.scope.namespace);
    }
    for (key, value) in said(&own, "label").iter().filter_map(|label| label.split_once('=')) {
        planner.scope.labels.insert(key.to_owned(), value.to_owned());
    }
    if let Some(room) = said(&own, "room").first() {
        let room = room.parse().expect("a number of routes");
        planner.host.abilities = Abilities { connect: Ok(()), room, ..Abilities::default() };
    }
    let (store, errors) = store(documents);
    assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    let plan = planner.plan(store.iter(), &Plan::empty(DEFAULT_SEED));
    text(&plan, planner.sets())
}

fn planner() -> Planner {
    let labels = BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
    Planner::new(Scope { namespace: "default".to_owned(), labels }, Host::new(DEFAULT_SEED))
}

/// The valid ones of some documents, each as a file of its own, and what is wrong with the others.
fn store(documents: &[String]) -> (Store, Vec<Problem>) {
    let (objects, errors) = objects(documents);
    let mut store = Store::default();
    store.update(Update::first(Source::Files, objects));
    (store, errors)
}

fn objects(documents: &[String]) -> (Vec<Object>, Vec<Problem>) {
    let files = documents.iter().enumerate();
    let files: Vec<_> = files.map(|(at, text)| Document { name: format!("{at}.yaml"), text: text.clone() }).collect();
    let (entries, problems) = read_all(&files, None);
    let objects = entries.into_iter().filter_map(|entry| match entry {
        ReadDocument::Valid(object) => Some(*object),
        _ => None,
    });
    (objects.collect(), problems.into_iter().filter(|problem| problem.severity == Severity::Error).collect())
}

/// What files tell that have these objects, to a store that has what they said before.
fn all_of_files(store: &Store, objects: Vec<Object>) -> Update {
    let is_there = |key: &Key| objects.iter().any(|object| object.key == *key);
    let gone = store.iter().map(|object| object.key.clone()).filter(|key| !is_there(key)).collect();
    Update { gone, ..Update::first(Source::Files, objects) }
}
