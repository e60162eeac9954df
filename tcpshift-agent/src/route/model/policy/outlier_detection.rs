//! `outlierDetection`: when an endpoint is left out for a while.

use std::time::Duration;

use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// When an endpoint is left out, and for how long; Istio's defaults are filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutlierDetection {
    /// Failures in a row that eject an endpoint; 0 if this count ejects none.
    pub consecutive_5xx_errors: u32,
    /// The same for failures to connect only.
    pub consecutive_gateway_errors: u32,
    /// Failures to connect in a row that eject an endpoint, if they are counted apart.
    pub consecutive_local_origin_failures: Option<u32>,
    /// Time between two checks of ejected endpoints.
    pub interval: Duration,
    /// Time of the first ejection; the second lasts twice as long, and so on.
    pub base_ejection_time: Duration,
    /// Endpoints that may be ejected at once, in percent.
    pub max_ejection_percent: u32,
    /// If fewer endpoints than this are not ejected, in percent, all of them are used.
    pub min_health_percent: u32,
}

/// Reads the block.
pub(super) fn read(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> OutlierDetection {
    if node.integer("consecutiveErrors").is_some_and(|old| old != 0) {
        let cure = "use consecutive5xxErrors";
        report.warning(&path.name("consecutiveErrors"), "this field has no effect any more", cure);
    }
    let split = node.flag("splitExternalLocalOriginErrors");
    let count = |name: &str| node.integer(name).and_then(|count| u32::try_from(count).ok());
    let local = count("consecutiveLocalOriginFailures");
    if !split && local.unwrap_or(0) > 0 {
        let message = "consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors to be true";
        let cure = "add `splitExternalLocalOriginErrors: true`";
        report.error(&path.name("consecutiveLocalOriginFailures"), message, cure);
    }
    let max = super::percent(node, "maxEjectionPercent", path, report);
    let min = super::percent(node, "minHealthPercent", path, report);
    let mut duration =
        |name: &str, default| super::duration(node, name, path, report).unwrap_or(Duration::from_secs(default));
    OutlierDetection {
        consecutive_5xx_errors: count("consecutive5xxErrors").unwrap_or(5),
        consecutive_gateway_errors: count("consecutiveGatewayErrors").unwrap_or(0),
        consecutive_local_origin_failures: split.then(|| local.unwrap_or(5)),
        interval: duration("interval", 10),
        base_ejection_time: duration("baseEjectionTime", 30),
        // 0 is Istio's word for its default.
        max_ejection_percent: if max > 0.0 { max as u32 } else { 10 },
        min_health_percent: min as u32,
    }
}
