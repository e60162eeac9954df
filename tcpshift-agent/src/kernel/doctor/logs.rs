//! The folder where the verifier's logs are kept: one file for each program, for its user alone.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::trust::folder::Folder;
use crate::trust::text::shown;

/// A file on the way to its name.
const BESIDE: &str = ".tcpshift-doctor.new";

/// A folder that is this user's own.
#[derive(Debug)]
pub struct Logs {
    folder: Folder,
    path: PathBuf,
}

impl Logs {
    /// Opens the folder, and makes it (mode 0700) where it is missing. Errors: it cannot be made, or somebody else may write
    /// it; the text has the cure.
    pub fn open(path: &Path) -> Result<Self> {
        let absolute = std::path::absolute(path).context("cannot tell the working directory")?;
        let folder = Folder::make(&absolute).map_err(std::io::Error::from).with_context(|| {
            format!("cannot keep logs in {}; name a folder that is root's own, such as /root/doctor", shown(path))
        })?;
        Ok(Self { folder, path: path.to_owned() })
    }

    /// Writes `NAME.log` (mode 0600) and replaces a file of that name. A link of that name is replaced, and never followed.
    pub(super) fn write(&self, name: &str, log: &str) -> Result<()> {
        let file = file(name);
        self.folder.replace(Path::new(&file), log.as_bytes(), BESIDE, false).map_err(std::io::Error::from).with_context(
            || {
                format!(
                    "cannot write {}; see to room on the disk, or name another folder",
                    shown(&self.path.join(&file))
                )
            },
        )
    }
}

/// The name of a program's file. A foreign object may have any bytes in the names of its programs.
fn file(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
    let name: String = name.chars().take(64).map(letter).collect();
    format!("{name}.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_programs_and_lead_nowhere_else() {
        assert_eq!(file("getpeername4"), "getpeername4.log");
        assert_eq!(file("../../etc/x y"), "------etc-x-y.log");
        assert_eq!(file(&"a".repeat(500)).len(), 68);
    }
}
