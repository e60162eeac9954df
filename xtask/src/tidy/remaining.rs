//! Findings that are older than their check: each list has those that are still there, and may only shrink.
//!
//! A list is a text file with one finding on each line. A finding that is not listed is a problem, and so is a line that
//! is no longer true.

use std::collections::BTreeMap;

/// A list of findings that are still accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remaining {
    /// Path of the file that has the list, from `xtask/src/tidy`.
    file: &'static str,
    /// The lines of that file.
    text: &'static str,
}

/// Type names that have several definitions.
pub(super) const HOMONYMS: Remaining =
    Remaining { file: "remaining/homonyms.txt", text: include_str!("remaining/homonyms.txt") };

/// Files that have more than [`super::LINES`] lines.
pub(super) const LONG: Remaining = Remaining { file: "remaining/long.txt", text: include_str!("remaining/long.txt") };

/// Modules beside each other that know each other: the folder, a colon, and their names.
pub(super) const CIRCLES: Remaining =
    Remaining { file: "remaining/circles.txt", text: include_str!("remaining/circles.txt") };

/// Files that say what they must not know, which nothing checks.
pub(super) const UNCHECKED: Remaining =
    Remaining { file: "remaining/unchecked.txt", text: include_str!("remaining/unchecked.txt") };

impl Remaining {
    /// The problems: messages of findings that the list does not have, and lines of it that are no findings.
    pub(super) fn problems(self, findings: &BTreeMap<String, String>) -> Vec<String> {
        let listed: Vec<&str> = self.text.lines().filter(|line| !line.is_empty()).collect();
        let new = findings.iter().filter(|(finding, _)| !listed.contains(&finding.as_str()));
        let gone = listed.iter().filter(|line| !findings.contains_key(**line));
        let gone =
            gone.map(|line| format!("xtask/src/tidy/{}: remove the line `{line}`: it is no longer so", self.file));
        new.map(|(_, message)| message.clone()).chain(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_only_shrink() {
        let list = Remaining { file: "list.txt", text: "old\ngone\n" };
        let found = ["old", "new"].map(|name| (name.to_owned(), format!("{name} is wrong"))).into();
        assert_eq!(
            list.problems(&found),
            ["new is wrong", "xtask/src/tidy/list.txt: remove the line `gone`: it is no longer so"]
        );
    }
}
