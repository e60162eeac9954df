//! How long a connection may last: without a byte, without one while one side has ended its stream, and at all.
//!
//! One timer per connection that has a limit now, and none for the others. A byte only notes the time; the timer is set
//! again when it has run out, so that no message costs one.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::reactor::{Sleep, sleep_until};
use crate::connections::{Ended, LiveRow, LiveStage};
use crate::plan::Limits;

/// What no connection lives to see: the timer takes no later time.
const FAR: Duration = Duration::from_hours(10 * 365 * 24);
/// How long a half-closed connection may be silent where its route does not say.
const HALF_CLOSED: Duration = Duration::from_hours(1);

/// The limits of one connection, and its clock.
#[derive(Debug)]
pub(super) struct Lifetime {
    idle: Option<Duration>,
    half_closed: Option<Duration>,
    /// When it is over at all.
    end: Option<Instant>,
    /// In a place of its own, since most connections need none.
    timer: Option<Box<Sleep>>,
}

impl Lifetime {
    /// Begins now.
    pub(super) fn new(limits: &Limits) -> Self {
        // Zero is the word for no limit.
        let given = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero()).map(|limit| limit.min(FAR));
        let Limits { idle_timeout, max_duration, half_closed_timeout } = *limits;
        let half_closed = given(Some(half_closed_timeout.unwrap_or(HALF_CLOSED)));
        let end = given(max_duration).map(|most| Instant::now() + most);
        Self { idle: given(idle_timeout), half_closed, end, timer: None }
    }

    /// Ready when a limit is reached.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, row: &LiveRow) -> Poll<Ended> {
        let last = row.last();
        let silent_until = self.idle.map(|idle| last + idle);
        let is_half_closed = row.stage() == LiveStage::HalfClosed;
        let half_until = self.half_closed.filter(|_| is_half_closed).map(|limit| last + limit);
        let Some(next) = [silent_until, half_until, self.end].into_iter().flatten().min() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::new(sleep_until(next)));
        if next < timer.deadline() {
            timer.reset(next);
        }
        while timer.poll_over(cx).is_ready() {
            let now = Instant::now();
            let is_over = |limit: Option<Instant>| limit.is_some_and(|limit| limit <= now);
            if is_over(self.end) {
                return Poll::Ready(Ended::MaxDuration);
            }
            if is_over(silent_until) {
                return Poll::Ready(Ended::IdleTimeout);
            }
            if is_over(half_until) {
                return Poll::Ready(Ended::HalfClosedTimeout);
            }
            timer.reset(next);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::reactor::{Reactor, timeout};
    use super::*;
    use crate::connections::{Connection, KeptDecision, LiveSlab};

    /// Runs a test to its end.
    fn run(test: impl Future<Output = ()> + 'static) {
        let told = std::rc::Rc::new(std::cell::Cell::new(false));
        let tell = std::rc::Rc::clone(&told);
        Reactor::new().unwrap().run(async move {
            test.await;
            tell.set(true);
        });
        assert!(told.get());
    }

    fn open() -> Connection {
        let decided = KeptDecision { generation: 1, listener: 0, route: 0, destination: 0, slot: 0 };
        let connection = LiveSlab::new(std::sync::Arc::default()).open(decided, ([192, 0, 2, 1], 1000).into());
        connection.row().reach(LiveStage::Open);
        connection
    }

    #[test]
    fn nothing_is_watched_where_nothing_is_limited() {
        run(async {
            let off = Limits {
                idle_timeout: Some(Duration::ZERO),
                max_duration: None,
                half_closed_timeout: Some(Duration::ZERO),
            };
            for (limits, stage, watched) in [
                (Limits::default(), LiveStage::Open, false),
                (Limits::default(), LiveStage::HalfClosed, true),
                (off, LiveStage::HalfClosed, false),
                (Limits { idle_timeout: Some(Duration::MAX), ..off }, LiveStage::Open, true),
                (Limits { max_duration: Some(Duration::MAX), ..off }, LiveStage::Open, true),
            ] {
                let (connection, mut lifetime) = (open(), Lifetime::new(&limits));
                connection.row().reach(stage);
                assert!(poll_fn(|cx| Poll::Ready(lifetime.poll(cx, connection.row()))).await.is_pending());
                assert_eq!(lifetime.timer.is_some(), watched, "{limits:?} {stage:?}");
            }
        });
    }

    #[test]
    fn a_byte_puts_off_idleness_and_not_the_end() {
        run(async {
            let limits = Limits {
                idle_timeout: Some(Duration::from_millis(200)),
                max_duration: Some(Duration::from_millis(600)),
                half_closed_timeout: None,
            };
            let begun = Instant::now();
            let (connection, mut lifetime) = (open(), Lifetime::new(&limits));
            for _ in 0..8 {
                let next = poll_fn(|cx| lifetime.poll(cx, connection.row()));
                match timeout(Duration::from_millis(100), next).await {
                    None => connection.row().touch(),
                    Some(ended) => {
                        assert_eq!(ended, Ended::MaxDuration);
                        assert!(begun.elapsed() >= Duration::from_millis(600));
                        let mut idle = Lifetime::new(&Limits { max_duration: None, ..limits });
                        assert_eq!(poll_fn(|cx| idle.poll(cx, connection.row())).await, Ended::IdleTimeout);
                        return;
                    }
                }
            }
            panic!("it never ended");
        });
    }

    #[test]
    fn a_limit_that_begins_later_and_is_nearer_counts() {
        run(async {
            let limits = Limits {
                idle_timeout: Some(Duration::from_mins(1)),
                max_duration: None,
                half_closed_timeout: Some(Duration::from_millis(50)),
            };
            let (connection, mut lifetime) = (open(), Lifetime::new(&limits));
            assert!(poll_fn(|cx| Poll::Ready(lifetime.poll(cx, connection.row()))).await.is_pending());
            connection.row().reach(LiveStage::HalfClosed);
            let ended = poll_fn(|cx| lifetime.poll(cx, connection.row()));
            assert_eq!(timeout(Duration::from_secs(10), ended).await, Some(Ended::HalfClosedTimeout));
        });
    }
}
