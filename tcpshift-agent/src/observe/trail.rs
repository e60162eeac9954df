//! How counts have grown, second by second: a ring of the last ten seconds, and one of the last six tens.
//!
//! A trail that did not grow is not touched: it is brought up to date when it grows again, or is read.

use std::array;

/// Seconds over which rates are taken.
pub const WINDOWS: [u64; 3] = [1, 10, 60];

/// Cells of seconds.
const SECONDS: u64 = 10;
/// Cells of ten seconds each; the last one is being filled.
const TENS: u64 = 6;

/// Connections a second over each of the [`WINDOWS`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// New ones.
    pub opened: [f64; WINDOWS.len()],
    /// Those that could not be served.
    pub failed: [f64; WINDOWS.len()],
}

/// What was counted in one span: new connections, and failures.
type Grown = [u32; 2];

/// How one destination or endpoint has grown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trail {
    /// The look at which it grew last.
    look: u64,
    seconds: [Grown; SECONDS as usize],
    tens: [Grown; TENS as usize],
}

/// When it was looked, for all trails. Looks are counted from 0, which only finds out where counts are.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks {
    last: u64,
    /// How long each cell of a trail lasted, in seconds.
    seconds: [f64; SECONDS as usize],
    tens: [f64; TENS as usize],
}

impl Trail {
    /// Adds what was counted before a look.
    pub(super) fn add(&mut self, look: u64, grown: [u64; 2]) {
        self.advance(look);
        for cell in [&mut self.seconds[second(look)], &mut self.tens[ten(look)]] {
            for (sum, grown) in cell.iter_mut().zip(grown) {
                *sum = sum.saturating_add(u32::try_from(grown).unwrap_or(u32::MAX));
            }
        }
    }

    /// Whether nothing in it is young enough to be in a rate.
    pub(super) fn is_over(&self, look: u64) -> bool {
        look / SECONDS >= self.look / SECONDS + TENS
    }

    /// Clears the cells that began after it grew last.
    fn advance(&mut self, look: u64) {
        for passed in (self.look + 1..=look).rev().take(SECONDS as usize) {
            self.seconds[second(passed)] = Grown::default();
        }
        for passed in (self.look / SECONDS + 1..=look / SECONDS).rev().take(TENS as usize) {
            self.tens[(passed % TENS) as usize] = Grown::default();
        }
        self.look = look;
    }

    /// As of a look.
    pub(super) fn rates(mut self, looks: &Looks) -> Rates {
        self.advance(looks.last);
        let over = |cells: &[Grown], spans: &[f64]| {
            let time: f64 = spans.iter().sum();
            let rate = |at: usize| cells.iter().map(|cell| f64::from(cell[at])).sum::<f64>() / time;
            if time > 0.0 { array::from_fn(rate) } else { [0.0; 2] }
        };
        let last = second(looks.last)..=second(looks.last);
        let windows = [
            over(&self.seconds[last.clone()], &looks.seconds[last]),
            over(&self.seconds, &looks.seconds),
            over(&self.tens, &looks.tens),
        ];
        Rates { opened: windows.map(|[opened, _]| opened), failed: windows.map(|[_, failed]| failed) }
    }
}

impl Looks {
    /// Begins the next one, so long after the last. Returns its number.
    pub(super) fn next(&mut self, elapsed: f64) -> u64 {
        self.last += 1;
        self.seconds[second(self.last)] = elapsed;
        let sum = &mut self.tens[ten(self.last)];
        *sum = if self.last.is_multiple_of(SECONDS) { elapsed } else { *sum + elapsed };
        self.last
    }
}

fn second(look: u64) -> usize {
    (look % SECONDS) as usize
}

fn ten(look: u64) -> usize {
    (look / SECONDS % TENS) as usize
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these rates are exact")]
mod tests {
    use super::*;

    /// Rates after so many looks, a second apart, at each of which as much has grown as is said.
    fn after(looks: u64, grown: impl Fn(u64) -> [u64; 2]) -> Rates {
        let (mut trail, mut clock) = (Trail::default(), Looks::default());
        for _ in 0..looks {
            let look = clock.next(1.0);
            let grown = grown(look);
            if grown != [0, 0] {
                trail.add(look, grown);
            }
        }
        trail.rates(&clock)
    }

    #[test]
    fn what_is_steady_has_one_rate_in_all_windows() {
        for looks in [1, 5, 10, 11, 59, 60, 61, 250] {
            let rates = after(looks, |_| [7, 2]);
            assert_eq!(rates, Rates { opened: [7.0; 3], failed: [2.0; 3] }, "{looks}");
        }
    }

    #[test]
    fn a_burst_leaves_each_window_in_its_time() {
        let burst = |age: u64| after(200 + age, move |look| if look == 200 { [600, 0] } else { [0, 0] }).opened;
        assert_eq!(burst(0)[..2], [600.0, 60.0]);
        assert_eq!(burst(1)[..2], [0.0, 60.0]);
        assert_eq!(burst(9)[..2], [0.0, 60.0]);
        assert_eq!(burst(10)[..2], [0.0, 0.0]);
        for age in 0..60 {
            // Between 51 and 60 seconds are in the longest window.
            let rate = burst(age)[2];
            assert!((10.0..12.0).contains(&rate), "{rate} after {age} s");
        }
        assert_eq!(burst(60), [0.0; 3]);
        assert_eq!(burst(1_000_003), [0.0; 3]);
    }

    #[test]
    fn what_was_over_begins_anew() {
        let twice = after(1_000, |look| if look == 3 || look == 1_000 { [10, 1] } else { [0, 0] });
        assert_eq!((twice.opened[0], twice.opened[1], twice.failed[0]), (10.0, 1.0, 1.0));
        let mut trail = Trail::default();
        trail.add(5, [1, 0]);
        assert!(!trail.is_over(59) && trail.is_over(60));
    }

    #[test]
    fn a_late_look_covers_the_time_it_took() {
        let (mut trail, mut clock) = (Trail::default(), Looks::default());
        for (elapsed, grown) in [(1.0, 10), (4.0, 40)] {
            let look = clock.next(elapsed);
            trail.add(look, [grown, 0]);
        }
        assert_eq!(trail.rates(&clock).opened, [10.0; 3]);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert_eq!(after(0, |_| [1, 1]), Rates::default());
        assert_eq!(Trail::default().rates(&Looks::default()), Rates::default());
    }
}
