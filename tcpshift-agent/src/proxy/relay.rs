//! The last stage: carries the bytes of one connection, both ways, in one task.
//!
//! Nothing is read while bytes are unwritten, so a slow reader slows its writer. An end of stream is carried as one,
//! each way for itself; a reset is carried as a reset, and never as an end of stream: it is reported, and `carry` then drops
//! both sockets, which resets them (`socket`). A connection that is still holds no buffer.

mod first;
mod leave;
mod way;

use std::future;
use std::mem;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::carriers::Carriers;
use super::lifetime::Lifetime;
use super::reactor::sleep;
use super::stream::Stream;
use crate::connections::{Connection, Direction, Ended, LiveStage};
pub(super) use first::FirstBytes;
use leave::Leave;
use way::{Broken, Waits, Way};

/// How long a side that takes no more bytes may be silent before its stream counts as broken too.
const LAST_SILENCE: Duration = Duration::from_mins(1);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both directions were carried to their end.
    InOrder,
    /// One side broke; the other has to be reset.
    Reset,
    /// It has lasted as long as it may.
    Expired {
        reason: Ended,
        /// Whether bytes that one side sent have not reached the other: their loss must not look like an end.
        cut: bool,
    },
}

/// Carries bytes between two streams until both directions have ended, one side breaks, or its lifetime is over.
pub(super) async fn relay(
    one: &Stream,
    other: &Stream,
    carriers: &Carriers,
    connection: &Connection,
    first: FirstBytes,
    lifetime: &mut Lifetime,
) -> Ending {
    let row = connection.row();
    let mut forth = Way::new(one, other, carriers, (connection, Direction::Forth));
    forth.begin_with(first);
    let mut back = Way::new(other, one, carriers, (connection, Direction::Back));
    let mut leave = Leave::default();
    let over = {
        future::poll_fn(|cx| {
            // The second way is not polled when the first one broke: a write that fails takes the socket's error,
            // and to the read that follows the socket then looks like one whose peer has ended its stream.
            let forth_waits = match forth.poll(cx, back.is_over()) {
                Ok(waits) => waits,
                Err(Broken::Source) => return Poll::Ready(Over::Reset),
                Err(Broken::Sink { told }) => return Poll::Ready(Over::Broken { side: Side::Other, told }),
            };
            let back_waits = match back.poll(cx, forth.is_over()) {
                Ok(waits) => waits,
                Err(Broken::Source) => return Poll::Ready(Over::Reset),
                Err(Broken::Sink { told }) => return Poll::Ready(Over::Broken { side: Side::One, told }),
            };
            if (forth_waits, back_waits) == (Waits::Nothing, Waits::Nothing) {
                return Poll::Ready(Over::InOrder);
            }
            // Who is read from is seen to break by that, after the last byte. Else the error itself is watched
            // for: it is an event only, and stays with the socket.
            if forth_waits.is_blind() && one.poll_broken(cx).is_ready() {
                return Poll::Ready(Over::Broken { side: Side::One, told: false });
            }
            if back_waits.is_blind() && other.poll_broken(cx).is_ready() {
                return Poll::Ready(Over::Broken { side: Side::Other, told: false });
            }
            if mem::take(&mut forth.moved) | mem::take(&mut back.moved) {
                row.touch();
            }
            if row.stage() == LiveStage::Open && (forth.is_over() || back.is_over()) {
                row.reach(LiveStage::HalfClosed);
            }
            if let Poll::Ready(is_quiet) = leave.poll(cx, row, || forth.has_bytes() || back.has_bytes()) {
                return Poll::Ready(if is_quiet { Over::Parting } else { Over::Expired(Ended::Closed) });
            }
            lifetime.poll(cx, row).map(Over::Expired)
        })
        .await
    };
    // What is seldom and long is boxed, so that no other connection holds room for it.
    match over {
        // A reset that came after both ends is still one.
        Over::InOrder if one.is_sound() && other.is_sound() => Ending::InOrder,
        Over::InOrder | Over::Reset => Ending::Reset,
        Over::Expired(reason) => Ending::Expired { reason, cut: forth.has_bytes() || back.has_bytes() },
        Over::Parting => Box::pin(leave::part(&mut forth, &mut back)).await,
        Over::Broken { side: Side::One, told } => Box::pin(rest(&mut forth, told, other, connection, lifetime)).await,
        Over::Broken { side: Side::Other, told } => Box::pin(rest(&mut back, told, one, connection, lifetime)).await,
    }
}

/// Carries what a broken side has sent before it broke: a write may find out before all of it is read. `told` says
/// that the write took the socket's error with it, so that the end of what can be read is the break.
///
/// A TCP socket that cannot be written to is dead, and what it got is there already. A unix socket may go on
/// sending after its peer has shut down reading; it is waited for no longer than the connection may last, the
/// other side lives, and it is not silent for [`LAST_SILENCE`].
async fn rest(
    last: &mut Way<'_>,
    told: bool,
    sink: &Stream,
    connection: &Connection,
    lifetime: &mut Lifetime,
) -> Ending {
    let row = connection.row();
    if told {
        last.cut();
    }
    let waits_for_room = last.is_from_unix();
    let mut silence = sleep(LAST_SILENCE);
    future::poll_fn(|cx| {
        match last.poll(cx, false) {
            Ok(Waits::Bytes) => {}
            Ok(Waits::Room) if waits_for_room => {}
            // A unix socket has told its true end, and knows no reset. A close in order sends what is unsent.
            Ok(Waits::Nothing) if last.is_from_unix() => return Poll::Ready(Ending::InOrder),
            Ok(Waits::Room | Waits::Nothing) | Err(_) => return Poll::Ready(Ending::Reset),
        }
        if sink.poll_broken(cx).is_ready() {
            return Poll::Ready(Ending::Reset);
        }
        if mem::take(&mut last.moved) {
            silence.reset(Instant::now() + LAST_SILENCE);
            row.touch();
        }
        if silence.poll_over(cx).is_ready() {
            return Poll::Ready(Ending::Reset);
        }
        let reason = match row.closing(cx) {
            Some(_) => Poll::Ready(Ended::Closed),
            None => lifetime.poll(cx, row),
        };
        reason.map(|reason| Ending::Expired { reason, cut: true })
    })
    .await
}

/// Why no more is carried.
#[derive(Clone, Copy, Debug)]
enum Over {
    InOrder,
    /// A read said that its side is broken; all it sent is read.
    Reset,
    /// A side broke before all it sent was read.
    Broken {
        side: Side,
        /// Whether a write has taken the error from the socket.
        told: bool,
    },
    Expired(Ended),
    /// Somebody asked for its end, and it is quiet.
    Parting,
}

/// Which side broke.
#[derive(Clone, Copy, Debug)]
enum Side {
    One,
    Other,
}
