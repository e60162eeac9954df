//! Which capabilities the programs need, and which an agent keeps once it has started: the others go for good.
//!
//! To start: `CAP_BPF` and `CAP_NET_ADMIN` (loading and attaching programs), `CAP_SYS_ADMIN` (opening types
//! by number, mounting the bpf filesystem). For life: [`KEPT`], and [`TO_COPY`] where listening sockets are copied.

use anyhow::{Context, Result};
use rustix::thread::CapabilitySet;

use crate::trust::rights;

/// What an agent may need as long as it lives: maps for every plan; ports below 1024; route files in folders that only
/// their user may enter; pipes beyond the share of a user (pipe(7), `pipe-user-pages-soft`).
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SYS_RESOURCE);

/// What copying a socket needs that another process listens with (`pidfd_getfd(2)`).
const TO_COPY: CapabilitySet = CapabilitySet::SYS_PTRACE;

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

/// Gives up for good, in this thread and in those that it starts from now on, what is not needed for life. `copies` says
/// whether listening sockets of other processes are copied. To be called before there are other threads.
pub fn drop_unneeded(copies: bool) -> Result<()> {
    let kept = if copies { KEPT | TO_COPY } else { KEPT };
    rights::keep(kept).context("cannot drop capabilities")
}
