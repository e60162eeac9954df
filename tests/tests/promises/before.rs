//! What the release before says and stores, from recorded data: today's agent reads all of it. `cargo xtask upgrade --record`
//! records it anew in `tests/data/release-before`, and `cargo xtask upgrade` has the agents of both releases follow each other.

mod reads;
mod record;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::maps::{form, links};
use tcpshift_tests::objects::Objects;
use tcpshift_tests::steer::{GATEWAY_ROUTE, MESH_ROUTE, TWO, base, options, route};
use tcpshift_tests::world::World;

/// The name that DNS has an address for, of the endpoint of the first version.
const NAME: &str = "one.example.com";

/// Maps that outlive agents.
const LASTING: [&str; 2] = ["cookies", "connections"];

/// What one agent says to the other, in the order in which it is said.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Said {
    /// `before` if the release before says it, else `other`.
    by: String,
    /// A head of HTTP, or a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Value>,
    /// How many come with the message.
    descriptors: usize,
}

/// Where recorded data are.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/release-before").join(name)
}

fn read(name: &str) -> String {
    let path = data(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a recorded dialogue says.
fn dialogue(name: &str) -> Vec<Said> {
    read(name).lines().map(|line| serde_json::from_str(line).expect("each line is something said")).collect()
}

/// A route for each datapath that steers, to a version with a name and one with an address.
fn objects() -> Objects {
    let base = base(&[("v1", NAME, 9001), TWO]).set("ServiceEntry/echo", "spec.resolution", "DNS");
    base + route(MESH_ROUTE, [70, 30]) + route(GATEWAY_ROUTE, [70, 30])
}

/// What both releases say of what is in force: listeners, destinations, weights and slots.
fn in_force(agent: &Agent<'_>) -> Value {
    let status = agent.status();
    let listeners = status.listeners.iter().map(|listener| {
        let routes = listener.routes.iter().map(|route| {
            let destinations = route.destinations.iter();
            let destinations = destinations.map(|to| json!({"name": to.name, "weight": to.weight, "slots": to.slots}));
            json!({"name": route.name, "destinations": destinations.collect::<Vec<_>>()})
        });
        json!({"address": listener.address, "routes": routes.collect::<Vec<_>>()})
    });
    json!({"objects": status.objects, "listeners": listeners.collect::<Vec<_>>()})
}

/// What another agent goes on with in the kernel: the forms of maps that last, and the names of links.
fn kernel_forms(world: &World) -> Value {
    let maps: serde_json::Map<String, Value> =
        LASTING.into_iter().map(|name| (name.to_owned(), form(world, name))).collect();
    // Each is named after its program, and the control group or network namespace where it is.
    let programs = links(world).into_keys().map(|name| name.rsplit('-').next_back().unwrap_or_default().to_owned());
    let links: BTreeSet<String> = programs.filter(|program| program != "assign").collect();
    json!({"maps": maps, "links": links, "layout": tcpshift_common::layout::PIN_LAYOUT})
}

/// Copies a folder as an agent makes it: for its own user alone.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// How agents are started here.
fn steering(world: &World) -> Vec<String> {
    options(world, &[])
}
