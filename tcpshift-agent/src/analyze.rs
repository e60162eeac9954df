//! Checks all objects together, and reports those that cannot work, or work in another way than it seems.
//!
//! Objects in, findings out.

mod admission;
mod beside;
pub mod code;
mod dialled;
pub mod finding;
mod gateway_api;
mod gateways;
mod ground;
mod lines;
mod mesh;
mod openings;
mod original;
mod provider;
mod reach;
mod references;
mod rules;
mod schema;
mod services;
mod texts;
mod weights;
mod words;
mod world;

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

pub use code::{Code, Level};
pub use finding::Finding;

use crate::route::model::{Labels, Spec};
use crate::route::names;
use crate::route::object::{Key, Object, Origin};
use crate::route::problem::{Problem, Severity};
use crate::route::read::{self, DEFAULT_NAMESPACE, Document, NO_OBJECT, ReadDocument};
use crate::route::store::Store;
use beside::Beside;
pub use ground::Ground;
use openings::Openings;
use texts::Texts;
use world::World;

/// The objects of an analysis.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Files, whose objects replace those of the same name that exist.
    pub documents: Vec<Document>,
    /// The namespace of objects of files that name none.
    pub namespace: Option<String>,
    /// Objects that exist already.
    pub present: Vec<Object>,
    /// Labels of the agent that is to serve them, if it is known.
    pub agent: Option<Labels>,
    /// The moment at which new objects of files would be applied; as old as can be if none.
    pub now: Option<jiff::Timestamp>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// The worst first, then in the order of files.
    pub findings: Vec<Finding>,
    /// Why some files are no YAML.
    pub unreadable: Vec<Problem>,
    /// How many documents, and files that are no YAML, could not be read: what they hold counts as missing.
    pub unread: usize,
    /// How many objects were looked at.
    pub objects: usize,
}

/// Analyzes all objects together.
pub fn analyze(input: Input) -> Analysis {
    let Input { documents, namespace, present, agent, now } = input;
    let namespace = namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let mut out = finding::Findings::default();
    let mut objects: HashMap<Key, Object> = HashMap::new();
    let mut named: HashMap<Key, (String, usize)> = HashMap::new();
    let (mut problems, mut unreadable) = (Vec::new(), Vec::new());
    let mut ages = HashMap::new();
    for object in present {
        ages.insert(object.key.clone(), object.created);
        objects.insert(object.key.clone(), object);
    }
    let mut texts = Texts::new(&documents, namespace);
    let mut beside = Beside::default();
    let (mut invalid, mut unread) = (Vec::new(), 0);
    for Document { name, text } in &documents {
        let contents = read::read_beside(name, text, namespace);
        if !contents.is_yaml {
            unread += 1;
            unreadable.extend(contents.problems);
            continue;
        }
        unread += contents.problems.iter().filter(|problem| is_unread(problem)).count();
        problems.extend(contents.problems);
        if contents.entries.iter().any(|entry| matches!(entry, ReadDocument::PassedOver { .. })) {
            beside.add_pods(&mut texts, name);
        }
        for entry in contents.entries {
            let Some(key) = entry.key().cloned() else { continue };
            let line = entry.line();
            if let Some((file, first)) = named.get(&key) {
                out.add(Finding {
                    code: code::TWICE,
                    level: Level::Error,
                    key: Some(key),
                    file: name.clone(),
                    line,
                    field: String::new(),
                    message: format!("the same object stands at {file}:{first} too"),
                    cure: "remove one of them".to_owned(),
                });
                continue;
            }
            named.insert(key.clone(), (name.clone(), line));
            match entry {
                ReadDocument::Valid(mut object) => {
                    object.created = object.created.or_else(|| ages.get(&key).copied().unwrap_or(now));
                    objects.insert(key, *object);
                }
                // What is there stays.
                ReadDocument::Invalid { .. } if objects.contains_key(&key) => {}
                ReadDocument::Invalid { line, .. } => invalid.push((key, name, line)),
                ReadDocument::PassedOver { .. } => {}
            }
        }
    }
    for (key, file, line) in invalid {
        let node = texts.find(file, line, &key).cloned();
        beside.leave_out(key, node.as_ref());
    }
    let mut sorted: Vec<&Object> = objects.values().collect();
    sorted.sort_by(|a, b| a.age().cmp(&b.age()).then_with(|| a.key.cmp(&b.key)));
    let world = World::new(&sorted, beside);
    references::check(&world, &mut out);
    weights::check(&world, &mut out);
    rules::check(&world, &mut out);
    dialled::check(&world, &mut out);
    services::check(&world, &mut out);
    let mut openings = Openings::new(&world);
    let alive = reach::check(&world, &mut openings, &mut out);
    mesh::check(&world, &mut out);
    original::check(&world, &mut out);
    gateway_api::check(&world, &mut openings, &mut out);
    gateways::check(&world, agent.as_ref(), &openings, &mut out);
    let keys: Vec<Key> = named.into_keys().collect();
    schema::add(&problems, &keys, &alive, &mut out);
    let mut findings = out.finish();
    lines::refine(&mut findings, &mut texts);
    findings.sort_by(order);
    findings.dedup();
    Analysis { findings, unreadable, unread, objects: sorted.len() }
}

