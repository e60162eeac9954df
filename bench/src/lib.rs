//! What `cargo xtask bench datapaths` runs: a server and a load that cost less than anything measured, and the
//! contenders side by side in network namespaces.
//!
//! It uses tcpshift by its command line and its admin socket, as it uses the others by theirs.

pub mod clock;
pub mod datapaths;
pub mod load;
mod poll;
pub mod serve;
