//! The bpf(2) calls that aya lacks, and counters as memory (`words`). Only here is `unsafe` code of the agent.
//!
//! Commands and fields are those of `include/uapi/linux/bpf.h`; each struct here is the part of `union bpf_attr` that
//! its command reads.
#![allow(unsafe_code, reason = "system calls that no library offers, each behind a safe function")]

mod link;
mod map;
mod pin;
mod programs;
mod rows;
mod words;

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub(super) use self::link::{attach, detach, hook, link_cgroup, replace};
pub(super) use self::map::{Map, MapInfo, create_like, create_words, map_info, map_type, types};
pub(super) use self::pin::{pin, pinned};
pub(super) use self::programs::{ProgramToLoad, code, load_program, load_types};
pub(super) use self::rows::{MapRow, bytes, header, row};
pub(super) use self::words::MappedWords;
pub(super) use crate::rights::freeze_map as freeze;

const OBJ_GET_INFO_BY_FD: u32 = 15;

/// Calls bpf(2).
///
/// # Safety
///
/// Every pointer in `attributes` must be what the command expects of it, for as long as the call lasts.
unsafe fn bpf<T>(command: u32, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: The kernel reads and writes no more than the size that it is told.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    match RawFd::try_from(done) {
        Ok(done) if done >= 0 => Ok(done),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As [`bpf`], for commands that give a descriptor.
///
/// # Safety
///
/// As of [`bpf`].
unsafe fn bpf_fd<T>(command: u32, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: The caller's, and the kernel gives a new descriptor that nobody else has.
    unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>() as u64
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn object_info<T>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        length: u32,
        info: u64,
    }
    let info = std::ptr::from_mut(info) as u64;
    let mut attributes = Attributes { fd: number(object), length: size_of::<T>() as u32, info };
    // SAFETY: The kernel writes no more than `length` bytes there, and the structs that are handed in are numbers.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }.map(drop)
}

/// The cookie of a socket's network namespace.
pub(super) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let (mut cookie, mut length) = (0_u64, size_of::<u64>() as libc::socklen_t);
    let value = std::ptr::from_mut(&mut cookie).cast();
    // SAFETY: The kernel writes no more than `length` bytes there.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, value, &raw mut length)
    };
    if done == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
