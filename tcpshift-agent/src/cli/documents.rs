//! The files of `-f`: their text, by name. What the text means is not known here.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::outcome::Stop;
use crate::admin::api::Document;
use crate::admin::server::MAX_BODY;
use crate::route::files;

/// Name of standard input, for people and in requests.
const STDIN: &str = "-";

/// Reads every file named. The first that cannot be read stops it.
pub(super) fn documents(paths: &[PathBuf]) -> Result<Vec<Document>, Stop> {
    let mut documents = Vec::new();
    for path in names(paths)? {
        documents.push(document(&path).map_err(Stop::Failed)?);
    }
    Ok(documents)
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

/// One file's text. The error is a sentence that names the file.
pub(super) fn document(path: &Path) -> Result<Document, String> {
    if path == Path::new(STDIN) {
        return Ok(Document { name: STDIN.to_owned(), text: text_of(std::io::stdin().lock())? });
    }
    Ok(Document { name: path.display().to_string(), text: files::read_text(path)? })
}

fn text_of(input: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    input
        .take(MAX_BODY as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read standard input: {error}"))?;
    if bytes.len() > MAX_BODY {
        return Err(format!("standard input is larger than {} MiB", MAX_BODY >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("standard input is no text: byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_is_text_of_bounded_size() {
        assert_eq!(text_of(&b"kind: Gateway"[..]).unwrap(), "kind: Gateway");
        assert!(text_of(&b"a\xff"[..]).unwrap_err().contains("byte 2"));
        assert!(text_of(std::io::repeat(b' ')).unwrap_err().contains("MiB"));
        assert!(matches!(names(&["-".into(), "-".into()]), Err(Stop::Usage(_))));
    }
}
