//! The share of a destination: how many of a route's connections it got, and how sure that is.

use crate::admin::api::Achieved;

/// Two-sided 95 % of a normal distribution.
const Z: f64 = 1.959_964;

/// A share and its 95 % interval (Wilson 1927), which holds for small numbers too.
pub(super) fn achieved(hits: u64, of: u64) -> Option<Achieved> {
    if of == 0 {
        return None;
    }
    let n = of as f64;
    let share = hits as f64 / n;
    let denominator = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z / denominator * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Achieved { share, low: (middle - half).clamp(0.0, share), high: (middle + half).clamp(share, 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_wilson() {
        assert!(achieved(0, 0).is_none());
        let half = achieved(50, 100).unwrap();
        assert!((half.low - 0.4038).abs() < 1e-3 && (half.high - 0.5962).abs() < 1e-3, "{half:?}");
        let none = achieved(0, 10).unwrap();
        assert!(none.low.abs() < 1e-12 && (none.high - 0.2775).abs() < 1e-3, "{none:?}");
        let all = achieved(10, 10).unwrap();
        assert!((all.high - 1.0).abs() < 1e-12 && (all.low - 0.7225).abs() < 1e-3, "{all:?}");
    }
}
