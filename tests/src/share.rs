//! How far a measured share may be from the weight, when each connection is an independent draw.

/// The greatest accepted distance between the share measured over `n` draws and its probability `p`: `sigmas` standard
/// deviations of the binomial distribution, and half a draw because counts are whole. At 5 sigma a correct program fails
/// once in 1.7 million runs.
pub fn binomial_bound(n: usize, p: f64, sigmas: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of connections are far below 2^52")]
    let n = n as f64;
    sigmas * (p * (1.0 - p) / n).sqrt() + 0.5 / n
}

/// `hits / n`.
pub fn share(hits: usize, n: usize) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of connections are far below 2^52")]
    let share = hits as f64 / n as f64;
    share
}

/// Panics if `hits` of `n` are further from `p` than 5 sigma.
pub fn assert_share(what: &str, hits: usize, n: usize, p: f64) {
    let (measured, bound) = (share(hits, n), binomial_bound(n, p, 5.0));
    assert!(
        (measured - p).abs() <= bound,
        "{what}: {hits} of {n} is a share of {measured:.4}; asked for is {p:.4}, give or take {bound:.4}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sigma_of_a_fifth_of_400_is_two_points() {
        assert!((binomial_bound(400, 0.2, 1.0) - 0.02 - 0.5 / 400.0).abs() < 1e-12);
    }

    #[test]
    fn certain_shares_are_exact_but_for_a_step() {
        assert_share("all", 1000, 1000, 1.0);
        assert!(std::panic::catch_unwind(|| assert_share("one is missing", 999, 1000, 1.0)).is_err());
    }
}
