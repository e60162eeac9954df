//! Kubernetes' Service: a service name, its ports, and the labels of its endpoints.

use std::collections::BTreeSet;

use super::Labels;
use crate::route::node::{Node, Value};
use crate::route::report::{Path, Report};

/// A checked Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// TCP ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its endpoints; a Service without selects nothing.
    pub selector: Labels,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePort {
    /// Port of the service.
    pub port: u16,
    /// Its name; may be empty if it is the only one.
    pub name: String,
    /// Where endpoints serve it.
    pub target: Option<TargetPort>,
}

/// Where endpoints serve a port.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetPort {
    /// At this number.
    Number(u16),
    /// At the port of the endpoint that has this name.
    Name(String),
}

/// Reads one. Ports of other protocols are left out.
pub fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Service {
    let selector = super::labels(spec, "selector", path, report);
    let path = path.name("ports");
    let mut ports: Vec<ServicePort> = Vec::new();
    let (mut taken, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let items = spec.items("ports");
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let port = super::port(node.get("port"), node.line, &path.name("port"), report);
        let name = node.text("name").unwrap_or_default().to_owned();
        if name.is_empty() && items.len() > 1 {
            report.error(node.line, &path.name("name"), "a name is needed where there are several ports", "name it");
        }
        match node.text("protocol").unwrap_or("TCP") {
            "TCP" => {}
            "UDP" | "SCTP" => continue,
            other => {
                let message = format!("{other:?} is no protocol");
                report.error(node.line, &path.name("protocol"), message, "write TCP, UDP or SCTP");
            }
        }
        if !name.is_empty() && !taken.insert(name.clone()) {
            report.error(node.line, &path.name("name"), format!("two ports are named {name}"), "rename one");
        }
        if port > 0 && !numbers.insert(port) {
            report.error(node.line, &path.name("port"), format!("port {port} stands twice"), "remove one");
        }
        let target = match node.get("targetPort").map(|node| &node.value) {
            Some(Value::String(name)) => Some(TargetPort::Name(name.clone())),
            Some(_) => {
                let path = path.name("targetPort");
                Some(TargetPort::Number(super::port(node.get("targetPort"), node.line, &path, report)))
            }
            None => None,
        };
        ports.push(ServicePort { port, name, target });
    }
    Service { ports, selector }
}
