//! `endpoints` of a ServiceEntry, which are WorkloadEntries under the rules of its resolution.

use std::collections::HashSet;

use super::Resolution;
use crate::route::model::workload_entry::{self, WorkloadAddress, WorkloadEntry};
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Endpoints of an object, at most.
const MAX_ENDPOINTS: usize = 4096;

/// Reads them.
pub(super) fn read(
    spec: &Node,
    resolution: Resolution,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> Vec<WorkloadEntry> {
    let items = spec.items("endpoints");
    let path = path.name("endpoints");
    if items.len() > MAX_ENDPOINTS {
        let message = format!("there are {} endpoints, {MAX_ENDPOINTS} at most", items.len());
        report.error(&path, message, "divide the object");
    }
    if resolution == Resolution::None && !items.is_empty() {
        let is_name = |node: &Node| node.text("address").is_some_and(|text| !names::is_address(text));
        let cure = if items.iter().any(is_name) { "write `resolution: DNS`" } else { "write `resolution: STATIC`" };
        report.error(&path, "resolution NONE takes no endpoints", cure);
    }
    if resolution == Resolution::DnsRoundRobin && items.len() > 1 {
        let cure = "keep one, or write `resolution: DNS`";
        report.error(&path, "resolution DNS_ROUND_ROBIN takes one endpoint at most", cure);
    }
    let known: HashSet<&str> = spec.items("ports").iter().filter_map(|port| port.text("name")).collect();
    let mut endpoints = Vec::new();
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let endpoint = workload_entry::endpoint(node, &path, report);
        match (&endpoint.address, resolution) {
            (WorkloadAddress::Host(host), Resolution::Static) => {
                let message = format!("resolution STATIC asks no DNS, and {host} is a name");
                report.error(&path.name("address"), message, "write an IP address, or `resolution: DNS`");
            }
            (WorkloadAddress::Unix(_), Resolution::Dns | Resolution::DnsRoundRobin) => {
                let message = format!("resolution {} takes no unix socket", resolution.name());
                report.error(&path.name("address"), message, "write `resolution: STATIC`");
            }
            (WorkloadAddress::Unix(_), Resolution::Static) if known.len() != 1 => {
                let message = "a unix socket serves one port, so the object must have exactly one";
                report.error(&path.name("address"), message, "give each port an object of its own");
            }
            (WorkloadAddress::Network, Resolution::Dns | Resolution::DnsRoundRobin) => {
                let message = format!("resolution {} needs an address", resolution.name());
                report.error(&path.name("address"), message, "write a host name or an IP address");
            }
            _ => {}
        }
        let ports = path.name("ports");
        for field in node.fields("ports") {
            if !known.contains(&field.name.as_str()) {
                let message = format!("the object has no port named {:?}", field.name);
                report.error(&ports.name(&field.name), message, "name one of `ports`");
            }
        }
        endpoints.push(endpoint);
    }
    endpoints
}