/// Whether a problem is that of a document that is no object that could be named.
fn is_unread(problem: &Problem) -> bool {
    problem.severity == Severity::Error
        && problem.object.is_empty()
        && problem.field.is_empty()
        && !problem.message.contains(NO_OBJECT)
}

/// What is told everywhere (see [`Code::is_told_everywhere`]) of the objects of a store, as `apply` says it when some of them
/// have changed. Where only routes have, nothing is looked at but these and what they refer to.
pub fn told_everywhere(store: &Store, changed: &HashSet<Key, impl BuildHasher>, ground: &mut Ground) -> Vec<Finding> {
    let objects: Vec<Arc<Object>> = if changed.iter().all(|key| key.kind.is_route()) {
        let routes: Vec<_> = changed.iter().filter_map(|key| store.get(key)).cloned().collect();
        let hosts: HashSet<String> = routes.iter().flat_map(|route| destinations(route)).collect();
        [routes, ground.of_hosts(store, &hosts)].concat()
    } else {
        store.iter().cloned().collect()
    };
    let mut sorted: Vec<&Object> = objects.iter().map(|object| &**object).collect();
    sorted.sort_by(|a, b| a.age().cmp(&b.age()).then_with(|| a.key.cmp(&b.key)));
    let world = World::new(&sorted, Beside::default());
    let mut out = finding::Findings::default();
    rules::check(&world, &mut out);
    dialled::check(&world, &mut out);
    original::check(&world, &mut out);
    let mut findings = out.finish();
    findings.retain(|finding| finding.code.is_told_everywhere());
    findings
}

/// Hosts that a route leads to, in full.
fn destinations(route: &Object) -> Vec<String> {
    match &route.spec {
        Spec::VirtualService(service) => {
            let destinations = service.tcp.iter().flat_map(|rule| &rule.route);
            destinations.map(|one| names::full_host(&one.host, &route.key.namespace)).collect()
        }
        Spec::TcpRoute(spec) => {
            let backends = spec.rules.iter().flat_map(|rule| &rule.backends);
            backends.map(|backend| names::service_host(&backend.name, &backend.namespace)).collect()
        }
        _ => Vec::new(),
    }
}

/// The worst first, then in the order of files.
fn order(a: &Finding, b: &Finding) -> std::cmp::Ordering {
    let order = b.level.cmp(&a.level).then_with(|| a.file.cmp(&b.file)).then_with(|| a.line.cmp(&b.line));
    order.then_with(|| a.code.id.cmp(b.code.id)).then_with(|| a.field.cmp(&b.field)).then_with(|| a.key.cmp(&b.key))
}

/// Reads an object that is there already, as an agent gives it: its document as JSON, and where it comes from.
pub fn present(document: &serde_json::Value, origin: &str) -> Option<Object> {
    let contents = read::read_beside(origin, &document.to_string(), DEFAULT_NAMESPACE);
    let Some(ReadDocument::Valid(mut object)) = contents.entries.into_iter().next() else { return None };
    object.origin = match origin.rsplit_once(':').map(|(path, line)| (path, line.parse())) {
        Some((path, Ok(line))) => Origin::File { path: path.into(), line },
        _ => Origin::Applied,
    };
    Some(*object)
}
