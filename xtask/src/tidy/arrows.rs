//! Who may know whom: arrows between the rooms of the agent, and crates that only some files may name.

use crate::source::SourceFile;

/// Rooms of the agent, and which other rooms each may know: only such as stand above it, so there is no circle.
/// `main` and `lib` are the agent's doors.
const ROOMS: [(&str, &[&str]); 18] = [
    ("trust", &[]),
    ("route", &["trust"]),
    ("plan", &["route"]),
    ("analyze", &["route", "plan"]),
    ("connections", &["plan"]),
    ("host", &["trust"]),
    ("rights", &["host", "trust"]),
    ("logging", &["trust"]),
    ("handover", &["trust"]),
    ("kernel", &["plan", "connections", "host", "rights", "trust"]),
    ("proxy", &["plan", "connections", "kernel", "host", "rights", "trust"]),
    ("resolve", &[]),
    ("health", &["route", "plan", "connections"]),
    ("observe", &["plan", "connections"]),
    ("metrics", &["plan", "connections"]),
    ("admin", &["route", "plan", "connections", "observe", "metrics", "handover", "trust"]),
    (
        "app",
        &[
            "analyze",
            "route",
            "plan",
            "connections",
            "host",
            "rights",
            "kernel",
            "proxy",
            "resolve",
            "health",
            "observe",
            "metrics",
            "admin",
            "handover",
            "logging",
            "trust",
        ],
    ),
    ("cli", &["admin", "analyze", "route", "plan", "kernel", "app", "logging", "rights", "trust"]),
];

/// Crates that only these files (or folders) may name.
const CRATES: [(&str, &[&str]); 11] = [
    ("serde_yaml", &["tcpshift-agent/src/route/write.rs", "tests/"]),
    ("hickory_resolver", &["tcpshift-agent/src/resolve/lookup.rs", "tcpshift-agent/benches/"]),
    ("aya", &["tcpshift-agent/src/kernel.rs", "tcpshift-agent/src/kernel/", "tests/", "bench/"]),
    ("aya_log", &["tcpshift-agent/src/kernel.rs", "tcpshift-agent/src/kernel/"]),
    ("aya_obj", &["tcpshift-agent/src/kernel.rs", "tcpshift-agent/src/kernel/"]),
    ("aya_ebpf", &["tcpshift-ebpf/"]),
    ("aya_log_ebpf", &["tcpshift-ebpf/"]),
    (
        "clap",
        &[
            "tcpshift-agent/src/cli.rs",
            "tcpshift-agent/src/cli/",
            "tcpshift-agent/tests/documents/",
            "xtask/",
            "bench/",
        ],
    ),
    ("clap_complete", &["tcpshift-agent/src/cli/completions.rs"]),
    ("clap_mangen", &["tcpshift-agent/tests/documents/"]),
    (
        "tcpshift_agent",
        &["tcpshift-agent/src/main.rs", "tcpshift-agent/tests/", "tcpshift-agent/benches/", "tests/", "fuzz/"],
    ),
];

/// Every arrow of a file that the house does not have.
pub(crate) fn arrows(source: &SourceFile) -> Vec<String> {
    let mut problems = crates(source);
    if let Some(room) = room(&source.path) {
        let may = ROOMS.iter().find(|(name, _)| *name == room).map(|(_, may)| *may);
        for (line, other) in known(source) {
            let is_room = ROOMS.iter().any(|(name, _)| *name == other);
            if is_room && other != room && may.is_some_and(|may| !may.contains(&other.as_str())) {
                problems.push(format!("{}:{line}: {room} must not know {other}", source.path));
            }
        }
        if may.is_none() {
            problems.push(format!("{}: {room} is no room that {} knows", source.path, file!()));
        }
    }
    if source.path.starts_with("tcpshift-common/src/") {
        for (line, word) in source.words().filter(|(_, word)| ["std", "alloc"].contains(word)) {
            problems.push(format!("{}:{line}: common knows nobody, not even {word}", source.path));
        }
    }
    problems
}

/// The room of the agent that a file is in; none for its doors and for other crates.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("tcpshift-agent/src/")?;
    let room = inside.split(['/', '.']).next()?;
    (!["main", "lib"].contains(&room)).then_some(room)
}

