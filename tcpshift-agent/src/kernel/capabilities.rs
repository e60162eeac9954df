//! Which capabilities the programs need to start, and which one an old kernel has an agent keep.
//!
//! To start: `CAP_BPF` and `CAP_NET_ADMIN` (loading and attaching programs), `CAP_SYS_ADMIN` (opening types
//! by number, mounting the bpf filesystem). For life none, since a helper makes maps ([`crate::rights`]): all else that the
//! agent does is for descriptors that it has. Before Linux 5.19 bpf(2) refuses that too where
//! `kernel.unprivileged_bpf_disabled` is set (`__sys_bpf`, 5.18,
//! <https://elixir.bootlin.com/linux/v5.18/source/kernel/bpf/syscall.c>).

use std::io;
use std::os::fd::BorrowedFd;

use anyhow::{Context, Result};
use rustix::thread::CapabilitySet;

use super::{Kernel, sys};
use crate::trust::rights;

/// What loading and attaching needs.
const NEEDED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
];

/// Those that this thread has not, of what loading and attaching needs.
pub(super) fn missing() -> Result<Vec<&'static str>> {
    let effective = rights::effective().context("cannot read the capabilities of this process")?;
    Ok(NEEDED.iter().filter(|(one, _)| !effective.contains(*one)).map(|(_, name)| *name).collect())
}

/// All that loading and attaching needs.
pub(super) fn needed() -> [&'static str; 3] {
    NEEDED.map(|(_, name)| name)
}

/// What is needed for maps as long as they are used, by what the kernel does: this one of them is looked at without rights.
pub(super) fn for_life(map: BorrowedFd<'_>) -> io::Result<CapabilitySet> {
    let some = CapabilitySet::BPF | CapabilitySet::SYS_ADMIN;
    match rights::without(some, || sys::map_info(map))? {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(CapabilitySet::BPF),
        _ => Ok(CapabilitySet::empty()),
    }
}

impl Kernel {
    /// The capabilities that this kernel wants of an agent for its maps, as long as it lives.
    pub fn needs_for_life(&self) -> io::Result<CapabilitySet> {
        for_life(self.maps.plan())
    }
}
