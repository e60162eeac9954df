//! What programs may use of the kernel that they run on: the global `KERNEL`, which the agent sets when it loads them.
//!
//! What a bit stands for is not followed by the verifier where the bit is 0, and need not be there.

/// Atomic additions that give the number before, and atomic comparisons (Linux 5.12).
pub const FETCH: u64 = 1;
/// `bpf_get_netns_cookie` for programs at sockets (Linux 5.15).
pub const SOCKETS_NETNS: u64 = 1 << 1;
/// `bpf_set_retval`, by which connect(2) fails with an error that is chosen (Linux 5.18).
pub const RETVAL: u64 = 1 << 2;
/// `bpf_skc_to_mptcp_sock` for programs at sockets (Linux 5.19).
pub const MPTCP: u64 = 1 << 3;
/// Global functions that take pointers (Linux 5.12). Without, the verifier follows such a function for each call, and `lookup`
/// makes [`FEW`] rounds of each of its loops.
pub const POINTERS: u64 = 1 << 4;

/// All of them.
pub const ALL: u64 = FETCH | SOCKETS_NETNS | RETVAL | MPTCP | POINTERS;

/// Without [`POINTERS`]: the endpoints of a destination that a packet is offered to, and the sockets of one endpoint.
pub const FEW: u32 = 8;
