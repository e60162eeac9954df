//! One word, one thing: no two types that other files can see have one name, anywhere in the workspace.

use std::collections::BTreeMap;

use crate::source::SourceFile;

/// Keywords that define a type.
const DEFINITIONS: [&str; 5] = ["struct", "enum", "union", "trait", "type"];

/// Each type name with several visible definitions, and a message that says where they are.
pub(super) fn homonyms(sources: &[SourceFile]) -> BTreeMap<String, String> {
    let mut definitions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for (line, name) in visible(source.code_without_tests()) {
            definitions.entry(name).or_default().push(format!("{}:{line}", source.path));
        }
    }
    let several = definitions.into_iter().filter(|(_, places)| places.len() > 1);
    several
        .map(|(name, paths)| {
            let message = format!("{}: {name} is also defined at {}", paths[0], paths[1..].join(", "));
            (name.to_owned(), message)
        })
        .collect()
}

/// Types whose definition begins with `pub` or `pub(...)`, each with its line.
fn visible(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().filter_map(|(number, line)| {
        let rest = line.trim_start().strip_prefix("pub")?;
        let rest = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest);
        let mut words = rest.trim_start().split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        let keyword = words.find(|word| *word != "unsafe")?;
        let name = words.next()?;
        DEFINITIONS.contains(&keyword).then_some((number + 1, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<SourceFile> = sources.iter().map(|(path, text)| SourceFile::new(path, text)).collect();
        homonyms(&sources).into_values().collect()
    }

    #[test]
    fn a_second_visible_definition_is_found_in_any_crate() {
        assert_eq!(
            found(&[
                ("a/src/x.rs", "\npub struct Found;\npub(super) enum Key {}"),
                ("b/src/y.rs", "pub(crate) type Found<T> = Vec<T>;\npub unsafe trait Key {}"),
                ("b/src/z.rs", "pub(in crate::y) union Found {}"),
            ]),
            [
                "a/src/x.rs:2: Found is also defined at b/src/y.rs:1, b/src/z.rs:1",
                "a/src/x.rs:3: Key is also defined at b/src/y.rs:2"
            ]
        );
    }

    #[test]
    fn private_types_tests_and_functions_may_have_any_name() {
        let none: [String; 0] = [];
        assert_eq!(
            found(&[
                ("a/src/x.rs", "pub struct Found;\npub fn found() {}\n#[cfg(test)]\nmod tests { pub struct Found; }"),
                ("a/src/x/tests.rs", "pub struct Found;"),
                ("a/tests/x.rs", "pub struct Found;"),
                ("tests/src/x.rs", "pub struct Found;"),
                ("b/src/y.rs", "struct Found;\nimpl Deref for Found { type Target = u8; }\npub fn found() {}"),
            ]),
            none
        );
    }
}
