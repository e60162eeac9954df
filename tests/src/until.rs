//! Waiting with a deadline: nothing in these tests waits for ever, and nothing sleeps longer than it must.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is something, and hands it out. Panics with `what` after the deadline.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
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
