//! Modules of the workspace by their files, and which of them a file names.
//!
//! Paths that begin with `crate`, `self` or `super` are followed, also through what a module that they lead to has
//! imported: a child that names `super::Pool` knows the module where its parent has `Pool` from.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::SourceFile;

/// Folder of a crate's sources, and names of modules from there: `["tcpshift-agent/src", "plan", "diff"]`.
pub(super) type ModulePath = Vec<String>;

/// All modules, and what each imports.
#[derive(Debug)]
pub(super) struct Modules<'a> {
    /// The file of each module.
    sources: BTreeMap<ModulePath, &'a SourceFile>,
    /// The path behind each name that a module has imported by `use`.
    imports: BTreeMap<ModulePath, BTreeMap<String, ModulePath>>,
}

impl<'a> Modules<'a> {
    /// Of all files but unit tests.
    pub(super) fn new(sources: &'a [SourceFile]) -> Self {
        let modules = sources.iter().filter(|source| !source.is_unit_test());
        let sources: BTreeMap<_, _> = modules.filter_map(|source| Some((module(&source.path)?, source))).collect();
        let mut modules = Self { sources, imports: BTreeMap::new() };
        let imports = modules.sources.iter().map(|(module, source)| (module.clone(), modules.imported(module, source)));
        modules.imports = imports.collect();
        modules
    }

    /// Every module that another one names: the one that names, the line, and the one that is named.
    pub(super) fn uses(&self) -> Vec<(&ModulePath, &'a SourceFile, usize, ModulePath)> {
        let mut uses = Vec::new();
        for (module, source) in &self.sources {
            for (line, path) in self.paths(module, source) {
                if let Some(named) = self.resolve(path) {
                    uses.push((module, *source, line, named));
                }
            }
        }
        uses
    }

    /// Absolute paths that a file names, each with its line.
    fn paths(&self, module: &[String], source: &SourceFile) -> Vec<(usize, ModulePath)> {
        let code = source.code_without_tests();
        let mut paths = Vec::new();
        for start in ["crate::", "self::", "super::"] {
            for (index, _) in code.match_indices(start) {
                let before = code[..index].chars().next_back();
                if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                    continue;
                }
                let trees = tree(&code[index..]);
                let absolute = trees.into_iter().filter_map(|(names, _)| self.absolute(module, &names));
                paths.extend(absolute.map(|path| (source.line(index), path)));
            }
        }
        paths
    }

    /// The names that a file imports.
    fn imported(&self, module: &[String], source: &SourceFile) -> BTreeMap<String, ModulePath> {
        let code = source.code_without_tests();
        let mut imported = BTreeMap::new();
        for (index, _) in code.match_indices("use ") {
            if code[..index].chars().next_back().is_some_and(|letter| !letter.is_whitespace()) {
                continue;
            }
            for (names, called) in tree(&code[index + "use ".len()..]) {
                if let Some(path) = self.absolute(module, &names) {
                    imported.insert(called, path);
                }
            }
        }
        imported
    }

    /// A path as a file writes it, from the crate's root; none if it leads to another crate.
    fn absolute(&self, module: &[String], names: &[String]) -> Option<ModulePath> {
        let mut base = module.to_vec();
        let mut rest = names;
        match names.first().map(String::as_str)? {
            "crate" => (base, rest) = (module[..root(module)].to_vec(), &names[1..]),
            "self" => rest = &names[1..],
            "super" => {}
            child if self.sources.contains_key(&[module, &[child.to_owned()]].concat()) => {}
            _ => return None,
        }
        while rest.first().is_some_and(|name| name == "super") {
            base.pop()?;
            rest = &rest[1..];
        }
        Some([base.as_slice(), rest].concat())
    }

    /// The module that a path leads to: the one that defines what the path names, not one that only imports it.
    fn resolve(&self, mut path: ModulePath) -> Option<ModulePath> {
        let mut seen = BTreeSet::new();
        while seen.insert(path.clone()) {
            let length = (1..=path.len()).rev().find(|length| self.sources.contains_key(&path[..*length]))?;
            let (module, rest) = path.split_at(length);
            let import = rest.first().and_then(|name| self.imports.get(module)?.get(name));
            match import {
                Some(import) => path = [import.as_slice(), &rest[1..]].concat(),
                None => return Some(module.to_vec()),
            }
        }
        None
    }
}

/// Files that no `mod` names, so that no compiler reads them.
pub(super) fn orphans(sources: &[SourceFile]) -> Vec<&SourceFile> {
    let paths: Vec<_> = sources.iter().filter_map(|source| Some((module(&source.path)?, source))).collect();
    let mut named: BTreeSet<ModulePath> = BTreeSet::new();
    for (module, source) in &paths {
        for (index, _) in source.code.match_indices("mod ") {
            let is_word = index == 0 || source.code[..index].ends_with(char::is_whitespace);
            let declared = source.code[index + "mod ".len()..].split_once(';').filter(|_| is_word);
            let name = declared.map(|(name, _)| name).filter(|name| word(name) == name.len());
            named.extend(name.map(|name| [module.as_slice(), &[name.to_owned()]].concat()));
        }
    }
    let is_named = |module: &ModulePath| module.len() <= root(module) || named.contains(module);
    paths.into_iter().filter(|(module, _)| !is_named(module)).map(|(_, source)| source).collect()
}

