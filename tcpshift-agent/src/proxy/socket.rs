//! A stream that ends with RST unless it was ended in order, and the options every stream has.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::stream::Stream;
use crate::plan::Keepalive;

/// Silence after which a dead peer is looked for. How often, and how many probes go unanswered, is the system's own: every 75 s,
/// and 9, where nobody changed it.
const KEEPALIVE: Duration = Duration::from_mins(5);

/// Sets what every accepted stream has: on the listening socket, which hands it on.
pub(super) fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    keep_urgent(socket)?;
    socket.set_linger(Some(Duration::ZERO))?;
    look_for_dead_peers(socket)
}

/// Keeps what comes as urgent in line: it is carried where it stands.
pub(super) fn keep_urgent(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_out_of_band_inline(true)
}

/// Has a peer looked for after a long silence.
pub(super) fn look_for_dead_peers(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// The longest that the system takes of each: seconds, seconds, probes.
const KEEPALIVE_MOST: (Duration, Duration, u32) = (Duration::from_secs(32_767), Duration::from_secs(32_767), 127);

/// Has a peer looked for as a plan says; what it leaves open is the system's own.
pub(super) fn keep_alive(socket: &SockRef<'_>, keepalive: &Keepalive) -> io::Result<()> {
    let Keepalive { probes, time, interval } = *keepalive;
    let (time_most, interval_most, probes_most) = KEEPALIVE_MOST;
    // The system counts whole seconds, from 1.
    let least = Duration::from_secs(1);
    let mut wanted = TcpKeepalive::new();
    if let Some(time) = time {
        wanted = wanted.with_time(time.clamp(least, time_most));
    }
    if let Some(interval) = interval {
        wanted = wanted.with_interval(interval.clamp(least, interval_most));
    }
    if let Some(probes) = probes {
        wanted = wanted.with_retries(probes.clamp(1, probes_most));
    }
    socket.set_tcp_keepalive(&wanted)
}

/// One side of a connection. If it is dropped it sends RST and discards unsent bytes: the peer must see a reset when the
/// connection cannot be served, is cut off, breaks on the other side, or its agent is killed.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: Stream,
    ended: bool,
}

impl Socket {
    /// One that was accepted, from a listening socket that is [tuned](tune): also when the kernel closes it after a `kill -9`
    /// it is reset. One that waited before its socket was tuned may not be.
    pub(super) fn accepted(stream: Stream) -> Self {
        Self { stream, ended: false }
    }

    /// One to an endpoint. Closing it resets it, also when the kernel does.
    pub(super) fn dialled(stream: Stream) -> Self {
        if let Err(error) = stream.reset_on_close(true) {
            log::debug!("a connection will be closed without RST: {error}");
        }
        Self { stream, ended: false }
    }

    /// Closing it sends no RST: both directions have come to their end.
    pub(super) fn end(&mut self) {
        if let Err(error) = self.stream.reset_on_close(false) {
            log::debug!("a connection is closed with RST: {error}");
        }
        self.ended = true;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.stream.reset_on_close(true)
        {
            log::debug!("a connection is closed without RST: {error}");
        }
    }
}
