//! Gateway: the addresses and ports that are listened on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Labels;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Labels of the agents that serve it; all agents without.
    pub selector: Labels,
    /// What is listened on.
    pub servers: Vec<Server>,
}

/// One port.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// 1 to 65,535.
    pub port: u16,
    /// Name of the port.
    pub name: String,
    /// Whether it is one for plain TCP; any other is not served.
    pub protocol: Protocol,
    /// In place of the agent's listen addresses.
    pub bind: Option<IpAddr>,
    /// `HOST` or `NAMESPACE/HOST`: which VirtualServices it takes.
    pub hosts: Vec<String>,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Bytes.
    Tcp,
    /// Anything that needs to be understood.
    Other,
}

const PLAIN: &[&str] = &["TCP", "MONGO", "REDIS", "MYSQL"];
const KNOWN: &[&str] = &["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "HTTP_PROXY", "TLS", "UDP"];

/// Reads one.
pub fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Gateway {
    let items = spec.items("servers");
    if items.is_empty() {
        report.error(spec.line, &path.name("servers"), "at least one server is needed", "add `servers` with a `port`");
    }
    let selector = super::labels(spec, "selector", path, report);
    let path = path.name("servers");
    let servers: Vec<_> = items.iter().enumerate().map(|(at, node)| server(node, &path.index(at), report)).collect();
    let mut names = BTreeSet::new();
    for (index, node) in items.iter().enumerate() {
        let name = node.get("port").and_then(|port| port.text("name")).unwrap_or_default();
        if !name.is_empty() && !names.insert(name) {
            let path = path.index(index);
            let path = path.name("port");
            report.error(node.line, &path.name("name"), format!("two ports are named {name}"), "rename one");
        }
    }
    Gateway { selector, servers }
}

fn server(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Server {
    let mut server = Server { port: 0, name: String::new(), protocol: Protocol::Other, bind: None, hosts: Vec::new() };
    let bind = node.text("bind").unwrap_or_default();
    let unix = bind.starts_with("unix://");
    match node.get("port") {
        None => {
            report.error(
                node.line,
                &path.name("port"),
                "a port is needed",
                "add `port` with number, name and protocol",
            );
        }
        Some(port) => {
            let path = path.name("port");
            if !unix {
                server.port = super::port(port.get("number"), port.line, &path.name("number"), report);
            }
            port.text("name").unwrap_or_default().clone_into(&mut server.name);
            if server.name.is_empty() {
                report.error(port.line, &path.name("name"), "a name is needed", "name the port, for example tcp");
            }
            let protocol = port.text("protocol").unwrap_or_default().to_ascii_uppercase();
            if PLAIN.contains(&protocol.as_str()) {
                server.protocol = Protocol::Tcp;
            } else if KNOWN.contains(&protocol.as_str()) {
                let message = format!("{protocol} is not served: tcpshift moves plain TCP connections");
                report.warning(
                    port.line,
                    &path.name("protocol"),
                    message,
                    "write TCP if the bytes may pass as they are",
                );
            } else {
                let message = format!("{protocol:?} is no protocol");
                report.error(port.line, &path.name("protocol"), message, "write TCP");
            }
        }
    }
    if unix {
        report.warning(node.line, &path.name("bind"), "not honoured: unix sockets are not listened on", "");
        server.protocol = Protocol::Other;
    } else if !bind.is_empty() {
        server.bind = bind.parse().ok();
        if server.bind.is_none() {
            report.error(
                node.line,
                &path.name("bind"),
                format!("{bind:?} is no IP address"),
                "name an address of this host",
            );
        }
    }
    if node.items("hosts").is_empty() {
        report.error(node.line, &path.name("hosts"), "at least one host is needed", "write `hosts: [\"*\"]`");
    }
    let path = path.name("hosts");
    for (index, node) in node.items("hosts").iter().enumerate() {
        let text = node.as_str().unwrap_or_default();
        if let Some(problem) = host_problem(text) {
            report.error(node.line, &path.index(index), problem, "");
        }
        server.hosts.push(text.to_owned());
    }
    server
}

/// `HOST`, `NAMESPACE/HOST`, `./HOST` or `*/HOST`, where a host is full or begins with a wildcard.
fn host_problem(text: &str) -> Option<String> {
    let host = match text.split_once('/') {
        Some((namespace, host)) => {
            if !matches!(namespace, "." | "*") && !names::is_host_label(namespace) {
                return Some(format!("{namespace:?} is no namespace"));
            }
            host
        }
        None => text,
    };
    if host == "*" || names::is_address(host) {
        return None;
    }
    if !host.contains('.') {
        return Some(format!("{host:?} is a short name; a full host name is needed here"));
    }
    names::wildcard_host_problem(host)
}
