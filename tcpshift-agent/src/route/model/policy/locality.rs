//! `localityLbSetting`: checked as Istio does it, and not honoured.

use std::collections::BTreeSet;

use crate::route::node::Node;
use crate::route::report::{Path, Report};

const TOPOLOGY: &[&str] =
    &["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

/// Checks the block.
pub(super) fn check(node: &Node, outlier: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let (distribute, failover) = (node.items("distribute"), node.items("failover"));
    let priority = node.items("failoverPriority");
    if !distribute.is_empty() && !failover.is_empty() {
        report.error(path, "distribute and failover exclude each other", "keep one of them");
        return;
    }
    let topology = priority.iter().find(|label| TOPOLOGY.contains(&label.as_str().unwrap_or_default()));
    if let (false, Some(label)) = (failover.is_empty(), topology) {
        let message = format!("failover excludes {} here", label.as_str().unwrap_or_default());
        report.error(&path.name("failoverPriority"), message, "keep one of them");
        return;
    }
    {
        let path = path.name("distribute");
        for (index, node) in distribute.iter().enumerate() {
            shares(node, &path.index(index), report);
        }
        let sources: Vec<&str> = distribute.iter().map(|node| node.text("from").unwrap_or_default()).collect();
        if let Some((index, message, cure)) = localities(&sources) {
            report.error(&path.index(index).name("from"), message, cure);
        }
    }
    regions(node, outlier, path, report);
}

/// Checks a `zoneAwareLbSetting`, which has no shares.
pub(super) fn check_zones(node: &Node, outlier: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let priority = path.name("failoverPriority");
    for (index, label) in node.items("failoverPriority").iter().enumerate() {
        if TOPOLOGY.contains(&label.as_str().unwrap_or_default()) {
            let message = "regions and zones are taken care of already";
            report.error(&priority.index(index), message, "remove it");
        }
    }
    regions(node, outlier, path, report);
}

/// Checks `failover`, from region to region.
fn regions(node: &Node, outlier: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let failover = node.items("failover");
    if !outlier && (!failover.is_empty() || !node.items("failoverPriority").is_empty()) {
        let message = "failover has no effect without outlierDetection beside it, in Istio neither";
        report.warning(path, message, "remove it");
    }
    let path = path.name("failover");
    for (index, node) in failover.iter().enumerate() {
        let (from, to) = (node.text("from").unwrap_or_default(), node.text("to").unwrap_or_default());
        let path = path.index(index);
        if from == to {
            report.error(&path, "from and to are the same region", "name different regions");
        }
        for (name, region) in [("from", from), ("to", to)] {
            if region.contains(['/', '*']) {
                let message = format!("{region:?} is no region, whose name has no / and no *");
                report.error(&path.name(name), message, "name a region alone");
            }
        }
    }
}

fn shares(node: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.name("to");
    let mut total = 0;
    for field in node.fields("to") {
        let share = field.node.as_i64().unwrap_or_default();
        total += share;
        if !(1..=100).contains(&share) {
            let message = format!("a share is 1 to 100, and this is {share}");
            report.error(&path.name(&field.name), message, "write 1 to 100");
            return;
        }
    }
    if total != 100 {
        let message = format!("the shares add up to {total}, not 100");
        report.error(&path, message, "change one of them");
        return;
    }
    let targets: Vec<&str> = node.fields("to").iter().map(|field| field.name.as_str()).collect();
    if let Some((index, message, cure)) = localities(&targets) {
        report.error(&path.name(targets[index]), message, cure);
    }
}

/// The index of the first locality that is not of the form `region/zone/subzone`, perhaps ending in `*`, or that one before
/// it includes; why, and the cure.
fn localities(localities: &[&str]) -> Option<(usize, String, &'static str)> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (index, &locality) in localities.iter().enumerate() {
        let stars = locality.matches('*').count();
        if stars > 1 || stars == 1 && !locality.ends_with('*') {
            return Some((index, format!("{locality:?} has a * that is not its end"), "put * at the end alone"));
        }
        let parts: Vec<&str> = locality.splitn(3, '/').collect();
        if parts.contains(&"") {
            let cure = "write region, region/zone or region/zone/subzone";
            return Some((index, format!("{locality:?} has an empty part"), cure));
        }
        // A key of fewer than three parts ends in `/*`, since it includes other localities.
        let whole = |parts: &[&str]| format!("{}/*", parts.join("/"));
        let covered = (0..=parts.len()).any(|count| taken.contains(&whole(&parts[..count])));
        let key = if parts.len() < 3 { whole(&parts) } else { locality.to_owned() };
        let inner = format!("{locality}/");
        let partly = parts.len() < 3 && taken.iter().any(|other| other.starts_with(&inner));
        if covered || partly || taken.contains("*/*") || taken.contains(&key) {
            return Some((index, format!("{locality:?} overlaps with one before it"), "remove one of them"));
        }
        taken.insert(key);
        if let [region, "*"] = parts.as_slice() {
            taken.insert(format!("{region}/*"));
        }
        if let [region, zone, "*"] = parts.as_slice() {
            taken.insert(format!("{region}/{zone}/*"));
        }
    }
    None
}
