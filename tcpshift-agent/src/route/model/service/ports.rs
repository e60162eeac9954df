//! `ports` of a Service.

use std::collections::BTreeSet;

use super::{ServicePort, TargetPort};
use crate::route::names;
use crate::route::node::{Node, Value};
use crate::route::report::{Path, Report};

/// Reads them. Those of other protocols are checked and left out.
pub(super) fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<ServicePort> {
    let items = spec.items("ports");
    let mut ports: Vec<ServicePort> = Vec::new();
    let (mut taken, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let port = crate::route::model::port(node.get("port"), &path.name("port"), report);
        let name = node.text("name").unwrap_or_default();
        if name.is_empty() && items.len() > 1 {
            let message = "a name is needed where there are several ports";
            report.error(&path.name("name"), message, "name it, for example tcp");
        } else if !name.is_empty() && !names::is_dns_label(name) {
            let message = format!("{name:?} is no name of a port");
            report.error(&path.name("name"), message, "use lower-case letters, digits and inner hyphens");
        }
        let protocol = node.text("protocol").unwrap_or("TCP");
        if !["TCP", "UDP", "SCTP"].contains(&protocol) {
            let message = format!("{protocol:?} is no protocol");
            report.error(&path.name("protocol"), message, "write TCP, UDP or SCTP");
        }
        if !name.is_empty() && !taken.insert(name) {
            report.error(&path.name("name"), format!("two ports are named {name}"), "rename one");
        }
        if port > 0 && !numbers.insert((protocol, port)) {
            report.error(&path.name("port"), format!("port {port} stands twice"), "remove one");
        }
        if let Some(node) = node.get("nodePort") {
            let number = node.as_i64().unwrap_or_default();
            if !(0..=65_535).contains(&number) {
                report.error(&path.name("nodePort"), "a port is 1 to 65535", "");
            }
        }
        let target = target(node, &path.name("targetPort"), report);
        if protocol == "TCP" {
            ports.push(ServicePort { port, name: name.to_owned(), target });
        }
    }
    ports
}

fn target(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<TargetPort> {
    let node = node.get("targetPort")?;
    if let Value::String(name) = &node.value {
        if !is_service_name(name) {
            let message = format!("{name:?} is no name of a port of an endpoint");
            let cure = "use lower-case letters, digits and single inner hyphens, at most 15, one letter at least";
            report.error(path, message, cure);
        }
        return Some(TargetPort::Name(name.clone()));
    }
    Some(TargetPort::Number(crate::route::model::port(Some(node), path, report)))
}

/// A name as IANA registers them.
fn is_service_name(name: &str) -> bool {
    names::is_dns_label(name)
        && name.len() <= 15
        && !name.contains("--")
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
}
