//! What was decided for a connection, in the numbers that stay.

/// The decision a connection keeps for its whole life, in stable numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptDecision {
    /// Of the plan that decided.
    pub generation: u64,
    /// Where it came in.
    pub listener: u32,
    /// The route it fell to.
    pub route: u32,
    /// The destination that has its slot.
    pub destination: u32,
    /// The slot, of 10,000.
    pub slot: u32,
}
