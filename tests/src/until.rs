//! Waiting with a deadline: nothing in these tests waits for ever, and nothing sleeps longer than it must.
//!
//! A deadline says that something does not happen any more, not how fast it should be. So a slow machine, as an emulated
//! one, multiplies all of them: by the number in `TCPSHIFT_PATIENCE`, 1 if it is not set.

use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often is looked.
pub const PAUSE: Duration = Duration::from_millis(10);

/// How many times longer than usual is waited: above 0.
static FACTOR: LazyLock<f64> = LazyLock::new(|| {
    let Ok(text) = std::env::var("TCPSHIFT_PATIENCE") else { return 1.0 };
    let factor = text.parse().ok().filter(|factor: &f64| *factor > 0.0 && *factor <= 1_000.0);
    factor.unwrap_or_else(|| panic!("TCPSHIFT_PATIENCE is {text:?}, which is no number above 0 and up to 1000"))
});

/// A deadline as it is on this machine.
pub fn patient(deadline: Duration) -> Duration {
    deadline.mul_f64(*FACTOR)
}

/// Looks until there is something, and hands it out. Panics with `what` after the deadline, which is as long as
/// [`patient`] makes it.
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

/// Looks until something is so. Panics with `what` after the deadline.
pub fn until_so(what: &str, deadline: Duration, mut look: impl FnMut() -> bool) {
    until(what, deadline, || look().then_some(()));
}

/// Seconds.
pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
