//! `ports` of a ServiceEntry.

use std::collections::BTreeSet;

use super::{EntryPort, Resolution};
use crate::route::model::protocol::{self, Protocol};
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Reads them. `has_addresses` says that clients inside a mesh know the service by addresses of its own.
pub(super) fn read(
    spec: &Node,
    resolution: Resolution,
    has_addresses: bool,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> Vec<EntryPort> {
    let (mut numbers, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut ports = Vec::new();
    let hosts = spec.items("hosts").len();
    let mut several = false;
    for (index, node) in spec.items("ports").iter().enumerate() {
        let path = path.index(index);
        let number = crate::route::model::port(node.get("number"), &path.name("number"), report);
        let name = node.text("name").unwrap_or_default();
        if let Some(fault) = names::host_label_fault(name) {
            let message = format!("{} is no name of a port: {}", names::shown(name), fault.problem);
            report.error(&path.name("name"), message, "write for example tcp");
        } else if !taken.insert(name) {
            report.error(&path.name("name"), format!("two ports are named {name}"), "rename one");
        }
        if number > 0 && !numbers.insert(number) {
            report.error(&path.name("number"), format!("port {number} stands twice"), "remove one");
        }
        let written = node.text("protocol").unwrap_or_default();
        let protocol = protocol::parse(written);
        if protocol.is_none() && !written.is_empty() {
            let message = format!("{written:?} is no protocol");
            report.error(&path.name("protocol"), message, "write TCP");
        }
        if !has_addresses && ["", "TCP"].contains(&written) {
            let message =
                format!("without `addresses`, a mesh takes every connection to port {number} for this service");
            report.warning(&path.name("protocol"), message, "add `addresses` if there is a mesh");
        }
        if hosts > 1
            && resolution != Resolution::None
            && !several
            && !matches!(protocol, Some(Protocol::Http | Protocol::Tls))
        {
            several = true;
            let message = "several hosts share this port, and plain TCP does not say which one is meant";
            report.error(&path.name("protocol"), message, "make an object of each host");
        }
        let target = node
            .get("targetPort")
            .filter(|target| target.as_i64() != Some(0))
            .map(|target| crate::route::model::port(Some(target), &path.name("targetPort"), report));
        ports.push(EntryPort { number, name: name.to_owned(), target, protocol });
    }
    ports
}
