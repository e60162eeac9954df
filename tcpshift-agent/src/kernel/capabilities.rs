//! Which capabilities the programs need, and those that an agent needs no more once it has started.
//!
//! To start: `CAP_BPF` and `CAP_NET_ADMIN` (loading and attaching `sock_ops` programs), `CAP_SYS_ADMIN` (opening types by
//! number, mounting the bpf filesystem). For life: `CAP_BPF`, since every plan makes maps. It must not know why a program is loaded.

use anyhow::{Context, Result};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// What an agent may need as long as it lives: maps for every plan; ports below 1024; files of others, which route files
/// may be; and the names of processes that hold a port.
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_RESOURCE);

/// What loading and attaching needs.
const NEEDED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
];

/// Those that this thread has not, of what loading and attaching needs.
pub(super) fn missing() -> Result<Vec<&'static str>> {
    let effective = capabilities(None).context("cannot read the capabilities of this process")?.effective;
    Ok(NEEDED.iter().filter(|(one, _)| !effective.contains(*one)).map(|(_, name)| *name).collect())
}

/// All that loading and attaching needs.
pub(super) fn needed() -> [&'static str; 3] {
    NEEDED.map(|(_, name)| name)
}

/// Drops, from this thread and from those that it starts from now on, what is not needed for life. To be called before
/// there are others.
pub fn drop_unneeded() -> Result<()> {
    let sets = capabilities(None).context("cannot read the capabilities of this process")?;
    let CapabilitySets { effective, permitted, inheritable } = sets;
    let kept =
        CapabilitySets { effective: effective & KEPT, permitted: permitted & KEPT, inheritable: inheritable & KEPT };
    set_capabilities(None, kept).context("cannot drop capabilities")
}
