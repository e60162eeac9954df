//! The files of `-f`: their text, by name. What the text means is not known here.

use std::path::{Path, PathBuf};

use super::outcome::Stop;
use crate::admin::api::Document;
use crate::route::files::{self, Unread};
use crate::route::problem::Problem;

/// Name of standard input, for people and in requests.
const STDIN: &str = "-";

/// Reads every file named. The first that cannot be read stops it.
pub(super) fn documents(paths: &[PathBuf]) -> Result<Vec<Document>, Stop> {
    names(paths)?.iter().map(|path| document(path)).collect()
}

/// The files that paths name: folders are searched, `-` stays.
pub(super) fn names(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Stop> {
    if paths.iter().filter(|path| *path == Path::new(STDIN)).count() > 1 {
        return Err(Stop::Usage("standard input can be read once: name `-` once".to_owned()));
    }
    let mut names = Vec::new();
    for path in paths {
        if path == Path::new(STDIN) {
            names.push(path.clone());
            continue;
        }
        let found =
            files::expand(path).map_err(|error| Stop::Failed(format!("cannot read {}: {error}", path.display())))?;
        if found.is_empty() {
            let message = format!("no file in {} ends in .yaml, .yml or .json", path.display());
            return Err(Stop::Failed(message));
        }
        names.extend(found);
    }
    Ok(names)
}

/// One file's text.
pub(super) fn document(path: &Path) -> Result<Document, Stop> {
    let text = if path == Path::new(STDIN) { files::text_of(std::io::stdin().lock()) } else { files::read_text(path) };
    let name = path.display().to_string();
    match text {
        Ok(text) => Ok(Document { name, text }),
        Err(unread @ Unread::Unreadable(_)) => Err(Stop::Failed(format!("{name} {unread}"))),
        Err(unread @ Unread::Unusable(_)) => Err(Stop::Invalid(Box::new(Problem::of_file(&name, unread.to_string())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_is_text_of_bounded_size() {
        assert_eq!(files::text_of(&b"kind: Gateway"[..]).unwrap(), "kind: Gateway");
        assert!(files::text_of(&b"a\n\xff"[..]).unwrap_err().to_string().contains("line 2"));
        assert!(files::text_of(std::io::repeat(b' ')).unwrap_err().to_string().contains("MiB"));
        assert!(matches!(names(&["-".into(), "-".into()]), Err(Stop::Usage(_))));
    }
}
