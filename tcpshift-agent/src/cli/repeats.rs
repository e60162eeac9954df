//! Prints repeated problems as one line with a count: documents that are no objects, as a folder of other files has them, and
//! one message about one field many times in a file.

use std::collections::HashMap;

use crate::analyze::Finding;
use crate::route::problem::Problem;
use crate::route::read::NO_OBJECT;

/// How often a message is printed before it is counted instead.
const MOST: usize = 3;

/// A problem or finding of a file.
pub(super) trait Said {
    fn file(&self) -> &str;
    /// A text that is equal for repetitions: indices of fields are left out.
    fn likeness(&self) -> String;
    /// Whether the document is no object at all.
    fn is_no_object(&self) -> bool;
}

impl Said for Problem {
    fn file(&self) -> &str {
        &self.file
    }

    fn likeness(&self) -> String {
        format!("{:?} {} {} {}", self.severity, without_indices(&self.field), self.message, self.cure)
    }

    fn is_no_object(&self) -> bool {
        self.message == NO_OBJECT
    }
}

impl Said for Finding {
    fn file(&self) -> &str {
        &self.file
    }

    fn likeness(&self) -> String {
        let message = without_indices(&self.message);
        format!("{:?} {} {} {message} {}", self.level, self.code.id, without_indices(&self.field), self.cure)
    }

    fn is_no_object(&self) -> bool {
        self.message == NO_OBJECT
    }
}

/// `spec.tcp[0].route[12]` as `spec.tcp[].route[]`.
fn without_indices(field: &str) -> String {
    let mut parts = field.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let behind = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        format!("{text}[{behind}")
    })
}

/// A line to print.
pub(super) enum Line<'s, T> {
    /// This one, and the number of others like it in its file.
    One(&'s T, usize),
    /// The numbers of documents that are no objects, and of their files.
    NoObjects(usize, usize),
}

/// Combines repetitions into one line, at the position of the first.
pub(super) fn fold<T: Said>(said: &[T]) -> Vec<Line<'_, T>> {
    let mut counts: HashMap<(&str, String), usize> = HashMap::new();
    for one in said {
        *counts.entry((one.file(), one.likeness())).or_default() += 1;
    }
    let no_objects: Vec<_> = said.iter().filter(|one| one.is_no_object()).collect();
    let mut files: Vec<_> = no_objects.iter().map(|one| one.file()).collect();
    files.dedup();
    let (documents, mut told) = (no_objects.len(), false);
    let mut lines = Vec::new();
    for one in said {
        if one.is_no_object() && documents > MOST {
            if !told {
                lines.push(Line::NoObjects(documents, files.len()));
                told = true;
            }
            continue;
        }
        let Some(count) = counts.get_mut(&(one.file(), one.likeness())) else { continue };
        match *count {
            // It is counted in the line of the first.
            0 => {}
            many if many > MOST => {
                lines.push(Line::One(one, many - 1));
                *count = 0;
            }
            _ => lines.push(Line::One(one, 0)),
        }
    }
    lines
}

/// The end of a line that stands for others too.
pub(super) fn more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" (and {others} more like this in the file)") }
}

/// The line of documents that are no objects.
pub(super) fn no_objects(documents: usize, files: usize, command: &str) -> String {
    let s = if files == 1 { "" } else { "s" };
    format!(
        "{documents} documents in {files} file{s} are no objects: they have no apiVersion or no kind (`{command} --all` lists them)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(file: &str, field: &str, message: &str) -> Problem {
        Problem { field: field.to_owned(), ..Problem::of_file(file, message) }
    }

    #[test]
    fn what_repeats_in_a_file_is_one_line() {
        let mut problems: Vec<_> = (0..5).map(|at| problem("a", &format!("spec.ports[{at}].name"), "bad")).collect();
        problems.push(problem("b", "spec.ports[0].name", "bad"));
        problems.push(problem("a", "spec.ports[0].name", "worse"));
        let lines: Vec<_> = fold(&problems)
            .iter()
            .map(|line| match line {
                Line::One(one, more) => (one.file.clone(), one.field.clone(), *more),
                Line::NoObjects(..) => unreachable!("all are objects"),
            })
            .collect();
        let one = |file: &str, more| (file.to_owned(), "spec.ports[0].name".to_owned(), more);
        assert_eq!(lines, [one("a", 4), one("b", 0), one("a", 0)]);
    }

    #[test]
    fn a_few_are_printed_as_they_are() {
        let problems: Vec<_> = (0..3).map(|at| problem("a", &format!("spec.ports[{at}].name"), "bad")).collect();
        assert_eq!(fold(&problems).len(), 3);
    }
}
