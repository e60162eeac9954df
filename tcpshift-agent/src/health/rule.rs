//! When an endpoint is ejected and for how long: as its DestinationRule says, or by a mild rule of the agent's own.

use std::time::Duration;

use crate::route::model::OutlierDetection;

/// The longest ejection, as Envoy's `max_ejection_time`
/// (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto>).
const LONGEST: Duration = Duration::from_mins(5);

/// When an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Failures that raise suspicion; 0 if none do.
    pub(super) failures: u32,
    /// Failures that are further apart do not add up.
    pub(super) within: Duration,
    /// How long the first ejection lasts at least.
    rest: Duration,
    /// Whether the second lasts twice as long, and so on.
    grows: bool,
    /// Endpoints of a destination that may be ejected at once, in percent; one always may.
    most_percent: u32,
}

/// The agent's own: it ejects whom the agent itself cannot connect to, and dials again every second.
const OWN: Rule = Rule {
    failures: 3,
    within: Duration::from_secs(10),
    rest: Duration::from_secs(1),
    grows: false,
    most_percent: 100,
};

impl Rule {
    /// That of `outlierDetection`. For TCP every failure is one to connect, so the smallest of its counts holds.
    pub(super) fn of(given: Option<&OutlierDetection>) -> Self {
        let Some(given) = given else { return OWN };
        let OutlierDetection {
            consecutive_5xx_errors,
            consecutive_gateway_errors,
            consecutive_local_origin_failures,
            interval,
            base_ejection_time,
            max_ejection_percent,
            min_health_percent: _,
        } = *given;
        // Where failures to connect are counted apart, the others count none of them.
        let counts = match consecutive_local_origin_failures {
            Some(apart) => [apart, 0],
            None => [consecutive_5xx_errors, consecutive_gateway_errors],
        };
        Self {
            failures: counts.into_iter().filter(|count| *count > 0).min().unwrap_or(0),
            within: interval.max(OWN.within),
            rest: base_ejection_time.min(LONGEST),
            grows: true,
            most_percent: max_ejection_percent,
        }
    }

    /// How long an ejection lasts, the first being 1.
    pub(super) fn rest(&self, times: u32) -> Duration {
        if self.grows { self.rest.saturating_mul(times).min(LONGEST.max(self.rest)) } else { self.rest }
    }

    /// Whether one more may be ejected where so many of all are.
    pub(super) fn permits(&self, ejected: usize, all: usize) -> bool {
        ejected == 0 || (ejected as u64 + 1) * 100 <= u64::from(self.most_percent) * all as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> OutlierDetection {
        OutlierDetection {
            consecutive_5xx_errors: 5,
            consecutive_gateway_errors: 0,
            consecutive_local_origin_failures: None,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 10,
            min_health_percent: 0,
        }
    }

    #[test]
    fn the_smallest_count_that_is_on_holds() {
        let failures = |change: fn(&mut OutlierDetection)| {
            let mut given = given();
            change(&mut given);
            Rule::of(Some(&given)).failures
        };
        assert_eq!(failures(|_| ()), 5);
        assert_eq!(failures(|given| given.consecutive_gateway_errors = 2), 2);
        assert_eq!(failures(|given| given.consecutive_5xx_errors = 0), 0);
        assert_eq!(failures(|given| given.consecutive_local_origin_failures = Some(7)), 7);
        assert_eq!(failures(|given| given.consecutive_local_origin_failures = Some(0)), 0);
        assert_eq!(Rule::of(None).failures, 3);
    }

    #[test]
    fn each_ejection_lasts_longer_and_none_for_ever() {
        let rule = Rule::of(Some(&given()));
        assert_eq!([1, 2, 3, 100].map(|times| rule.rest(times).as_secs()), [30, 60, 90, 300]);
        assert_eq!([1, 5].map(|times| Rule::of(None).rest(times).as_secs()), [1, 1]);
    }

    #[test]
    fn one_may_always_be_ejected_and_then_a_part() {
        let rule = Rule::of(Some(&given()));
        assert!(rule.permits(0, 2) && !rule.permits(1, 2) && rule.permits(1, 20) && !rule.permits(2, 20));
        assert!(Rule::of(None).permits(1, 2));
    }
}
