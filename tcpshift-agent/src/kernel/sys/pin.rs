//! Names in a bpf filesystem: what has one lives on without a process.

use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{bpf, bpf_fd, number};

const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;

/// What commands for a name in a bpf filesystem read.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Gives an object a name in a bpf filesystem, which keeps it alive.
pub(in crate::kernel) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin { path: path.as_ptr() as u64, fd: number(object), flags: 0 };
    // SAFETY: The path ends with a zero and lives until the call is over.
    unsafe { bpf(OBJ_PIN, &mut attributes) }.map(drop)
}

/// Opens what has a name in a bpf filesystem.
pub(in crate::kernel) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: The path ends with a zero and lives until the call is over.
    unsafe { bpf_fd(OBJ_GET, &mut attributes) }
}
