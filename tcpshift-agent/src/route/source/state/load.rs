//! Reads the objects of a state directory, as they are once its journal is carried out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::journal::Journal;
use super::paths::{OBJECTS, VERSION, object};
use super::{files, refused};
use crate::route::object::{Object, Origin};
use crate::route::problem::{Problem, Severity};
use crate::route::read::{self, ReadDocument};
use crate::trust;
use crate::trust::folder::Folder;
use crate::trust::text;

/// The largest file of a version that is read, in bytes.
const LONGEST_VERSION: u64 = 64;

/// The objects, the version of the store (at least), and the problems of files that hold no valid object; those files stay.
/// Errors: a file or a folder belongs to another user, is a link, or can be written by others.
pub(super) fn load(root: &Folder, unfinished: &Journal) -> anyhow::Result<(Vec<Object>, u64, Vec<Problem>)> {
    let (mut objects, mut problems) = (Vec::new(), Vec::new());
    for (path, text) in texts(root, unfinished)? {
        let name = text::shown(&root.path().join(&path));
        let read = match text {
            Some(text) => Ok(text.clone()),
            None => match root.read(&path, files::LARGEST) {
                Ok(Some(bytes)) => files::text_of(bytes.as_slice()),
                Ok(None) => continue,
                Err(trust::OpenError::System(error)) => Err(files::Unread::Unreadable(error)),
                Err(error) => return Err(refused(root.path(), error)),
            },
        };
        match read {
            Ok(text) => read_objects(&name, &text, &mut objects, &mut problems),
            Err(unread) => problems.push(Problem::of_file(&name, unread.to_string())),
        }
    }
    Ok((objects, version(root, unfinished)?, problems))
}

/// The paths of all files of objects, with the texts of those that the journal writes.
fn texts<'a>(root: &Folder, unfinished: &'a Journal) -> anyhow::Result<BTreeMap<PathBuf, Option<&'a String>>> {
    let paths = root.files(Path::new(OBJECTS), files::is_read).map_err(|error| refused(root.path(), error))?;
    let mut texts: BTreeMap<_, _> = paths.into_iter().map(|path| (path, None)).collect();
    let waiting = unfinished.write.iter().map(|(path, text)| (object(path), Some(text)));
    texts.extend(waiting.filter(|(path, _)| path.extension().is_some()));
    texts.retain(|path, _| !unfinished.remove.iter().any(|removed| object(removed) == *path));
    Ok(texts)
}

/// The version that the store had at least; 0 if none is stored.
fn version(root: &Folder, unfinished: &Journal) -> anyhow::Result<u64> {
    let waiting = unfinished.write.get(Path::new(VERSION)).cloned();
    let text = if waiting.is_some() {
        waiting
    } else {
        let stored = root.read(&object(VERSION), LONGEST_VERSION).map_err(|error| refused(root.path(), error))?;
        stored.and_then(|text| String::from_utf8(text).ok())
    };
    Ok(text.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

/// Reads the objects of one file.
fn read_objects(name: &str, text: &str, objects: &mut Vec<Object>, problems: &mut Vec<Problem>) {
    let contents = read::read(name, text, None);
    problems.extend(contents.problems.into_iter().filter(|problem| problem.severity == Severity::Error));
    if contents.is_yaml && contents.entries.is_empty() {
        problems.push(Problem::of_file(name, "holds no object"));
    }
    for entry in contents.entries {
        let ReadDocument::Valid(mut object) = entry else { continue };
        let version = object.expected_version.take().and_then(|expected| expected.version.parse().ok());
        object.resource_version = version.unwrap_or(1);
        object.origin = Origin::Applied;
        objects.push(*object);
    }
}
