//! WorkloadEntry: one endpoint on a plain host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Labels;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Ports and labels of an endpoint, at most.
const MAX_PORTS: usize = 128;
const MAX_LABELS: usize = 256;

/// A checked WorkloadEntry, or an endpoint of a ServiceEntry.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadEntry {
    /// Its address.
    pub address: WorkloadAddress,
    /// Names of the service's ports, and where this endpoint serves them.
    pub ports: BTreeMap<String, u16>,
    /// The labels that selectors and subsets select by.
    pub labels: Labels,
    /// Its share among the endpoints of a destination; at least 1.
    pub weight: u32,
}

/// The address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadAddress {
    /// At an IP address.
    Ip(IpAddr),
    /// The addresses of a host name.
    Host(String),
    /// At a unix socket: its path, or `@` and its abstract name.
    Unix(String),
    /// In another network, whose gateway this agent does not know.
    Network,
}

/// Reads an object. Labels of `metadata` are the endpoint's too, and win over those of `spec`, as in Istio: `ConvertWorkloadEntry` of
/// <https://github.com/istio/istio/blob/master/pilot/pkg/serviceregistry/serviceentry/conversion.go>.
pub fn read(metadata: &Node, spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> WorkloadEntry {
    let mut entry = endpoint(spec, path, report);
    entry.labels.extend(metadata.string_map("labels"));
    entry
}

/// Reads an endpoint of a ServiceEntry, or the `spec` of a WorkloadEntry.
pub fn endpoint(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> WorkloadEntry {
    if spec.text("address").unwrap_or_default().is_empty() && spec.text("network").unwrap_or_default().is_empty() {
        let message = "an address is needed";
        report.error(&path.name("address"), message, "write the IP address of the host");
        return WorkloadEntry {
            address: WorkloadAddress::Network,
            ports: BTreeMap::new(),
            labels: Labels::new(),
            weight: 1,
        };
    }
    let entry = template(spec, path, report);
    if entry.address == WorkloadAddress::Network {
        let message = "not honoured: other networks cannot be reached";
        report.warning(&path.name("address"), message, "write the IP address of the host");
    }
    entry
}

/// Reads an entry without an address: the template of a WorkloadGroup.
pub(super) fn template(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> WorkloadEntry {
    let address = address(spec, path, report);
    for (name, most) in [("network", 2048), ("locality", 2048), ("serviceAccount", 253)] {
        if spec.text(name).is_some_and(|text| text.len() > most) {
            report.error(&path.name(name), format!("it has more than {most} characters"), "shorten it");
        }
    }
    let labels = super::labels(spec, "labels", path, report);
    if labels.len() > MAX_LABELS {
        let message = format!("there are {} labels, {MAX_LABELS} at most", labels.len());
        report.error(&path.name("labels"), message, "remove some");
    }
    let ports = ports(spec, &path.name("ports"), report);
    if matches!(address, WorkloadAddress::Unix(_)) && !ports.is_empty() {
        report.error(&path.name("ports"), "a unix socket has no ports", "remove them");
    }
    let weight = spec.integer("weight").and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1).max(1);
    WorkloadEntry { address, ports, labels, weight }
}

fn ports(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> BTreeMap<String, u16> {
    let fields = spec.fields("ports");
    if fields.len() > MAX_PORTS {
        let message = format!("there are {} ports, {MAX_PORTS} at most", fields.len());
        report.error(path, message, "remove some");
    }
    let mut ports = BTreeMap::new();
    for field in fields {
        let path = path.name(&field.name);
        if let Some(fault) = names::host_label_fault(&field.name) {
            let message = format!("{} is no name of a port: {}", names::shown(&field.name), fault.problem);
            report.error(&path, message, fault.cure);
        }
        ports.insert(field.name.clone(), super::port(Some(&field.node), &path, report));
    }
    ports
}

fn address(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> WorkloadAddress {
    let path = path.name("address");
    let text = spec.text("address").unwrap_or_default();
    if let Some(address) = names::address(text) {
        return WorkloadAddress::Ip(address);
    }
    let cure = "write the IP address of the host";
    if text.is_empty() {
        return WorkloadAddress::Network;
    }
    let (address, problem) = match text.strip_prefix("unix://") {
        Some(socket) => (WorkloadAddress::Unix(socket.to_owned()), names::socket_problem(socket).map(str::to_owned)),
        None => (WorkloadAddress::Host(text.to_owned()), names::host_problem(text)),
    };
    if text.len() > 256 {
        report.error(&path, "an address has at most 256 characters", cure);
    } else if let Some(problem) = problem {
        report.error(&path, format!("{text:?} is no address: {problem}"), cure);
    }
    address
}
