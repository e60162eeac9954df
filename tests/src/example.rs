//! The project's example: its files as they are, and its objects for tests that change them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::objects::{
    Object, Objects, Rule, VirtualService, WorkloadEntry, destination_rule, endpoint, rule as empty_rule,
    service_entry, virtual_service, workload_entry,
};

/// One of the project's example files, as `all-v1.yaml`.
pub fn example_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/tcp-echo").join(name)
}

/// The text of one of the project's example files.
pub fn example_text(name: &str) -> String {
    let path = example_file(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of one of the project's example files.
pub fn example_objects(name: &str) -> Objects {
    Objects::read(&example_text(name))
}

/// Everything of the example but the route: Service, Deployments, `WorkloadEntries`, Gateway, `DestinationRule`.
pub fn base() -> Objects {
    let files = ["services.yaml", "workload-entries.yaml", "all-v1.yaml"].map(example_objects);
    files.into_iter().collect::<Objects>().without("VirtualService")
}

/// The example's route with other weights, in the order given: `route(&[("v1", 80), ("v2", 20)])`.
pub fn route(weights: &[(&str, u32)]) -> Object<VirtualService> {
    route_of([rule(weights).when("port", 31_400)])
}

/// The example's route with rules made by [`rule`].
pub fn route_of(rules: impl IntoIterator<Item = Rule>) -> Object<VirtualService> {
    rules.into_iter().fold(virtual_service("tcp-echo").at("tcp-echo-gateway"), Object::rule)
}

/// A rule that leads to versions of the example's service, for every connection until [`Rule::when`] adds a condition.
pub fn rule(weights: &[(&str, u32)]) -> Rule {
    weights.iter().fold(empty_rule(), |rule, (subset, weight)| rule.to(&format!("tcp-echo:9000/{subset}"), *weight))
}

/// A `WorkloadEntry` of the example's service. A unix socket has no port: use [`Object::without`].
pub fn entry(name: &str, version: &str, address: &str, port: u16) -> Object<WorkloadEntry> {
    let endpoint = endpoint(address).label("app", "tcp-echo").label("version", version);
    workload_entry(name, endpoint.port("tcp", port))
}

/// A host whose endpoints are unix sockets, with a `trafficPolicy`, and the example's route to it.
pub fn to_unix_sockets(paths: &[&Path], policy: &Value) -> Objects {
    let sockets = paths.iter().map(|path| endpoint(&format!("unix://{}", path.display())).label("version", "v1"));
    sockets.fold(service_entry("local").port("tcp", 9000), Object::endpoint)
        + destination_rule("local", "local.example.com").set("spec.trafficPolicy", policy).subset("v1")
        + route_of([empty_rule().when("port", 31_400).to("local.example.com:9000/v1", 1)])
}

/// Several texts as one file of several documents.
pub fn together(documents: &[&str]) -> String {
    documents.join("\n---\n")
}
