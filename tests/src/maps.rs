//! What the kernel has of the agent, as an administrator sees it: by `bpftool`, and by what is pinned.
//!
//! It looks from inside a world, whose pins and control group nobody else has. It must not know what maps mean.

use std::path::Path;

use serde_json::Value;

use crate::process::{command, run};
use crate::until::seconds;
use crate::world::{PINS, World};

/// What the agent pins things in, below [`PINS`].
const OURS: &str = "tcpshift";

/// The version of what it pins, a folder in that.
const VERSION: &str = "1";

/// The elements of a map that is pinned under a name, each with `key` and `value` (in a map that has one for each
/// CPU, `values`): named fields where the map has types, and lists of bytes such as `"0x07"` where it has none.
#[track_caller]
pub fn dump(world: &World, name: &str) -> Vec<Value> {
    let mut elements = bpftool(world, &["map", "dump", "pinned", &format!("{PINS}/{OURS}/{VERSION}/{name}")]);
    for element in &mut elements {
        if let Some(formatted) = element.get_mut("formatted") {
            *element = formatted.take();
        }
    }
    elements
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

/// The programs at the world's control group, each with its `id`, `attach_type` and `name`.
#[track_caller]
pub fn attached(world: &World) -> Vec<Value> {
    bpftool(world, &["cgroup", "show", &world.cgroup().display().to_string()])
}

/// Runs `bpftool -j WORDS` in the world that this thread is in, and gives the list that it prints.
#[track_caller]
fn bpftool(_: &World, words: &[&str]) -> Vec<Value> {
    let mut command = command("bpftool");
    command.arg("-j").args(words);
    let output = run(command, b"", seconds(20)).expect(0);
    if output.stdout.trim().is_empty() {
        // So it says that a control group has no programs.
        return Vec::new();
    }
    serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("bpftool {words:?} prints no list: {error}\n{}{}", output.stdout, output.stderr))
}
