//! What `lookup` has decided for the packet that this processor is at, until it is known what the packet is.
//!
//! `lookup` sees no flags: a packet that no connection has may ask for one, complete a handshake by a SYN cookie, or be
//! stray. The programs that run for it later, on the same processor and before any other packet there, know. So what is counted
//! is counted by them: `record` when the kernel holds the handshake (`tcp_conn_request` calls `tcp_timeout_init`, 6.18,
//! <https://elixir.bootlin.com/linux/v6.18/source/net/ipv4/tcp_input.c>) or has a connection, `refuse` when a SYN is refused. A
//! stray packet leaves nothing behind.

use core::ptr::{read_volatile, write_volatile};

use tcpshift_common::address::Flow;

use crate::agent;
use crate::maps::{PENDING, SYN_COOKIE};
use crate::rows::Pending;

/// How long a SYN cookie may be answered, in nanoseconds (`TCP_SYNCOOKIE_VALID`).
const COOKIES_VALID: u64 = 120_000_000_000;

impl Pending {
    /// The row of this processor.
    #[inline(always)]
    pub(crate) fn here<'a>() -> Option<&'a mut Self> {
        // SAFETY: Softirqs do not interrupt each other on a processor, and only programs that run there use it.
        PENDING.get_ptr_mut(0).map(|row| unsafe { &mut *row })
    }

    /// The row of this processor, if it is about a flow and nobody knows yet what the packet is.
    #[inline(always)]
    pub(crate) fn of<'a>(flow: &Flow) -> Option<&'a mut Self> {
        Self::here().filter(|pending| pending.is_open != 0 && pending.settlement.flow == *flow)
    }

    /// The packet asks for a connection, which is counted: it has had its turn.
    #[inline(always)]
    pub(crate) fn close(&mut self) {
        self.is_open = 0;
        self.turn.counter = 0;
    }
}

/// Whether the kernel may be answering SYNs by cookies: one was answered a short time ago.
#[inline(always)]
pub(crate) fn is_by_cookies() -> bool {
    let Some(last) = SYN_COOKIE.get_ptr(0) else { return false };
    // SAFETY: An aligned word in the row of a map, which is written whole.
    let last = unsafe { read_volatile(last) };
    last != 0 && agent::now().saturating_sub(last) < COOKIES_VALID
}

/// A connection was established by a SYN cookie.
#[inline(always)]
pub(crate) fn met_cookie() {
    if let Some(last) = SYN_COOKIE.get_ptr_mut(0) {
        // SAFETY: As above.
        unsafe { write_volatile(last, agent::now()) };
    }
}
