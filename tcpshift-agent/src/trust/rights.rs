//! Gives up capabilities for good.
//!
//! Dropping a capability alone is not enough: when root starts a program, it gets all of its bounding set back
//! (capabilities(7), "Capabilities and execution of programs by root"). So the capability is removed from the bounding set,
//! root's privilege at execve(2) is switched off and locked, and no program that is started may gain rights
//! (`PR_SET_NO_NEW_PRIVS`).

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capabilities_secure_bits,
    capability_is_in_bounding_set, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs,
};

/// Root has no privileges by its user id from now on, and this cannot be undone.
const LOCKED: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED)
    .union(CapabilitiesSecureBits::KEEP_CAPS_LOCKED)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED);

/// The effective capabilities of this thread.
pub fn effective() -> io::Result<CapabilitySet> {
    Ok(capabilities(None)?.effective)
}

/// Does something without some capabilities, which this thread has again after.
pub fn without<T>(some: CapabilitySet, done: impl FnOnce() -> T) -> io::Result<T> {
    let before = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: before.effective - some, ..before })?;
    let done = done();
    set_capabilities(None, before)?;
    Ok(done)
}

/// Gives up all capabilities but these, in this thread and in threads that it starts from now on; programs that it starts get
/// none. Without `CAP_SETPCAP` the bounding set stays as it is; a program still gets no more at execve(2) than its parent has.
pub fn keep(kept: CapabilitySet) -> io::Result<()> {
    // From here on execve(2) grants nothing, even if a call below fails.
    set_no_new_privs(true)?;
    match clear_ambient_capability_set() {
        // Linux before 4.3 has no ambient set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    if effective.contains(CapabilitySet::SETPCAP) {
        for one in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
            match capability_is_in_bounding_set(one) {
                Ok(true) if !kept.contains(one) => remove_capability_from_bounding_set(one)?,
                Ok(_) => {}
                // This kernel knows no capability with a higher number.
                Err(_) => break,
            }
        }
        set_capabilities_secure_bits(capabilities_secure_bits()? | LOCKED)?;
    }
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: effective & kept, permitted: permitted & kept, inheritable })?;
    Ok(())
}
