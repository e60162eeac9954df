//! What is done when a socket of a cgroup changes its state.

use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;

use crate::maps::DESTINATIONS;

/// Counts, and lets the socket be.
#[sock_ops]
fn assign(_: SockOpsContext) -> u32 {
    if let Some(destination) = DESTINATIONS.get_ptr_mut(0) {
        // SAFETY: the map has an element 0, and the program does not outlive it.
        unsafe { (*destination).connections += 1 };
    }
    1
}
