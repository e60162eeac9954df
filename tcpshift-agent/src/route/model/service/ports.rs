//! `ports` of a Service.

use std::collections::BTreeSet;

use super::{ServicePort, TargetPort};
use crate::route::model;
use crate::route::names;
use crate::route::node::{Node, Value};
use crate::route::report::{Path, Report};

/// Nothing outside may reach the agent of a node.
const KUBELET: u16 = 10_250;

/// Reads those of a Service of this type. Those of other protocols are checked and left out.
pub(super) fn read(spec: &Node, kind: &str, path: &Path<'_>, report: &mut Report<'_>) -> Vec<ServicePort> {
    let items = spec.items("ports");
    let mut ports: Vec<ServicePort> = Vec::new();
    let (mut taken, mut numbers, mut outside) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let port = model::port(node.get("port"), &path.name("port"), report);
        let protocol = node.word("protocol").unwrap_or("TCP");
        let name = name(node, items.len() > 1, &path, report);
        if !["TCP", "UDP", "SCTP"].contains(&protocol) {
            let message = format!("{} is no protocol", names::shown(protocol));
            report.error(&path.name("protocol"), message, "write TCP, UDP or SCTP");
        }
        if !name.is_empty() && !taken.insert(name) {
            report.error(&path.name("name"), format!("two ports are named {name}"), "rename one");
        }
        if port > 0 && !numbers.insert((protocol, port)) {
            report.error(&path.name("port"), format!("port {port} stands twice"), "remove one");
        }
        if port == KUBELET && kind == "LoadBalancer" {
            let message = format!("{KUBELET} is the port of a node's own agent, which no load balancer may expose");
            report.error(&path.name("port"), message, "write another port");
        }
        let node_port = node_port(node, kind, &path, report);
        if node_port.is_some_and(|number| !outside.insert((protocol, number))) {
            report.error(&path.name("nodePort"), "this nodePort stands twice", "remove one");
        }
        if let Some(fault) = node.text("appProtocol").and_then(names::qualified_name_fault) {
            let what = fault.problem.replace("no key of a label", "no protocol");
            report.error(&path.name("appProtocol"), what, fault.cure);
        }
        let target = target(node, &path.name("targetPort"), report);
        if protocol == "TCP" {
            ports.push(ServicePort { port, name: name.to_owned(), target });
        }
    }
    ports
}

fn name<'n>(node: &'n Node, several: bool, path: &Path<'_>, report: &mut Report<'_>) -> &'n str {
    let name = node.text("name").unwrap_or_default();
    let path = path.name("name");
    if name.is_empty() {
        if several {
            let message = "a name is needed where there are several ports";
            report.error(&path, message, "name it, for example tcp");
        }
    } else if let Some(fault) = names::dns_label_fault(name) {
        let message = format!("{} is no name of a port: {}", names::shown(name), fault.problem);
        report.error(&path, message, fault.cure);
    }
    name
}

fn node_port(node: &Node, kind: &str, path: &Path<'_>, report: &mut Report<'_>) -> Option<i64> {
    let number = node.integer("nodePort").filter(|number| *number != 0)?;
    let path = path.name("nodePort");
    if kind == "ClusterIP" {
        report.error(&path, "the type ClusterIP has no port of a node", "remove it, or change `type`");
    } else if !(1..=65_535).contains(&number) {
        report.error(&path, format!("a port from 1 to 65535 is expected here, and this is {number}"), "remove it");
    }
    Some(number)
}

fn target(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<TargetPort> {
    let node = node.get("targetPort")?;
    match &node.value {
        Value::String(name) if name.is_empty() => None,
        Value::String(name) => {
            if let Some(fault) = names::container_port_fault(name) {
                let message = format!("{} is no name of a port of an endpoint: {}", names::shown(name), fault.problem);
                let digits = name.bytes().all(|byte| byte.is_ascii_digit());
                report.error(path, message, if digits { "remove the quotes".to_owned() } else { fault.cure });
            }
            Some(TargetPort::Name(name.clone()))
        }
        _ if node.as_i64() == Some(0) => None,
        _ => Some(TargetPort::Number(model::port(Some(node), path, report))),
    }
}
