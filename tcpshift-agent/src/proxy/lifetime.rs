//! How long a connection may last: without a byte, and at all.
//!
//! One timer per connection that has a limit, and none for the others. A byte only notes the time; the timer is set
//! again when it has run out, so that no message costs one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::connections::Ended;
use crate::plan::Limits;

/// What no connection lives to see: the timer takes no later time.
const FAR: Duration = Duration::from_hours(10 * 365 * 24);

/// The limits of one connection, and its clock.
#[derive(Debug)]
pub(super) struct Lifetime {
    idle: Option<Duration>,
    /// When its last byte passed.
    last: Instant,
    /// When it is over at all.
    end: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Lifetime {
    /// Begins now; none if there is no limit.
    pub(super) fn new(limits: &Limits) -> Option<Self> {
        let now = Instant::now();
        // Zero is the word for no limit.
        let given = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero()).map(|limit| limit.min(FAR));
        let (idle, end) = (given(limits.idle_timeout), given(limits.max_duration).map(|most| now + most));
        let first = [idle.map(|idle| now + idle), end].into_iter().flatten().min()?;
        Some(Self { idle, last: now, end, timer: Box::pin(tokio::time::sleep_until(first)) })
    }

    /// A byte has passed.
    pub(super) fn note(&mut self) {
        if self.idle.is_some() {
            self.last = Instant::now();
        }
    }

    /// Ready when a limit is reached.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let silent_until = self.idle.map(|idle| self.last + idle);
            if self.end.is_some_and(|end| end <= now) {
                return Poll::Ready(Ended::MaxDuration);
            }
            if silent_until.is_some_and(|until| until <= now) {
                return Poll::Ready(Ended::IdleTimeout);
            }
            let Some(next) = [silent_until, self.end].into_iter().flatten().min() else { return Poll::Pending };
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn nothing_is_watched_where_nothing_is_limited() {
        assert!(Lifetime::new(&Limits::default()).is_none());
        let off = Limits { idle_timeout: Some(Duration::ZERO), max_duration: None };
        assert!(Lifetime::new(&off).is_none());
        let ages = Limits { idle_timeout: Some(Duration::MAX), max_duration: Some(Duration::MAX) };
        let mut lifetime = Lifetime::new(&ages).unwrap();
        assert!(poll_fn(|cx| Poll::Ready(lifetime.poll(cx))).await.is_pending());
    }

    #[tokio::test]
    async fn a_byte_puts_off_idleness_and_not_the_end() {
        let limits =
            Limits { idle_timeout: Some(Duration::from_millis(200)), max_duration: Some(Duration::from_millis(600)) };
        let begun = Instant::now();
        let mut lifetime = Lifetime::new(&limits).unwrap();
        for _ in 0..8 {
            let next = poll_fn(|cx| lifetime.poll(cx));
            match tokio::time::timeout(Duration::from_millis(100), next).await {
                Err(_) => lifetime.note(),
                Ok(ended) => {
                    assert_eq!(ended, Ended::MaxDuration);
                    assert!(begun.elapsed() >= Duration::from_millis(600));
                    let mut idle = Lifetime::new(&Limits { max_duration: None, ..limits }).unwrap();
                    assert_eq!(poll_fn(|cx| idle.poll(cx)).await, Ended::IdleTimeout);
                    return;
                }
            }
        }
        panic!("it never ended");
    }
}
