//! Gives up capabilities for good.
//!
//! Dropping a capability alone is not enough: when root starts a program, it gets all of its bounding set back (capabilities(7),
//! "Capabilities and execution of programs by root"). So the capability is removed from the bounding set, root's privilege at
//! execve(2) is switched off and locked, and no program that is started may gain rights (`PR_SET_NO_NEW_PRIVS`).

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capabilities_secure_bits,
    capability_is_in_bounding_set, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs,
};

/// Root is a user like any other from now on, and this cannot be undone.
const LOCKED: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED)
    .union(CapabilitiesSecureBits::KEEP_CAPS_LOCKED)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED);

/// What this thread may use now.
pub fn effective() -> io::Result<CapabilitySet> {
    Ok(capabilities(None)?.effective)
}

/// Gives up, in this thread and in those that it starts from now on, all but these rights; and for programs that it
/// starts, all. What only `CAP_SETPCAP` may change stays as it is without it: then nothing is gained at execve(2) either,
/// since no program gets more than its parent has.
pub fn keep(kept: CapabilitySet) -> io::Result<()> {
    // From here on execve(2) gives nothing, whatever fails below.
    set_no_new_privs(true)?;
    match clear_ambient_capability_set() {
        // Before Linux 4.3 there is none.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    if effective.contains(CapabilitySet::SETPCAP) {
        for one in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
            match capability_is_in_bounding_set(one) {
                Ok(true) if !kept.contains(one) => remove_capability_from_bounding_set(one)?,
                Ok(_) => {}
                // The last that this kernel knows was before.
                Err(_) => break,
            }
        }
        set_capabilities_secure_bits(capabilities_secure_bits()? | LOCKED)?;
    }
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: effective & kept, permitted: permitted & kept, inheritable })?;
    Ok(())
}
