//! Links: a program attached to a cgroup or a network namespace, for as long as the link lives.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::{bpf, bpf_fd, number, object_info};

const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;

/// `BPF_LINK_TYPE_CGROUP` of `enum bpf_link_type`.
const LINK_TYPE_CGROUP: u32 = 3;

/// Where programs are attached, of `enum bpf_attach_type`.
pub(in crate::kernel) mod hook {
    /// `BPF_CGROUP_SOCK_OPS`
    pub(in crate::kernel) const SOCK_OPS: u32 = 3;
    /// `BPF_CGROUP_INET4_CONNECT`
    pub(in crate::kernel) const CONNECT4: u32 = 10;
    /// `BPF_CGROUP_INET6_CONNECT`
    pub(in crate::kernel) const CONNECT6: u32 = 11;
    /// `BPF_CGROUP_INET4_GETPEERNAME`
    pub(in crate::kernel) const GETPEERNAME4: u32 = 29;
    /// `BPF_CGROUP_INET6_GETPEERNAME`
    pub(in crate::kernel) const GETPEERNAME6: u32 = 30;
    /// `BPF_SK_LOOKUP`
    pub(in crate::kernel) const SK_LOOKUP: u32 = 36;
}

/// The number of the cgroup that a link attaches its `sock_ops` program to; an error for any other link.
pub(in crate::kernel) fn link_cgroup(link: BorrowedFd<'_>) -> io::Result<u64> {
    /// The head of `struct bpf_link_info`, as of a cgroup link.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        reserved: u32,
        cgroup: u64,
        attach_type: u32,
        more: u32,
    }
    let mut info = Info::default();
    object_info(link, &mut info)?;
    if info.kind != LINK_TYPE_CGROUP || info.attach_type != hook::SOCK_OPS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no link of a sock_ops program to a cgroup"));
    }
    Ok(info.cgroup)
}

/// Attaches a program to a cgroup or a network namespace at one of [`hook`], for as long as the link lives.
pub(in crate::kernel) fn attach(program: BorrowedFd<'_>, target: BorrowedFd<'_>, hook: u32) -> io::Result<OwnedFd> {
    let mut attributes = [number(program), number(target), hook, 0];
    // SAFETY: No pointers.
    unsafe { bpf_fd(LINK_CREATE, &mut attributes) }
}

/// Replaces the program of a link by another one, in one step.
pub(in crate::kernel) fn replace(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = [number(link), number(program), 0, 0];
    // SAFETY: No pointers.
    unsafe { bpf(LINK_UPDATE, &mut attributes) }.map(drop)
}

/// Detaches a link, even if other processes have it open.
pub(in crate::kernel) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = [number(link)];
    // SAFETY: No pointers.
    unsafe { bpf(LINK_DETACH, &mut attributes) }.map(drop)
}
