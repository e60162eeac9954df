//! How a connection is ended that somebody asked to close: at its next quiet moment, and in order.
//!
//! A moment is quiet when nothing that one side sent is on its way to the other and no byte has passed for [`QUIET`]. Then both
//! sides are told the end of the stream, and have [`FAREWELL`] to end theirs. One that is never quiet is ended in the same way
//! after [`PATIENCE`] if nothing is on its way at that moment; else it is reset, since the loss must not look like an end. So
//! is one that sends on after the end was told, or does not end.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::super::reactor::{Sleep, sleep_until, timeout};
use super::Ending;
use super::way::Way;
use crate::connections::{Ended, LiveRow};

/// How long no byte passes in a quiet moment.
const QUIET: Duration = Duration::from_millis(200);
/// How long a quiet moment is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long both sides have to end their streams.
const FAREWELL: Duration = Duration::from_secs(5);

/// Waits for a quiet moment, once somebody has asked.
#[derive(Debug, Default)]
pub(super) struct Leave {
    timer: Option<Box<Sleep>>,
}

impl Leave {
    /// Ready when the connection is to be ended; whether it is quiet.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, row: &LiveRow, has_bytes: impl Fn() -> bool) -> Poll<bool> {
        let Some(asked) = row.closing(cx) else { return Poll::Pending };
        let last_moment = asked + PATIENCE;
        loop {
            let now = Instant::now();
            let mut quiet = row.last() + QUIET;
            if now >= last_moment {
                return Poll::Ready(!has_bytes());
            }
            if now >= quiet {
                if !has_bytes() {
                    return Poll::Ready(true);
                }
                quiet = now + QUIET;
            }
            let next = quiet.min(last_moment);
            let timer = self.timer.get_or_insert_with(|| Box::new(sleep_until(next)));
            if timer.deadline() != next {
                timer.reset(next);
            }
            if timer.poll_over(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Tells both sides the end of the stream, and waits for theirs.
pub(super) async fn part(forth: &mut Way<'_>, back: &mut Way<'_>) -> Ending {
    forth.end_sink();
    back.end_sink();
    let ended = std::future::poll_fn(|cx| match (forth.poll_end(cx), back.poll_end(cx)) {
        (Poll::Ready(false), _) | (_, Poll::Ready(false)) => Poll::Ready(false),
        (Poll::Ready(true), Poll::Ready(true)) => Poll::Ready(true),
        _ => Poll::Pending,
    });
    let in_order = timeout(FAREWELL, ended).await.unwrap_or(false);
    Ending::Expired { reason: Ended::Closed, cut: !in_order }
}
