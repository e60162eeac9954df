//! What every datapath shares: addresses, the seeded hash, and the one function that decides which
//! destination and which endpoint a new connection gets.
//!
//! This crate is `no_std`, allocates nothing and has no dependency, so that the same code can run in the agent and in a
//! kernel program. Loads, counters and random words are handed in.

#![no_std]
#![forbid(unsafe_code)]

pub mod address;
pub mod decide;
pub mod destination;
pub mod hash;
pub mod layout;
pub mod listener;

/// Slots in one route's weight table. One slot is one basis point: 0.01 % of the new connections.
pub const SLOTS: u32 = 10_000;

/// The seed of every hash unless the operator gives another (`run --seed`).
///
/// It is fixed so that a sticky client keeps its destination over a restart, and so that two agents with the
/// same route files send the same client to the same destination. The bytes read `tcpshift`.
pub const DEFAULT_SEED: u64 = 0x7463_7073_6869_6674;
