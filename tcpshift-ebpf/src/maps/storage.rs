//! Storage that belongs to a socket and dies with it, with flags that aya's own kind cannot have.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type, bpf_sock};
use aya_ebpf::helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get};

/// A row for each socket that was given one.
#[repr(C)]
pub(crate) struct Storage<T, const FLAGS: usize> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; FLAGS],
}

// SAFETY: The fields describe the map to the loader and are never read; the kernel synchronises what they stand for.
unsafe impl<T, const FLAGS: usize> Sync for Storage<T, FLAGS> {}

impl<T, const FLAGS: usize> Storage<T, FLAGS> {
    pub(super) const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    fn map(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// What is known of a socket, if anything is.
    ///
    /// # Safety
    ///
    /// The socket must be one that the context of the program has given; only this program's own calls may use the
    /// answer while it runs.
    #[inline(always)]
    pub(crate) unsafe fn get<'a>(&self, socket: *mut bpf_sock) -> Option<&'a mut T> {
        // SAFETY: The kernel checks both, and gives null or a row that stays while the program runs.
        unsafe { bpf_sk_storage_get(self.map(), socket.cast(), ptr::null_mut(), 0).cast::<T>().as_mut() }
    }

    /// Stores a row with a socket, and replaces what there is.
    ///
    /// # Safety
    ///
    /// As of [`Storage::get`].
    #[inline(always)]
    pub(crate) unsafe fn set(&self, socket: *mut bpf_sock, row: &T)
    where
        T: Copy,
    {
        // SAFETY: The caller's.
        if let Some(stored) = unsafe { self.get(socket) } {
            *stored = *row;
            return;
        }
        let value = ptr::from_ref(row).cast_mut().cast();
        // SAFETY: As above; the value is copied.
        unsafe { bpf_sk_storage_get(self.map(), socket.cast(), value, BPF_SK_STORAGE_GET_F_CREATE.into()) };
    }

    /// Forgets what is known of a socket.
    ///
    /// # Safety
    ///
    /// The socket must be one that the context of the program has given, and nobody may use its row afterwards.
    #[inline(always)]
    pub(crate) unsafe fn remove(&self, socket: *mut bpf_sock) {
        // SAFETY: The kernel checks both. That there is nothing is no error here.
        unsafe { bpf_sk_storage_delete(self.map(), socket.cast()) };
    }
}
