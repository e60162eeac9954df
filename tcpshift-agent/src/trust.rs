//! The trust room: which users this process trusts. It checks who can change the file that a path leads to, and who answers at
//! a unix socket; and it cleans texts of other users before they are printed.
//!
//! Every room that reads files other users could have written asks here, so that one rule holds everywhere.

pub mod folder;
pub mod owners;
pub mod path;
pub mod peer;
pub mod rights;
pub mod text;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a file, a folder or a link is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// The file, the folder or the link itself, not what was asked for.
    pub path: PathBuf,
    /// What is wrong with it.
    pub doubt: Doubt,
}

/// What lets another user change a file, a folder or a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It belongs to this user.
    Owner {
        /// The user's number.
        uid: u32,
        /// Its mode, as chmod(1) takes it.
        mode: u32,
    },
    /// Everybody may write it, or a group that has other members than its owner.
    Writable {
        /// Its mode, as chmod(1) takes it.
        mode: u32,
        /// The group that may, unless everybody may.
        group: Option<u32>,
    },
    /// Everybody may put files into this folder: it has the sticky bit, as /tmp has, or is a volume that is mounted
    /// read-only.
    Shared {
        /// Its mode, as chmod(1) takes it.
        mode: u32,
    },
    /// It is a link, or something else than a file or a folder, where only those are taken.
    Link,
}

impl Untrusted {
    fn new(path: &Path, doubt: Doubt) -> Self {
        Self { path: path.to_owned(), doubt }
    }

    /// The command that mends it.
    pub fn cure(&self) -> String {
        let path = text::shown(&self.path);
        match self.doubt {
            Doubt::Owner { .. } => format!("chown {} {path}", rustix::process::geteuid().as_raw()),
            Doubt::Writable { .. } | Doubt::Shared { .. } => format!("chmod go-w {path}"),
            Doubt::Link => format!("look who made it, and remove {path}"),
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = text::shown(&self.path);
        match self.doubt {
            Doubt::Owner { uid, mode } => write!(f, "{path} belongs to user {uid} (mode {mode:04o})"),
            Doubt::Writable { mode, group: None } => write!(f, "{path} can be written by everybody (mode {mode:04o})"),
            Doubt::Writable { mode, group: Some(gid) } => {
                write!(f, "{path} can be written by all of group {gid} (mode {mode:04o})")
            }
            Doubt::Shared { mode } => write!(f, "everybody can put files into {path} (mode {mode:04o})"),
            Doubt::Link => write!(f, "{path} is a link, or neither a file nor a folder"),
        }
    }
}

impl std::error::Error for Untrusted {}

/// Why a path is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another user may change what it leads to.
    #[error("{0}")]
    Untrusted(#[from] Untrusted),
    /// The system refuses.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl From<rustix::io::Errno> for OpenError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.into())
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::System(error) => error,
            OpenError::Untrusted(untrusted) => {
                let message = format!("{untrusted}; type: {}", untrusted.cure());
                Self::new(io::ErrorKind::PermissionDenied, message)
            }
        }
    }
}