fn crates(source: &SourceFile) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, places) in CRATES {
        if places.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        let lines = source.words().filter(|(_, word)| *word == name).map(|(line, _)| line);
        problems.extend(lines.map(|line| format!("{}:{line}: {name} belongs to {}", source.path, places.join(", "))));
    }
    problems
}

/// Modules at the root of the crate that a file names by `crate::`, or by `super::` from a door.
fn known(source: &SourceFile) -> Vec<(usize, String)> {
    let depth = source.path.matches('/').count() - 1;
    let mut found = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (place, _) in source.code.match_indices(&root) {
            let before = source.code[..place].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            let line = source.line(place);
            found.extend(heads(&source.code[place + root.len()..]).into_iter().map(|name| (line, name)));
        }
    }
    found
}

/// The first names of a path, or of each path of a group: `a::b` gives a, `{a::{b, c}, d}` gives a and d.
fn heads(code: &str) -> Vec<String> {
    let name = |code: &str| {
        code.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let Some(group) = code.trim_start().strip_prefix('{') else { return vec![name(code)] };
    let (mut heads, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth > 0 => {}
            ',' | '}' => {
                heads.push(name(&group[begin..at]));
                begin = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, code: &str) -> usize {
        arrows(&SourceFile::new(path, code)).len()
    }

    #[test]
    fn no_room_may_know_one_below_it() {
        for (number, (room, may)) in ROOMS.iter().enumerate() {
            let above: Vec<&str> = ROOMS[..number].iter().map(|(name, _)| *name).collect();
            assert!(may.iter().all(|other| above.contains(other)), "{room}");
        }
    }

    #[test]
    fn groups_are_taken_apart() {
        assert_eq!(heads("{a::{b, c}, d}; e"), ["a", "d"]);
        assert_eq!(heads("{\n  a,\n  b::c as d,\n};"), ["a", "b", ""]);
        assert_eq!(heads("a::b"), ["a"]);
    }

    #[test]
    fn forbidden_arrows_are_found() {
        assert_eq!(problems("tcpshift-agent/src/route/x.rs", "use crate::plan::Plan;"), 1);
        assert_eq!(problems("tcpshift-agent/src/proxy.rs", "use crate::{plan::Plan, route::{A, B}};"), 1);
        assert_eq!(problems("tcpshift-agent/src/proxy/x.rs", "fn x() { super::super::route::y() }"), 1);
        assert_eq!(problems("tcpshift-agent/src/admin.rs", "use super::proxy::x;"), 1);
        assert_eq!(problems("tcpshift-agent/src/admin/x.rs", "use crate::proxy;"), 1);
        assert_eq!(problems("tcpshift-agent/src/plan.rs", "use serde_yaml::Value;"), 1);
        assert_eq!(problems("tcpshift-agent/src/app.rs", "use clap::Parser;"), 1);
        assert_eq!(problems("tcpshift-agent/src/proxy.rs", "use aya::Ebpf;"), 1);
        assert_eq!(problems("tcpshift-agent/src/kernel/x.rs", "use crate::proxy; use aya_ebpf::macros;"), 2);
        assert_eq!(problems("tcpshift-agent/src/annexe.rs", ""), 1);
        assert_eq!(problems("tcpshift-common/src/x.rs", "use std::fs;"), 1);
    }

    #[test]
    fn allowed_arrows_are_not() {
        assert_eq!(
            problems("tcpshift-agent/src/plan/x.rs", "use crate::route::model; use crate::plan::y; use super::z;"),
            0
        );
        assert_eq!(problems("tcpshift-agent/src/app.rs", "use crate::{admin, plan, proxy, route, connections};"), 0);
        assert_eq!(problems("tcpshift-agent/src/route.rs", "//! [`crate::plan`] compiles it.\npub mod yaml;"), 0);
        assert_eq!(problems("tcpshift-agent/src/proxy/x.rs", "use crate::kernel;"), 0);
        assert_eq!(problems("tcpshift-agent/src/kernel.rs", "use aya::Ebpf; use crate::plan;"), 0);
        assert_eq!(problems("tcpshift-agent/src/main.rs", "use tcpshift_agent::app;"), 0);
    }
}
