//! Endpoint sets: a header and a row for each endpoint, one after the other in a chunk of memory.
//!
//! A set is never written to once programs may read it: another one takes its place, in other rows, by one write of the word
//! in map `sets` that says where it begins.

use crate::address::Address;
use crate::destination::{DestinationFacts, EndpointFacts};

/// Chunks of endpoint sets that there may be.
pub const CHUNKS: u32 = 4096;

/// In the port of an [`EndpointRow`]: the endpoint is the address that the client asked for.
pub const ORIGINAL: u32 = 1 << 16;

/// The header of a set.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetRow {
    /// Where its hash table begins, as in map `sets`: the chunk times 2^32, and the row in it. Meaningless unless it has one.
    pub hash: u64,
    /// What the decision reads of it. The number is the destination's, and 0 here.
    pub decides: DestinationFacts,
}

/// An endpoint of a set.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointRow {
    /// Where it is; all zero for a unix socket, and for [`ORIGINAL`].
    pub address: Address,
    /// Host order; 0 for a unix socket. With [`ORIGINAL`] it is added to that, 0 for the port that was asked for.
    pub port: u32,
    /// What the decision reads of it.
    pub decides: EndpointFacts,
}

/// A row of a chunk of endpoint sets, of map `endpoints`. Which of both it is, follows from where sets begin.
#[repr(C)]
#[derive(Clone, Copy)]
pub union SetCell {
    /// The header of a set.
    pub set: SetRow,
    /// One of the endpoints after it.
    pub endpoint: EndpointRow,
}

/// A row of a hash table: two endpoints a row, since a row of a map takes eight bytes at least.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashRow {
    /// The endpoint's index in its destination, of an even and of an odd cell of the table.
    pub endpoints: [u32; 2],
}

/// Sizes without padding.
const _: () = {
    assert!(size_of::<SetRow>() == 32);
    assert!(size_of::<EndpointRow>() == 32);
    assert!(size_of::<SetCell>() == 32);
    assert!(size_of::<HashRow>() == 8);
};
