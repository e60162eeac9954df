//! When connections are ended one after the other, at a rate. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest pause: at a high rate several are ended together.
const SHORTEST: Duration = Duration::from_millis(20);

/// So many a second, spread evenly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rate: u32,
    began: Instant,
    /// How many were due until now.
    due: u64,
    /// When it was asked last.
    asked: Instant,
}

impl Pace {
    /// Begins. The first one is due when its part of a second is over.
    pub(super) fn new(rate: u32, began: Instant) -> Self {
        Self { rate: rate.max(1), began, due: 0, asked: began }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Instant {
        let next = self.began + Duration::from_secs_f64((self.due + 1) as f64 / f64::from(self.rate));
        next.max(self.asked + SHORTEST)
    }

    /// How many are due that were not before.
    pub(super) fn due(&mut self, now: Instant) -> usize {
        self.asked = now;
        // A little more, or the moment that `next` says would be just before.
        let passed = now.saturating_duration_since(self.began).as_secs_f64() + 1e-6;
        let all = (passed * f64::from(self.rate)) as u64;
        let new = all.saturating_sub(self.due);
        self.due = self.due.max(all);
        usize::try_from(new).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is due at each moment that it asks for, in so many seconds.
    fn over(rate: u32, seconds: u64) -> Vec<usize> {
        let began = Instant::now();
        let (mut pace, end) = (Pace::new(rate, began), began + Duration::from_secs(seconds));
        std::iter::from_fn(|| {
            let next = pace.next();
            (next <= end + Duration::from_micros(1)).then(|| pace.due(next))
        })
        .collect()
    }

    #[test]
    fn a_low_rate_is_one_after_the_other() {
        assert_eq!(over(1, 3), [1; 3]);
        assert_eq!(over(20, 2), [1; 40]);
        assert_eq!(over(0, 3), [1; 3]);
    }

    #[test]
    fn a_high_rate_is_a_few_at_a_time() {
        let all = over(5_000, 1);
        assert!(all.len() <= 50 && all.iter().all(|due| (99..=101).contains(due)), "{all:?}");
        assert!(all.iter().sum::<usize>() >= 4_900, "{all:?}");
    }

    #[test]
    fn what_was_late_is_made_up_for() {
        let began = Instant::now();
        let mut pace = Pace::new(10, began);
        assert_eq!(pace.due(began + Duration::from_secs(2)), 20);
        assert_eq!(pace.due(began + Duration::from_secs(2)), 0);
    }
}
