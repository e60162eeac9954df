//! The files of `-f`: their texts, by name.

use std::path::{Path, PathBuf};

use super::screen;
use super::stop::Stop;
use crate::admin::api::Document;
use crate::route::problem::Problem;
use crate::route::source::files::{Unread, expand, read_text, text_of};

/// The argument for standard input.
const STDIN: &str = "-";
/// The name of standard input in messages and requests, where `-` would be read as punctuation.
const STDIN_NAME: &str = "<stdin>";

/// Reads all files. Errors: the first file that cannot be read.
pub(super) fn documents(paths: &[PathBuf]) -> Result<Vec<Document>, Stop> {
    files(paths)?.iter().map(|path| document(path)).collect()
}

/// The files that paths name: folders are searched, `-` stays.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Stop> {
    if paths.iter().filter(|path| *path == Path::new(STDIN)).count() > 1 {
        return Err(Stop::Usage("standard input can be read once: name `-` once".to_owned()));
    }
    let mut found = Vec::new();
    for path in paths {
        if path == Path::new(STDIN) {
            found.push(path.clone());
            continue;
        }
        let inside = expand(path).map_err(|error| Stop::Failed(format!("cannot read {}: {error}", path.display())))?;
        if inside.is_empty() {
            let message = format!("no file in {} ends in .yaml, .yml or .json", path.display());
            return Err(Stop::Failed(message));
        }
        found.extend(inside);
    }
    Ok(found)
}

/// The name of a file in messages.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new(STDIN) { STDIN_NAME.to_owned() } else { path.display().to_string() }
}

/// One file's text.
fn document(path: &Path) -> Result<Document, Stop> {
    let text = if path == Path::new(STDIN) { text_of(std::io::stdin().lock()) } else { read_text(path) };
    let name = name(path);
    match text {
        Ok(text) => Ok(Document { name, text }),
        Err(unread @ Unread::Unreadable(_)) => Err(Stop::Failed(format!("{name} {unread}"))),
        Err(unread @ Unread::Unusable(_)) => Err(Stop::Invalid(Box::new(Problem::of_file(&name, unread.to_string())))),
    }
}

/// Files read one by one, each for itself.
pub(super) struct Each {
    /// Those that were read.
    pub(super) documents: Vec<Document>,
    /// Problems of the files that cannot hold objects.
    pub(super) unusable: Vec<Problem>,
    /// Whether a file could not be read; the error is printed.
    pub(super) has_failed: bool,
}

/// Reads every file that it can.
pub(super) fn each(paths: &[PathBuf]) -> Result<Each, Stop> {
    let mut each = Each { documents: Vec::new(), unusable: Vec::new(), has_failed: false };
    for path in paths {
        match document(path) {
            Ok(document) => each.documents.push(document),
            Err(Stop::Invalid(problem)) => each.unusable.push(*problem),
            Err(Stop::Failed(message)) => {
                each.has_failed = true;
                screen::error(&message);
            }
            Err(stop) => return Err(stop),
        }
    }
    Ok(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_is_text_of_bounded_size() {
        assert_eq!(text_of(&b"kind: Gateway"[..]).unwrap(), "kind: Gateway");
        assert!(text_of(&b"a\n\xff"[..]).unwrap_err().to_string().contains("line 2"));
        assert!(text_of(std::io::repeat(b' ')).unwrap_err().to_string().contains("MiB"));
        assert!(matches!(files(&["-".into(), "-".into()]), Err(Stop::Usage(_))));
    }
}
