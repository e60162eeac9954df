//! When something failed last, and why: one word, so that whoever reads it never sees the time of one failure with the
//! reason of another.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use super::ConnectionFailure;

/// The last failure of a destination or an endpoint.
#[derive(Debug, Default)]
pub struct LastFailure {
    /// Milliseconds since 1970, and in the lowest eight bits the number of the reason; 0 if there was none.
    word: AtomicU64,
}

impl LastFailure {
    /// It fails now.
    pub(super) fn note(&self, reason: ConnectionFailure) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.word.store((since.as_millis() as u64) << 8 | reason as u64, Relaxed);
    }

    /// When it failed last, and why; none if it never did.
    pub fn get(&self) -> Option<(SystemTime, ConnectionFailure)> {
        let word = self.word.load(Relaxed);
        let reason = *ConnectionFailure::ALL.get((word & 0xff) as usize)?;
        (word > 0).then(|| (SystemTime::UNIX_EPOCH + Duration::from_millis(word >> 8), reason))
    }

    /// There was none.
    pub(super) fn reset(&self) {
        self.word.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_told_with_its_time() {
        let last = LastFailure::default();
        assert_eq!(last.get(), None);
        let before = SystemTime::now() - Duration::from_millis(1);
        for reason in ConnectionFailure::ALL {
            last.note(reason);
            let (at, told) = last.get().unwrap();
            assert!(told == reason && at >= before && at <= SystemTime::now(), "{told} at {at:?}");
        }
        last.reset();
        assert_eq!(last.get(), None);
    }
}
