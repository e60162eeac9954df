//! The documents of the repository as text: which there are, their fences and their lines.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A document.
pub(crate) struct Page {
    /// Path from the folder of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Text between fences of three backticks.
pub(crate) struct Fence {
    /// The word behind the first backticks: the language.
    pub(crate) language: String,
    pub(crate) text: String,
    /// The line of its first line of text.
    pub(crate) line: usize,
}

/// Every document, sorted by path.
pub(crate) fn all() -> Vec<Page> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    let mut pages: Vec<Page> = found.iter().map(|path| read(path)).collect();
    pages.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(pages.iter().any(|page| page.path == "README.md"), "no README.md below {}", root().display());
    pages
}

/// One document by its path from the folder of the repository.
pub(crate) fn page(path: &str) -> Page {
    read(&root().join(path))
}

fn read(path: &Path) -> Page {
    let inside = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Page { path: inside, text }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

impl Page {
    pub(crate) fn fences(&self) -> Vec<Fence> {
        let mut fences = Vec::new();
        let mut open: Option<Fence> = None;
        for (index, line) in self.text.lines().enumerate() {
            let mark = line.trim_start().strip_prefix("```");
            match (mark, &mut open) {
                (Some(language), None) => {
                    open = Some(Fence { language: language.to_owned(), text: String::new(), line: index + 2 });
                }
                (Some(_), Some(_)) => fences.extend(open.take()),
                (None, Some(fence)) => {
                    fence.text.push_str(line);
                    fence.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence has no end", self.path);
        fences
    }
}