/// The module of a file; none for a build script.
fn module(path: &str) -> Option<ModulePath> {
    let (index, folder) =
        ["/src/", "/tests/", "/benches/"].into_iter().filter_map(|folder| Some((path.find(folder)?, folder))).min()?;
    let (base, rest) = path.split_at(index + folder.len());
    let mut module = vec![base.trim_end_matches('/').to_owned()];
    module.extend(rest.strip_suffix(".rs")?.split('/').map(str::to_owned));
    if module.last().is_some_and(|name| name == "main" || name == "lib") {
        module.pop();
    }
    Some(module)
}

/// How many names of a module's path are its crate's root.
fn root(module: &[String]) -> usize {
    match module {
        [_, bin, _, ..] if bin == "bin" => 3,
        [base, ..] if base.ends_with("/src") => 1,
        _ => 2.min(module.len()),
    }
}

/// Every path of a tree such as `a::{b, c::d as e}`, with the name by which it is known where it is imported.
fn tree(code: &str) -> Vec<(Vec<String>, String)> {
    let mut paths = Vec::new();
    branches(code, &[], &mut paths);
    paths
}

/// Adds the paths of a tree that begins the code; what is left of the code.
fn branches<'a>(code: &'a str, above: &[String], paths: &mut Vec<(Vec<String>, String)>) -> &'a str {
    let mut names = above.to_vec();
    let mut rest = code.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let before = rest;
                rest = branches(rest, &names, paths).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
                if rest == before {
                    return rest;
                }
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let (name, after) = rest.split_at(word(rest));
        if !name.is_empty() && (name != "self" || names.is_empty()) {
            names.push(name.to_owned());
        }
        rest = after.trim_start();
        match rest.strip_prefix("::") {
            Some(deeper) if !deeper.starts_with('<') => rest = deeper.trim_start(),
            _ => break,
        }
    }
    let mut called = names.last().cloned().unwrap_or_default();
    if let Some(other) = rest.strip_prefix("as ") {
        let (name, after) = other.trim_start().split_at(word(other.trim_start()));
        (called, rest) = (name.to_owned(), after);
    }
    paths.push((names, called));
    rest.strip_prefix('*').unwrap_or(rest)
}

/// Length of the word that begins the code.
fn word(code: &str) -> usize {
    code.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(code.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_taken_apart() {
        let paths = |code| tree(code).into_iter().map(|(names, called)| format!("{} {called}", names.join("::")));
        assert_eq!(
            paths("a::{self, b::C as D, e::{f, g},\n}; h").collect::<Vec<_>>(),
            ["a a", "a::b::C D", "a::e::f f", "a::e::g g"]
        );
        assert_eq!(paths("a::b::<u8>(c)").collect::<Vec<_>>(), ["a::b b"]);
        assert_eq!(paths("a::*;").collect::<Vec<_>>(), ["a a"]);
        assert_eq!(paths("a::{(").count(), 1);
    }

    #[test]
    fn files_are_modules() {
        for (path, expected, length) in [
            ("a/src/lib.rs", "a/src", 1),
            ("a/src/b/c.rs", "a/src b c", 1),
            ("a/src/bin/d.rs", "a/src bin d", 3),
            ("tests/tests/promises/main.rs", "tests/tests promises", 2),
            ("tests/tests/promises/e.rs", "tests/tests promises e", 2),
        ] {
            let module = module(path).unwrap();
            assert_eq!((module.join(" ").as_str(), root(&module)), (expected, length), "{path}");
        }
        assert_eq!(module("a/build.rs"), None);
    }

    #[test]
    fn a_file_that_no_module_names_is_found() {
        let sources = [
            SourceFile::new("a/src/lib.rs", "pub(crate) mod b;"),
            SourceFile::new("a/src/b.rs", "// mod d;\nmod c;\nmod f { mod c; }"),
            SourceFile::new("a/src/b/c.rs", ""),
            SourceFile::new("a/src/b/d.rs", ""),
            SourceFile::new("a/src/b/f.rs", ""),
            SourceFile::new("a/src/bin/e.rs", ""),
            SourceFile::new("a/tests/f.rs", ""),
            SourceFile::new("a/tests/f/g.rs", ""),
        ];
        let orphans: Vec<_> = orphans(&sources).into_iter().map(|source| source.path.as_str()).collect();
        assert_eq!(orphans, ["a/src/b/d.rs", "a/src/b/f.rs", "a/tests/f/g.rs"]);
    }

    #[test]
    fn a_path_leads_to_the_module_that_defines() {
        let sources = [
            SourceFile::new("a/src/lib.rs", "mod b; mod c;"),
            SourceFile::new("a/src/b.rs", "mod d; mod e; pub use d::D; use crate::c as f; struct B;"),
            SourceFile::new("a/src/b/d.rs", "pub struct D;"),
            SourceFile::new(
                "a/src/b/e.rs",
                "use super::{B, D};\nfn e() { super::f::g() }\nuse std::fs; use crate::c::C;",
            ),
            SourceFile::new("a/src/c.rs", "pub struct C;\n#[cfg(test)]\nmod tests { use super::C; use crate::b::B; }"),
        ];
        let modules = Modules::new(&sources);
        let uses: Vec<_> = modules
            .uses()
            .into_iter()
            .filter(|(module, ..)| module.len() == 3)
            .map(|(_, _, line, named)| (line, named.join(" ")))
            .collect();
        let expected = [(3, "a/src c"), (1, "a/src b"), (1, "a/src b d"), (2, "a/src c")];
        assert_eq!(uses, expected.map(|(line, named)| (line, named.to_owned())));
    }
}
