//! Medians, ranges and ratios of few figures.

/// The middle of some figures, and how far they reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub(super) median: f64,
    /// The least.
    pub(super) least: f64,
    /// The greatest.
    pub(super) most: f64,
}

impl Spread {
    /// Of figures; none of no figures.
    pub(super) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let median = f64::midpoint(figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median, least, most })
    }
}

/// Ratios of figures to others of the same round; rounds that one of them lacks are left out.
pub(super) fn ratios(figures: &[(u32, f64)], to: &[(u32, f64)]) -> Vec<f64> {
    let other = |round: u32| to.iter().find(|(other, figure)| *other == round && *figure > 0.0);
    figures.iter().filter_map(|(round, figure)| other(*round).map(|(_, other)| figure / other)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found() {
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
    }

    #[test]
    fn ratios_are_within_a_round() {
        assert_eq!(ratios(&[(0, 2.0), (1, 9.0), (2, 1.0)], &[(1, 3.0), (0, 4.0), (2, 0.0)]), [0.5, 3.0]);
    }
}
