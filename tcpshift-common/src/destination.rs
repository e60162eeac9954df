//! Destinations and endpoints as the decision sees them: numbers and weights, no names and no addresses.

/// How a destination chooses among its endpoints.
pub mod policy {
    /// Two drawn by weight; the first is taken unless the second has fewer live connections for its weight.
    pub const LEAST_REQUEST: u32 = 0;
    /// In turn, each as often as its weight says.
    pub const ROUND_ROBIN: u32 = 1;
    /// Drawn by weight.
    pub const RANDOM: u32 = 2;
    /// By the seeded hash of the client's address, without its port, and a table: a client keeps its endpoint.
    pub const SOURCE_HASH: u32 = 3;
}

/// What the decision needs to know of a destination.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DestinationFacts {
    /// Stable number, the same over edits while a connection may hold it.
    pub number: u32,
    /// Endpoints it has.
    pub endpoints: u32,
    /// Sum of their weights; 0 only if there are none.
    pub weight: u32,
    /// One of [`policy`].
    pub policy: u32,
    /// `ROUND_ROBIN` only: how far one turn steps through the weights; shares no factor with `weight`.
    pub stride: u32,
    /// `SOURCE_HASH` only: cells of its hash table.
    pub places: u32,
}

/// What the decision needs to know of an endpoint.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointFacts {
    /// Stable number, the same over edits while a connection may hold it.
    pub number: u32,
    /// Its share of the destination; at least 1.
    pub weight: u32,
    /// The sum of the weights of the endpoints up to and including this one.
    pub upto: u32,
}
