//! What the kernel has of the agent, as an administrator sees it: by `bpftool`, and by what is pinned.
//!
//! Pins and control group are those of the world that the thread is in.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;
use tcpshift_common::layout::PIN_LAYOUT;

use crate::process::{command, run};
use crate::until::seconds;
use crate::world::{PINS, World};

/// What the agent pins things in, below [`PINS`].
const OURS: &str = "tcpshift";

/// The elements of a map that is pinned under a name, each with `key` and `value` (in a map that has one for each
/// CPU, `values`): named fields where the map has types, and lists of bytes such as `"0x07"` where it has none.
#[track_caller]
pub fn dump(world: &World, name: &str) -> Vec<Value> {
    let mut elements = list(world, &["map", "dump", "pinned", &path(name)]);
    for element in &mut elements {
        if let Some(formatted) = element.get_mut("formatted") {
            *element = formatted.take();
        }
    }
    elements
}

/// The bytes of an element, as `bpftool map update` reads them.
#[track_caller]
pub fn bytes(world: &World, name: &str, key: &[u8]) -> Vec<String> {
    let key = key.iter().map(u8::to_string).collect::<Vec<_>>();
    let path = path(name);
    let words: Vec<&str> =
        ["map", "lookup", "pinned", &path, "key"].into_iter().chain(key.iter().map(String::as_str)).collect();
    let element = asked(world, &words);
    let value = element["value"].as_array().unwrap_or_else(|| panic!("no value in {element}"));
    value.iter().map(|byte| byte.as_str().expect("a byte is a text").to_owned()).collect()
}

/// Everything that the agent has pinned and every folder it has for that, below [`PINS`], in order. The kernel pins
/// things of its own beside it.
pub fn pinned(_: &World) -> Vec<String> {
    let mut found = Vec::new();
    let ours = Path::new(PINS).join(OURS);
    if ours.exists() {
        collect(&ours, &mut found);
    }
    found.sort();
    found
}

fn collect(path: &Path, found: &mut Vec<String>) {
    found.push(path.strip_prefix(PINS).unwrap_or(path).display().to_string());
    if path.is_dir() {
        let listed = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        for entry in listed.unwrap_or_else(|error| panic!("cannot list {}: {error}", path.display())) {
            collect(&entry.path(), found);
        }
    }
}

/// The programs that links attach to the world's control group. `bpftool cgroup show` asks for more than kernels before 6.0 know.
#[track_caller]
pub fn attached(world: &World) -> Vec<Value> {
    let group = std::fs::metadata(world.cgroup()).expect("the world has a control group").ino();
    let links = list(world, &["link", "show"]).into_iter().filter(|link| link["cgroup_id"] == group);
    links.map(|link| asked(world, &["prog", "show", "id", &link["prog_id"].to_string()])).collect()
}

/// The links that are pinned, by name, each with its `id` and `prog_id`.
#[track_caller]
pub fn links(world: &World) -> BTreeMap<String, Value> {
    let names = pinned(world).into_iter().filter_map(|path| Some(path.split_once("/links/")?.1.to_owned()));
    names
        .map(|name| {
            let path = path(&format!("links/{name}"));
            (name, asked(world, &["link", "show", "pinned", &path]))
        })
        .collect()
}

/// The form of a map that is pinned under a name: its kind, sizes and flags, and where its rows have what.
#[track_caller]
pub fn form(world: &World, name: &str) -> Value {
    let map = asked(world, &["map", "show", "pinned", &path(name)]);
    let mut form: serde_json::Map<String, Value> = ["type", "flags", "bytes_key", "bytes_value", "max_entries"]
        .into_iter()
        .map(|field| (field.to_owned(), map[field].clone()))
        .collect();
    let types = asked(world, &["btf", "dump", "map", "pinned", &path(name), "value"]);
    let members =
        types["types"].as_array().into_iter().flatten().filter_map(|found| found["members"].as_array()).flatten();
    let at =
        members.map(|member| (member["name"].as_str().unwrap_or_default().to_owned(), member["bits_offset"].clone()));
    form.insert("row".to_owned(), Value::Object(at.collect()));
    form.into()
}

/// Where something is pinned under a name.
pub fn path(name: &str) -> String {
    format!("{PINS}/{}", ours(name))
}

/// The same, below [`PINS`]. The folder in `OURS` is named after the layout's version.
pub fn ours(name: &str) -> String {
    format!("{OURS}/{PIN_LAYOUT}/{name}")
}

/// Runs `bpftool WORDS` in the world that this thread is in; it must succeed.
#[track_caller]
pub fn bpftool(_: &World, words: &[&str]) {
    let mut command = command("bpftool");
    command.args(words);
    run(command, b"", seconds(20)).expect(0);
}

/// As [`asked`], for commands that print a list.
#[track_caller]
fn list(world: &World, words: &[&str]) -> Vec<Value> {
    match asked(world, words) {
        Value::Array(list) => list,
        // bpftool prints nothing where there is nothing.
        Value::Null => Vec::new(),
        other => panic!("bpftool {words:?} prints no list: {other}"),
    }
}

/// Runs `bpftool -j WORDS` in the world that this thread is in, and gives what it prints; null if that is nothing.
#[track_caller]
fn asked(_: &World, words: &[&str]) -> Value {
    let mut command = command("bpftool");
    command.arg("-j").args(words);
    let output = run(command, b"", seconds(20)).expect(0);
    if output.stdout.trim().is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("bpftool {words:?} prints no JSON: {error}\n{}{}", output.stdout, output.stderr))
}
