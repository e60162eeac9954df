//! Timers of a reactor. One that nobody has waited for costs nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{CURRENT, current};

/// What no connection lives to see.
const FAR: Duration = Duration::from_hours(10 * 365 * 24);

/// Those who wait, in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    numbers: Cell<u64>,
}

/// Over at a time.
#[derive(Debug)]
pub(in crate::proxy) struct Sleep {
    at: Instant,
    number: Option<u64>,
}

impl Timers {
    /// When the next one is over.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes those whose time has come.
    pub(super) fn fire(&self) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(waker) = self.take_due(now) {
            waker.wake();
        }
    }

    fn take_due(&self, now: Instant) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        let first = waiting.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

/// Over at a time.
pub(in crate::proxy) fn sleep_until(at: Instant) -> Sleep {
    Sleep { at, number: None }
}

/// Over after a time.
pub(in crate::proxy) fn sleep(after: Duration) -> Sleep {
    let now = Instant::now();
    // A clock that cannot count so far has an end that nobody lives to see.
    sleep_until(now.checked_add(after).unwrap_or(now + FAR))
}

/// Waits for something no longer than a time; none if it took longer.
pub(in crate::proxy) async fn timeout<F: Future>(after: Duration, what: F) -> Option<F::Output> {
    let (mut what, mut over) = (pin!(what), sleep(after));
    std::future::poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Pin::new(&mut over).poll(cx).map(|()| None),
    })
    .await
}

impl Sleep {
    /// When it is over.
    pub(in crate::proxy) fn deadline(&self) -> Instant {
        self.at
    }

    /// Over at another time.
    pub(in crate::proxy) fn reset(&mut self, at: Instant) {
        self.stop();
        self.at = at;
    }

    /// Ready when it is over.
    pub(in crate::proxy) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.at <= Instant::now() {
            self.stop();
            return Poll::Ready(());
        }
        let reactor = current();
        let timers = &reactor.timers;
        let number = *self.number.get_or_insert_with(|| timers.numbers.replace(timers.numbers.get() + 1));
        let mut waiting = timers.waiting.borrow_mut();
        let waker = waiting.entry((self.at, number)).or_insert_with(|| cx.waker().clone());
        if !waker.will_wake(cx.waker()) {
            waker.clone_from(cx.waker());
        }
        Poll::Pending
    }

    fn stop(&mut self) {
        let Some(number) = self.number.take() else { return };
        CURRENT.with_borrow(|current| {
            let removed =
                current.as_ref().and_then(|reactor| reactor.timers.waiting.borrow_mut().remove(&(self.at, number)));
            drop(removed);
        });
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over(cx)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.stop();
    }
}
