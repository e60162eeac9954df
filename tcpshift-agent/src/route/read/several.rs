//! Reads several files together.

use std::collections::HashMap;

use super::{Document, ReadDocument, read};
use crate::route::object::Key;
use crate::route::problem::Problem;

/// Reads several files that belong together. An object that they have twice is an error.
pub fn read_all(documents: &[Document], namespace: Option<&str>) -> (Vec<ReadDocument>, Vec<Problem>) {
    read_each(documents, namespace, |_, _| false)
}

/// Reads several files in the order in which they are applied. Of an object that more than one file has the last one counts, as
/// with kubectl, and a warning says it. An object that one file has twice is an error.
pub fn read_in_order(documents: &[Document], namespace: Option<&str>) -> (Vec<ReadDocument>, Vec<Problem>) {
    read_each(documents, namespace, |first, second| first != second)
}

/// `replaces` says, by the indices of two files, whether an object of the second replaces that of the first.
fn read_each(
    documents: &[Document],
    namespace: Option<&str>,
    replaces: fn(usize, usize) -> bool,
) -> (Vec<ReadDocument>, Vec<Problem>) {
    let (mut entries, mut problems): (Vec<Option<ReadDocument>>, Vec<Problem>) = (Vec::new(), Vec::new());
    // By key: the index of the file, its name, the line, and the index among the entries.
    let mut firsts: HashMap<Key, (usize, &str, usize, usize)> = HashMap::new();
    for (file, Document { name, text }) in documents.iter().enumerate() {
        let contents = read(name, text, namespace);
        problems.extend(contents.problems);
        for entry in contents.entries {
            if let Some(key) = entry.key() {
                let (line, index) = (entry.line(), entries.len());
                match firsts.get_mut(key) {
                    Some(first) if replaces(first.0, file) => {
                        problems.push(Problem::replaced(key, (first.1, first.2), (name, line)));
                        entries[first.3] = None;
                        *first = (file, name, line, index);
                    }
                    Some(first) => problems.push(Problem::twice(key, (first.1, first.2), (name, line))),
                    None => drop(firsts.insert(key.clone(), (file, name, line, index))),
                }
            }
            entries.push(Some(entry));
        }
    }
    (entries.into_iter().flatten().collect(), problems)
}
