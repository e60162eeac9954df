//! Waiting with a deadline: nothing in these tests waits for ever, and nothing sleeps longer than it must.
//!
//! A deadline separates late from never; it is no promise of speed. On a slow machine, such as an emulated one,
//! `TCPSHIFT_PATIENCE` multiplies all deadlines. It is 1 if it is not set.

use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The pause between two looks.
pub const PAUSE: Duration = Duration::from_millis(10);

/// The factor of all deadlines: above 0, at most 1,000.
static FACTOR: LazyLock<f64> = LazyLock::new(|| {
    let Ok(text) = std::env::var("TCPSHIFT_PATIENCE") else { return 1.0 };
    let factor = text.parse().ok().filter(|factor: &f64| *factor > 0.0 && *factor <= 1_000.0);
    factor.unwrap_or_else(|| panic!("TCPSHIFT_PATIENCE is {text:?}, which is no number above 0 and up to 1000"))
});

/// A deadline, multiplied by the factor of this machine.
pub fn patient(deadline: Duration) -> Duration {
    deadline.mul_f64(*FACTOR)
}

/// Calls `look` until it returns a value. Panics with `what` after the deadline, which [`patient`] multiplies.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let (begin, deadline) = (Instant::now(), patient(deadline));
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        sleep(PAUSE);
    }
}

/// Calls `look` until it returns true. Panics with `what` after the deadline.
pub fn until_so(what: &str, deadline: Duration, mut look: impl FnMut() -> bool) {
    until(what, deadline, || look().then_some(()));
}

/// Seconds.
pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
