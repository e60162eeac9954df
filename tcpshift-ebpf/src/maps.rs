//! Every map of the object. `bpftool map` shows them by these names.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;

/// What people are told of a destination.
#[repr(C)]
pub(crate) struct Destination {
    /// Its name, ended by zeros; `build-ebpf` makes `i8` the type of letters.
    pub(crate) name: [i8; 64],
    /// Connections that it was given.
    pub(crate) connections: u64,
}

#[btf_map]
pub(crate) static DESTINATIONS: Array<Destination, 16> = Array::new();
