//! Modules beside each other in one folder form no circle: of two of them, at most one knows the other, by whatever way.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::Modules;
use crate::source::SourceFile;

/// Which modules of one folder each of them names, and the line where it does.
type Edges<'a> = BTreeMap<&'a str, BTreeMap<String, String>>;

/// Each circle as `folder: module module`, and a message with the lines that close it.
pub(super) fn circles(sources: &[SourceFile]) -> BTreeMap<String, String> {
    let modules = Modules::new(sources);
    let mut folders: BTreeMap<String, Edges<'_>> = BTreeMap::new();
    for (module, source, line, named) in modules.uses() {
        let shared = module.iter().zip(&named).take_while(|(one, other)| one == other).count();
        if let (Some(from), Some(to)) = (module.get(shared), named.get(shared)) {
            let lines = folders.entry(module[..shared].join("/")).or_default().entry(from).or_default();
            lines.entry(to.clone()).or_insert_with(|| format!("{}:{line}", source.path));
        }
    }
    let mut circles = BTreeMap::new();
    for (folder, edges) in &folders {
        for circle in rings(edges) {
            let mut message = vec![format!("{folder}: these modules know each other in a circle:")];
            for (from, lines) in edges.iter().filter(|(from, _)| circle.contains(*from)) {
                for (to, line) in lines.iter().filter(|(to, _)| circle.contains(to.as_str())) {
                    message.push(format!("    {from} knows {to} at {line}"));
                }
            }
            let names: Vec<&str> = circle.into_iter().collect();
            circles.insert(format!("{folder}: {}", names.join(" ")), message.join("\n"));
        }
    }
    circles
}

/// Sets of modules each of which knows all others of its set, directly or by others of it.
fn rings<'a>(edges: &'a Edges<'a>) -> BTreeSet<BTreeSet<&'a str>> {
    let reached = |from: &'a str| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            let known = edges.get(module).into_iter().flat_map(BTreeMap::keys);
            next.extend(known.map(String::as_str).filter(|known| reached.insert(*known)));
        }
        reached
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|module| (*module, reached(module))).collect();
    let ring = |module: &&'a str| {
        let back = all[module].iter().filter(|other| all.get(**other).is_some_and(|back| back.contains(module)));
        back.copied().collect::<BTreeSet<&str>>()
    };
    edges.keys().map(ring).filter(|ring| ring.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<SourceFile> = sources.iter().map(|(path, text)| SourceFile::new(path, text)).collect();
        circles(&sources).into_keys().collect()
    }

    #[test]
    fn circles_of_two_and_of_three_are_found() {
        assert_eq!(
            found(&[
                ("a/src/lib.rs", ""),
                ("a/src/b.rs", "use crate::c::C;"),
                ("a/src/c.rs", ""),
                ("a/src/c/d.rs", "fn d() { crate::b::B }"),
                ("a/src/c/e.rs", "use super::f::F;"),
                ("a/src/c/f.rs", "use super::g;"),
                ("a/src/c/g.rs", "use crate::c::e;"),
            ]),
            ["a/src/c: e f g", "a/src: b c"]
        );
    }

    #[test]
    fn a_circle_by_what_the_parent_imports_is_found() {
        assert_eq!(
            found(&[
                ("a/src/lib.rs", "mod b; mod c; use b::B;"),
                ("a/src/b.rs", "use super::c::C;"),
                ("a/src/c.rs", "use super::B;"),
            ]),
            ["a/src: b c"]
        );
    }

    #[test]
    fn parents_and_children_may_know_each_other_and_tests_anybody() {
        let none: [String; 0] = [];
        assert_eq!(
            found(&[
                ("a/src/lib.rs", "mod b; use b::B; struct A;"),
                ("a/src/b.rs", "use super::A; mod d; use d::D;"),
                ("a/src/b/d.rs", "use super::B; use super::e; use crate::A;"),
                ("a/src/b/e.rs", "\n#[cfg(test)]\nmod tests { use super::super::d; }"),
                ("a/src/b/e/tests.rs", "use super::super::d;"),
            ]),
            none
        );
    }
}
