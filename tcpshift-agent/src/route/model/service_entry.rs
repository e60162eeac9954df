//! ServiceEntry: a service on plain hosts, with its ports and endpoints.

use std::collections::BTreeSet;

use super::Labels;
use super::workload_entry::{self, WorkloadEntry};
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked ServiceEntry.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEntry {
    /// Full host names.
    pub hosts: Vec<String>,
    /// Names and numbers are unique.
    pub ports: Vec<EntryPort>,
    /// Where endpoints come from.
    pub resolution: Resolution,
    /// Given in place.
    pub endpoints: Vec<WorkloadEntry>,
    /// Or by the labels of WorkloadEntries in the same namespace.
    pub selector: Option<Labels>,
}

/// A port of a ServiceEntry.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryPort {
    /// Port of the service.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Where endpoints serve it, if elsewhere.
    pub target: Option<u16>,
}

/// Where endpoints come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Clients know. The default.
    None,
    /// The object says.
    Static,
    /// DNS says.
    Dns,
}

/// Reads one.
pub fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> ServiceEntry {
    let hosts = hosts(spec, &path.name("hosts"), report);
    let ports = ports(spec, &path.name("ports"), report);
    let resolution = match spec.text("resolution") {
        Some("STATIC") => Resolution::Static,
        Some("DNS" | "DNS_ROUND_ROBIN" | "DYNAMIC_DNS") => Resolution::Dns,
        _ => Resolution::None,
    };
    let items = spec.items("endpoints");
    let endpoints: Vec<_> = {
        let path = path.name("endpoints");
        items.iter().enumerate().map(|(at, node)| workload_entry::read(node, &path.index(at), report)).collect()
    };
    let selector = spec.get("workloadSelector").map(|node| {
        let path = path.name("workloadSelector");
        super::labels(node, "labels", &path, report)
    });
    if selector.is_some() && !items.is_empty() {
        let cure = "keep one of them";
        report.error(spec.line, path, "endpoints and workloadSelector exclude each other", cure);
    }
    if resolution == Resolution::None && !items.is_empty() {
        let cure = "write `resolution: STATIC`";
        report.error(spec.line, &path.name("endpoints"), "resolution NONE takes no endpoints", cure);
    }
    if resolution == Resolution::Dns {
        let message = "not honoured: host names are not resolved; only endpoints with an IP address are used";
        report.warning(spec.line, &path.name("resolution"), message, "write `resolution: STATIC` with IP addresses");
    }
    ServiceEntry { hosts, ports, resolution, endpoints, selector }
}

fn hosts(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<String> {
    let items = spec.items("hosts");
    if items.is_empty() {
        report.error(spec.line, path, "at least one host is needed", "name the service, as in echo.example.com");
    }
    for (index, node) in items.iter().enumerate() {
        let host = node.as_str().unwrap_or_default();
        let path = path.index(index);
        if host == "*" {
            report.error(node.line, &path, "the host * names no service", "name one host");
        } else if let Some(problem) = names::wildcard_host_problem(host) {
            report.error(node.line, &path, problem, "");
        }
    }
    items.iter().filter_map(|node| Some(node.as_str()?.to_owned())).collect()
}

fn ports(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<EntryPort> {
    let (mut numbers, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut ports = Vec::new();
    for (index, node) in spec.items("ports").iter().enumerate() {
        let path = path.index(index);
        let number = super::port(node.get("number"), node.line, &path.name("number"), report);
        let name = node.text("name").unwrap_or_default();
        if !names::is_host_label(name) {
            report.error(node.line, &path.name("name"), format!("{name:?} is no name of a port"), "for example: tcp");
        } else if !taken.insert(name) {
            report.error(node.line, &path.name("name"), format!("two ports are named {name}"), "rename one");
        }
        if number > 0 && !numbers.insert(number) {
            report.error(node.line, &path.name("number"), format!("port {number} stands twice"), "remove one");
        }
        let target = node
            .get("targetPort")
            .map(|target| super::port(Some(target), target.line, &path.name("targetPort"), report));
        ports.push(EntryPort { number, name: name.to_owned(), target });
    }
    ports
}
