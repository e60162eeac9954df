//! The host room: what the kernel says of this host's addresses, sockets and memory. Nothing is changed but by
//! [`diag::destroy`].

pub mod addresses;
pub mod cookies;
pub mod diag;
pub mod memory;
pub mod sockets;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether two paths lead to one file, by whatever names. One that leads nowhere is no file.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    identity(one).is_some_and(|one| identity(other) == Some(one))
}
