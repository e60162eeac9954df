//! What must hold for any text: the bodies of the fuzz targets in `fuzz/`, and of the slice that each test run
//! does. They panic where it does not.

use std::collections::BTreeMap;

use tcpshift_agent::analyze::{Input, analyze};
use tcpshift_agent::plan::diff::diff;
use tcpshift_agent::plan::{Abilities, Host, Plan, Planner, Scope, Sets};
use tcpshift_agent::route::read::{Document, ReadDocument, read, read_all};
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::Store;
use tcpshift_agent::route::write;
use tcpshift_agent::route::yaml::{self, Documents};
use tcpshift_common::SLOTS;

/// Any text is read without a panic, what is wrong has a line of it, and what is accepted is the same once it is written and
/// read again. Returns how many objects were accepted.
pub(crate) fn reader(text: &str) -> usize {
    let mut accepted = 0;
    let lines = text.split('\n').count();
    let Documents { nodes, malformed, .. } = yaml::read(text);
    for wrong in &malformed {
        assert!((1..=lines).contains(&wrong.line) && !wrong.message.is_empty(), "{wrong:?}");
    }
    for node in &nodes {
        assert!((1..=lines).contains(&node.line), "{node:?}");
        let written = write::yaml(&node.to_json());
        let again = yaml::read(&written);
        assert!(again.malformed.is_empty() && again.nodes.len() == 1, "{:?}\n{written}", again.malformed);
        assert_eq!(again.nodes[0].to_json(), node.to_json(), "{written}");
    }
    for entry in read("fuzz.yaml", text, None).entries {
        let ReadDocument::Valid(object) = entry else { continue };
        accepted += 1;
        let written = write::yaml(&object.document());
        let again = read("again.yaml", &written, None);
        let [ReadDocument::Valid(other)] = &again.entries[..] else {
            panic!("what was accepted is not accepted again: {:#?}\n{written}", again.problems)
        };
        assert_eq!((&object.key, &object.content), (&other.key, &other.content), "{written}");
        assert_eq!(object.created, other.created, "{written}");
    }
    accepted
}

/// What `validate` does with any text, and with two files of it. Returns how many problems and findings there are.
pub(crate) fn validates(text: &str) -> usize {
    let document = |name: &str| Document { name: name.to_owned(), text: text.to_owned() };
    let documents = vec![document("one.yaml"), document("two.yaml")];
    let (_, problems) = read_all(&documents, Some("default"));
    let findings = analyze(Input { documents, ..Input::default() }).findings;
    for problem in &problems {
        assert!(!problem.to_string().contains('\n'), "{problem:?}");
    }
    problems.len() + findings.len()
}

/// Whatever is accepted compiles without a panic, into slots that add up; compiled again it is the same plan.
/// Returns how many routes there are.
pub(crate) fn compiles(text: &str) -> usize {
    let document = Document { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let (entries, _) = read_all(&[document], None);
    let mut objects = BTreeMap::new();
    for entry in entries {
        if let ReadDocument::Valid(object) = entry {
            objects.entry(object.key.clone()).or_insert(*object);
        }
    }
    let mut store = Store::default();
    store.update(Update::first(Source::Files, objects.into_values().collect()));
    let labels = BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
    let scope = Scope { namespace: "default".to_owned(), labels };
    let abilities = Abilities { connect: Ok(()), room: 10_000, ..Abilities::default() };
    let mut planner = Planner::new(scope, Host { abilities, ..Host::new(1) });
    let empty = Plan::empty(1);
    let plan = planner.plan(store.iter(), &empty);
    let sets = planner.sets().clone();
    for route in plan.routes() {
        let slots: Vec<u32> = route.destinations.iter().map(|destination| destination.slots).collect();
        let sum: u32 = slots.iter().sum();
        assert!(sum == SLOTS || sum == 0, "{route:#?}");
        let mut counted = vec![0; slots.len()];
        for slot in 0..SLOTS {
            match route.table.place(slot) {
                Some(place) => counted[place as usize] += 1,
                None => assert_eq!(sum, 0, "{route:#?}"),
            }
        }
        assert_eq!(counted, slots, "{route:#?}");
        for destination in &route.destinations {
            let set = sets.of(destination);
            let weights: u32 = set.endpoints.iter().map(|endpoint| endpoint.decides.weight).sum();
            assert_eq!(weights, set.decides.weight, "{destination:#?} {set:#?}");
            assert_eq!(set.endpoints.is_empty(), set.unusable.is_some(), "{destination:#?} {set:#?}");
        }
    }
    let again = planner.plan(store.iter(), &plan);
    assert_eq!(again, plan);
    assert!(diff((&plan, &sets), (&again, planner.sets())).is_empty());
    assert_eq!(diff((&empty, &Sets::default()), (&plan, &sets)).routes.len(), plan.routes().count());
    plan.routes().count()
}
