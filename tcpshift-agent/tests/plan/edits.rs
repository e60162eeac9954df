//! What a second compilation leaves as it is.

use std::sync::Arc;

use tcpshift_agent::route::object::{Key, Origin};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::Store;

use super::world::{GATEWAY, SERVICE, World, only, route, to};

#[test]
fn numbers_and_unchanged_parts_survive_edits() {
    let mut world = World::new();
    let edit = |a, b| route("r", &format!("[{{route: [{}, {}]}}]", to("v1", a), to("v2", b)));
    let first = only(world.compile(&[SERVICE, GATEWAY, &edit(80, 20)])).clone();
    let endpoints = Arc::clone(&world.set(1).endpoints);
    let second = only(world.compile(&[SERVICE, GATEWAY, &edit(50, 50)])).clone();
    assert_eq!(first.number, second.number);
    assert_eq!(first.destinations[1].number, second.destinations[1].number);
    assert_eq!(endpoints, world.set(1).endpoints);
    let before = world.plan.listeners.clone();
    world.compile(&[SERVICE, GATEWAY, &edit(50, 50)]);
    assert!(Arc::ptr_eq(&before[0], &world.plan.listeners[0]), "an equal listener is the same one");
}

#[test]
fn a_listener_that_another_gateway_had_meanwhile_is_compiled_anew() {
    let mut world = World::new();
    let tcp = format!("[{{route: [{}]}}]", to("v1", 1));
    let route = route("r", &tcp);
    let entry = |address: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: one}}\n\
             spec: {{address: {address}, labels: {{app: echo, version: v1}}, ports: {{tcp: 7000}}}}"
        )
    };
    let service = SERVICE.split("---").next().unwrap();
    let rule = SERVICE.split("---").find(|text| text.contains("DestinationRule")).unwrap();
    let port = GATEWAY.split("number: ").nth(1).unwrap().split([',', '}']).next().unwrap();
    // Older, since its name is smaller.
    let other = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: a}}\n\
         spec: {{gatewayClassName: x, listeners: [{{name: tcp, port: {port}, protocol: TCP}}]}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {{name: t}}\n\
         spec: {{parentRefs: [{{name: a}}], rules: [{{backendRefs: [{{name: echo, port: 9001}}]}}]}}"
    );
    let mut store = Store::default();
    let mut compile = |texts: &[&str]| {
        let text = texts.join("\n---\n");
        let (entries, problems) = read_all(&[Document { name: "test.yaml".to_owned(), text }], None);
        assert!(problems.iter().all(|problem| problem.to_string().contains(": warning: ")), "{problems:#?}");
        // Objects that stay the same stay the same ones.
        let objects = entries.into_iter().filter_map(|entry| match entry {
            ReadDocument::Valid(mut object) => {
                object.origin = Origin::Applied;
                Some(*object)
            }
            _ => None,
        });
        let objects: Vec<_> = objects.collect();
        let is_there = |key: &Key| objects.iter().any(|object| object.key == *key);
        let gone = store.iter().map(|object| object.key.clone()).filter(|key| !is_there(key)).collect();
        store.update(Update { gone, ..Update::first(Source::Files, objects) });
        world.plan = world.planner.plan(store.iter(), &world.plan);
        let destination = &world.plan.routes().next().unwrap().destinations[0];
        world.sets().of(destination).endpoints[0].address.to_string()
    };
    assert_eq!(compile(&[service, rule, GATEWAY, &route, &entry("10.0.0.1")]), "10.0.0.1:7000");
    assert_eq!(compile(&[service, rule, GATEWAY, &route, &entry("10.0.0.1"), &other]), "10.0.0.1:9901");
    assert_eq!(compile(&[service, rule, GATEWAY, &route, &entry("10.0.0.8"), &other]), "10.0.0.8:9901");
    assert_eq!(compile(&[service, rule, GATEWAY, &route, &entry("10.0.0.8")]), "10.0.0.8:7000");
}
