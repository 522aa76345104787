//! Statistics of measurements, and ratios.

use serde::Serialize;

/// Statistics of a contender in a workload: nanoseconds per call, over all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// The fastest round: the cost without disturbance.
    pub(crate) best: f64,
    /// The median round.
    pub(crate) median: f64,
    /// Slowest minus fastest, as a share of the median.
    pub(crate) spread: f64,
    /// The number of rounds.
    pub(crate) rounds: usize,
}

impl Figures {
    /// Statistics of these samples; `None` if there are none.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (best, worst) = (*sorted.first()?, *sorted.last()?);
        let median = median(&sorted)?;
        Some(Self { best, median, spread: (worst - best) / median, rounds: sorted.len() })
    }

    /// The difference to another contender's best round.
    pub(crate) fn added_to(&self, native: &Self) -> f64 {
        self.best - native.best
    }
}

/// The median of sorted numbers.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// `cost` divided by `base`. `None` if the base is not positive: a ratio to noise has no meaning. A negative cost is
/// noise too, and counts as 0.
pub(crate) fn ratio(cost: f64, base: f64) -> Option<f64> {
    (base > 0.0).then_some(cost.max(0.0) / base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_do_not_depend_on_the_order_of_the_rounds() {
        let figures = Figures::of(&[30.0, 10.0, 20.0]).unwrap();
        assert_eq!(figures, Figures { best: 10.0, median: 20.0, spread: 1.0, rounds: 3 });
        assert_eq!(Figures::of(&[10.0, 20.0, 30.0]), Some(figures));
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        let median_of = |samples: &[f64]| Figures::of(samples).map(|figures| figures.median);
        assert_eq!(median_of(&[1.0, 100.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median_of(&[7.0]), Some(7.0));
        assert_eq!(median_of(&[]), None);
    }

    #[test]
    fn an_outlier_moves_the_spread_and_nothing_else() {
        let calm = Figures::of(&[10.0, 11.0, 12.0]).unwrap();
        let disturbed = Figures::of(&[10.0, 11.0, 120.0]).unwrap();
        assert_eq!((calm.best, calm.median), (disturbed.best, disturbed.median));
        assert!(disturbed.spread > calm.spread * 10.0);
    }

    #[test]
    fn added_cost_is_the_difference_of_the_best() {
        let native = Figures::of(&[100.0, 500.0]).unwrap();
        let traced = Figures::of(&[900.0, 250.0]).unwrap();
        assert_eq!(traced.added_to(&native), 150.0);
    }

    #[test]
    fn there_is_no_ratio_to_nothing() {
        assert_eq!(ratio(30.0, 120.0), Some(0.25));
        assert_eq!(ratio(-3.0, 120.0), Some(0.0));
        assert_eq!(ratio(30.0, 0.0), None);
        assert_eq!(ratio(30.0, -5.0), None);
    }
}
