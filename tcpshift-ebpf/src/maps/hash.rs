//! Sockets by key, with values of eight bytes: with four, as aya's own kind has them, the agent could not look anything up.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::{BPF_NOEXIST, bpf_map_type, bpf_sk_lookup, bpf_sock_ops};
use aya_ebpf::helpers::generated::{bpf_map_lookup_elem, bpf_sk_assign, bpf_sk_release, bpf_sock_hash_update};

/// `EEXIST`, as the kernel returns it.
pub(crate) const EXISTS: i64 = -17;

/// A socket leaves by itself when it is closed.
#[repr(C)]
pub(crate) struct SocketHash<K, const ENTRIES: usize> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SOCKHASH as usize],
    key: *const K,
    value: *const u64,
    max_entries: *const [i32; ENTRIES],
}

// SAFETY: The fields describe the map to the loader and are never read; the kernel synchronises what they stand for.
unsafe impl<K, const ENTRIES: usize> Sync for SocketHash<K, ENTRIES> {}

impl<K, const ENTRIES: usize> SocketHash<K, ENTRIES> {
    pub(super) const fn new() -> Self {
        Self { r#type: ptr::null(), key: ptr::null(), value: ptr::null(), max_entries: ptr::null() }
    }

    fn map(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// Puts the socket of a callback under a key that no socket has. Fails with [`EXISTS`] if one has it, and with another
    /// error if the kernel does not take the socket, as it takes none of MPTCP.
    ///
    /// # Safety
    ///
    /// The pointer must be the context of the program.
    #[inline(always)]
    pub(crate) unsafe fn add(&self, socket: *mut bpf_sock_ops, key: &K) -> Result<(), i64> {
        let key = ptr::from_ref(key).cast_mut().cast();
        // SAFETY: The kernel checks all of them.
        match unsafe { bpf_sock_hash_update(socket, self.map(), key, BPF_NOEXIST.into()) } {
            0 => Ok(()),
            error => Err(error),
        }
    }

    /// Hands the packet of a lookup to the socket under a key. None if there is no such socket; the error is the
    /// kernel's, negative.
    ///
    /// # Safety
    ///
    /// The pointer must be the context of the program.
    #[inline(always)]
    pub(crate) unsafe fn hand_over(&self, lookup: *mut bpf_sk_lookup, key: &K) -> Option<Result<(), i64>> {
        // SAFETY: The kernel gives null or a socket that is held until it is released.
        let socket = unsafe { bpf_map_lookup_elem(self.map(), ptr::from_ref(key).cast()) };
        if socket.is_null() {
            return None;
        }
        // SAFETY: Both are what the kernel has given.
        let assigned = unsafe { bpf_sk_assign(lookup.cast(), socket, 0) };
        // SAFETY: It is not used any more.
        unsafe { bpf_sk_release(socket) };
        Some(if assigned == 0 { Ok(()) } else { Err(assigned) })
    }
}
