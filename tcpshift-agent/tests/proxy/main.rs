//! What the proxy datapath promises, over real sockets of the loopback.
#![allow(clippy::unwrap_used, reason = "tests say what is wrong by failing")]

mod bytes;
mod change;
mod decision;
mod ending;
mod limits;
mod live;
mod stall;
mod unix;
mod world;
