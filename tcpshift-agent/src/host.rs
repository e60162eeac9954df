//! The host room: what the kernel says of this host's addresses, sockets and memory. It is read, and nothing is changed.

pub mod addresses;
pub mod cookies;
pub mod memory;
pub mod sockets;
