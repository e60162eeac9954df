//! Listening sockets of endpoints of this host: where they are kept, and how many.

use crate::address::Address;

/// Listening sockets of one address and port that are kept, if several share it (`SO_REUSEPORT`).
pub const SHARERS: u32 = 1024;

/// Endpoints of a destination that are tried at most if nobody listens at the one that was chosen.
pub const TRIES: u32 = 1024;

/// Key of map `listening`, which holds listening sockets of endpoints, each in one cell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListeningKey {
    /// What it is bound to; unspecified if it takes connections to every address.
    pub address: Address,
    /// Host order; 0 for the agent's own socket that refuses.
    pub port: u32,
    /// Which of those that share both, below [`SHARERS`].
    pub sharer: u32,
}

impl ListeningKey {
    /// The agent's own socket that packets are handed to if their connection is refused.
    pub const REFUSER: Self = Self { address: Address { high: 0, low: 0 }, port: 0, sharer: 0 };
}

/// Endpoints of this host that there may be at a time.
pub const OWN_ENDPOINTS: u32 = 32_768;

/// Rows of map `own_endpoints`, which gives the index of a [`GroupRow`] for an address and port: those of each endpoint, and
/// of each form of the unspecified address at its port.
pub const GROUPS: u32 = 3 * OWN_ENDPOINTS;

/// Sockets in map `listening`: four for each endpoint.
pub const LISTENING: u32 = 4 * OWN_ENDPOINTS;

/// Map `groups`: the sockets of map `listening` that share an address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupRow {
    /// All of them are in cells below this one. It never goes down while the row is in use.
    pub upto: u64,
    /// The cell where a socket was found last.
    pub hint: u64,
}

/// Words of a [`GroupRow`].
pub const GROUP_WORDS: u32 = 2;

/// An address and port; the key of map `own_endpoints`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressPort {
    /// Address.
    pub address: Address,
    /// Host order.
    pub port: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Sizes without padding.
const _: () = {
    assert!(size_of::<ListeningKey>() == 24);
    assert!(size_of::<GroupRow>() == GROUP_WORDS as usize * 8);
    assert!(size_of::<AddressPort>() == 24);
};
