//! The system calls of this room that no library offers as safe functions: fork(2), and the two commands of bpf(2) that the
//! agent has no right to.
//!
//! Commands and fields of bpf(2) are those of `include/uapi/linux/bpf.h`.
#![allow(unsafe_code, reason = "system calls that no library offers, each behind a safe function")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

use super::NewMap;

const MAP_CREATE: u32 = 0;
const MAP_FREEZE: u32 = 22;

/// Forks. Returns none in the child. Fails if this process has more than one thread: of the others the child would have
/// the locks that they hold, and nobody who releases them.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("a process of {threads} threads is not forked")));
    }
    // SAFETY: There is no other thread, so the child finds memory and locks as this thread left them.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        child => Pid::from_raw(child.max(0)).map(Some).ok_or_else(io::Error::last_os_error),
    }
}

/// Ends this process at once: nothing of what it has from its parent is run or written.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: It takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Has signals that a terminal or a service manager sends to a group of processes ignored.
pub(super) fn ignore_signals() -> io::Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE] {
        // SAFETY: `SIG_IGN` is no function that could be called.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Closes all descriptors but these, and has standard input and output lead nowhere. Nobody else may own what is closed:
/// it is for a process that has just been forked.
pub(super) fn close_others(kept: &[OwnedFd]) -> io::Result<()> {
    let kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2 && !kept.contains(descriptor)) {
        // SAFETY: The caller says that nobody uses it. The folder that was read is among them, and is closed by now.
        unsafe { libc::close(descriptor) };
    }
    let nowhere = std::fs::File::options().read(true).write(true).open("/dev/null");
    for standard in 0..=2 {
        let done = match &nowhere {
            // SAFETY: The caller says that nobody uses what is replaced.
            Ok(nowhere) => unsafe { libc::dup2(nowhere.as_raw_fd(), standard) },
            // A chroot may have no devices.
            // SAFETY: As above.
            Err(_) => unsafe { libc::close(standard) },
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Makes a map, of these types.
pub(super) fn create_map(map: &NewMap, types: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        inner_map: u32,
        numa_node: u32,
        name: [u8; 16],
        device: u32,
        types: i32,
        key_type: u32,
        value_type: u32,
    }
    let NewMap { kind, key, value, entries, flags, name, key_type, value_type } = *map;
    let mut attributes = Attributes {
        kind,
        key,
        value,
        entries,
        flags,
        inner_map: 0,
        numa_node: 0,
        name,
        device: 0,
        types: types.as_raw_fd(),
        key_type,
        value_type,
    };
    // SAFETY: No pointers, and the kernel gives a new descriptor that nobody else has.
    unsafe { bpf(MAP_CREATE, &mut attributes).map(|made| OwnedFd::from_raw_fd(made)) }
}

/// Has only programs write to a map from now on.
pub(super) fn freeze_map(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: No pointers.
    unsafe { bpf(MAP_FREEZE, &mut [map.as_raw_fd()]) }.map(drop)
}

/// Calls bpf(2).
///
/// # Safety
///
/// Attributes may have no pointers.
unsafe fn bpf<T>(command: u32, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: The kernel reads and writes no more than the size that it is told, and follows no pointer.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    match RawFd::try_from(done) {
        Ok(done) if done >= 0 => Ok(done),
        _ => Err(io::Error::last_os_error()),
    }
}
