//! Reads watched files, unless another user could have written them.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Unread, text_of};
use crate::route::problem::Problem;
use crate::route::read::{Contents, ReadDocument};
use crate::trust::owners::Owners;
use crate::trust::{self, Doubt, Untrusted, text};

/// The text of a watched file, and with `--trust-files` what lets other users change it.
pub(super) type Watched = Result<(String, Option<Untrusted>), NotRead>;

/// Why a file that is watched is not read.
#[derive(Debug)]
pub(super) enum NotRead {
    /// Another user could have written it.
    Untrusted(Untrusted),
    Unread(Unread),
}

impl From<Unread> for NotRead {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

/// Reads a watched file. Only regular files are read: a device may have no end, and a pipe would block.
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

/// The cure. It does not change the owner of a folder, which may be a home.
fn cure(untrusted: &Untrusted) -> String {
    match untrusted.doubt {
        Doubt::Owner { .. } if untrusted.path.is_dir() => "copy the files to a folder of your own".to_owned(),
        _ => format!("type: {}", untrusted.cure()),
    }
}

/// The problem of a file or folder that another user could have written.
pub(super) fn distrust(path: &Path, untrusted: &Untrusted) -> Problem {
    let cure = format!("{}; or `run --trust-files`", cure(untrusted));
    let message = format!("is not read, since others could have written it: {untrusted}");
    Problem { cure, ..Problem::of_file(&text::shown(path), message) }
}

/// Refuses the objects that name unix sockets: some services give every client of their socket full control.
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
