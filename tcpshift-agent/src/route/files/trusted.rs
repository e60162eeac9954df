//! Reads watched files, as far as they are to be trusted, and says why one is not.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Unread, text_of};
use crate::route::problem::Problem;
use crate::route::read::{Contents, ReadDocument};
use crate::trust::owners::Owners;
use crate::trust::{self, Doubt, Untrusted, text};

/// The text of a file that is watched, and what lets others change it, where such files are read all the same.
pub(super) type Watched = Result<(String, Option<Untrusted>), NotRead>;

/// Why a file that is watched is not read.
#[derive(Debug)]
pub(super) enum NotRead {
    /// It may be somebody else's text.
    Untrusted(Untrusted),
    Unread(Unread),
}

impl From<Unread> for NotRead {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

/// Reads a file that is watched. What is no file could be read for ever, and a pipe would be waited for.
pub(super) fn read_watched(path: &Path, owners: &Owners, trusts_all: bool) -> Watched {
    let (file, untrusted) = match trust::path::open(path, owners) {
        Ok(file) => (file, None),
        Err(trust::OpenError::Untrusted(untrusted)) if trusts_all => {
            let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            let opened = File::options().read(true).custom_flags(flags).open(path);
            (opened.map_err(Unread::Unreadable)?, Some(untrusted))
        }
        Err(trust::OpenError::Untrusted(untrusted)) => return Err(NotRead::Untrusted(untrusted)),
        Err(trust::OpenError::System(error)) => return Err(Unread::Unreadable(error).into()),
    };
    if !file.metadata().map_err(Unread::Unreadable)?.is_file() {
        return Err(Unread::Unusable("is no regular file".to_owned()).into());
    }
    Ok((text_of(file)?, untrusted))
}

/// What to do. A folder of another user, such as a home, stays that user's.
fn cure(untrusted: &Untrusted) -> String {
    match untrusted.doubt {
        Doubt::Owner { .. } if untrusted.path.is_dir() => "copy the files to a folder of your own".to_owned(),
        _ => format!("type: {}", untrusted.cure()),
    }
}

/// Says that a file or a folder may be somebody else's text.
pub(super) fn distrust(path: &Path, untrusted: &Untrusted) -> Problem {
    let cure = format!("{}; or `run --trust-files`", cure(untrusted));
    let message = format!("is not read, since others could have written it: {untrusted}");
    Problem { cure, ..Problem::of_file(&text::shown(path), message) }
}

/// Refuses the objects that name unix sockets, which may be those of services that obey whoever reaches them.
pub(super) fn refuse_sockets(name: &str, contents: &mut Contents, untrusted: &Untrusted) {
    for entry in &mut contents.entries {
        let ReadDocument::Valid(object) = entry else { continue };
        if !object.spec.names_unix_socket() {
            continue;
        }
        let (key, line) = (object.key.clone(), entry.line());
        contents.problems.push(Problem {
            line,
            object: key.to_string(),
            cure: cure(untrusted),
            ..Problem::of_file(name, format!("unix sockets are refused in files that others may write: {untrusted}"))
        });
        *entry = ReadDocument::Invalid { key, line };
    }
}
