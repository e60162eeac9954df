//! WorkloadEntry: one endpoint on a plain host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Labels;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked WorkloadEntry, or an endpoint of a ServiceEntry.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadEntry {
    /// Where it is.
    pub address: WorkloadAddress,
    /// Names of the service's ports, and where this endpoint serves them.
    pub ports: BTreeMap<String, u16>,
    /// What selectors and subsets look at.
    pub labels: Labels,
    /// Its share among the endpoints of a destination; at least 1.
    pub weight: u32,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadAddress {
    /// At an IP address.
    Ip(IpAddr),
    /// Somewhere that this agent cannot reach: a host name, a unix socket, another network.
    Other(String),
}

/// Reads one.
pub fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> WorkloadEntry {
    let address = address(spec, path, report);
    let labels = super::labels(spec, "labels", path, report);
    let path = path.name("ports");
    let mut ports = BTreeMap::new();
    for field in spec.fields("ports") {
        let path = path.name(&field.name);
        if !names::is_host_label(&field.name) {
            report.error(field.line, &path, format!("{:?} is no name of a port", field.name), "");
        }
        ports.insert(field.name.clone(), super::port(Some(&field.node), field.line, &path, report));
    }
    let weight = spec.integer("weight").and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1).max(1);
    WorkloadEntry { address, ports, labels, weight }
}

fn address(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> WorkloadAddress {
    let path = path.name("address");
    let text = spec.text("address").unwrap_or_default();
    let line = spec.get("address").map_or(spec.line, |node| node.line);
    if let Ok(address) = text.parse::<IpAddr>() {
        return WorkloadAddress::Ip(address);
    }
    if text.is_empty() {
        if spec.get("network").is_none() {
            report.error(line, &path, "an address is needed", "write the IP address of the host");
        }
    } else if !text.starts_with("unix://") && names::host_problem(text).is_some() {
        report.error(line, &path, format!("{text:?} is no address"), "write the IP address of the host");
        return WorkloadAddress::Other(text.to_owned());
    }
    report.warning(
        line,
        &path,
        "not honoured: only an IP address can be an endpoint",
        "write the IP address of the host",
    );
    WorkloadAddress::Other(text.to_owned())
}
