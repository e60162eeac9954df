//! Istio's Gateway: the addresses and ports that are listened on.

mod host;
mod tls;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Labels;
use super::protocol;
pub use super::protocol::Protocol;
use crate::route::key::Key;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Labels of the agents that serve it; all agents without.
    pub selector: Labels,
    /// Addresses and ports that are listened on.
    pub servers: Vec<Server>,
}

/// One address and port.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// 1 to 65,535; 0 for a unix socket.
    pub port: u16,
    /// Name of the port.
    pub name: String,
    /// Only one for plain TCP is served.
    pub protocol: Protocol,
    /// The address that is listened on; the agent's listen addresses if none.
    pub bind: Option<IpAddr>,
    /// The unix socket that is listened on instead of an address and a port.
    pub socket: Option<String>,
    /// `HOST` or `NAMESPACE/HOST`: which VirtualServices it takes.
    pub hosts: Vec<String>,
}

/// Reads a Gateway.
pub fn read(key: &Key, spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Gateway {
    if let Some(fault) = names::dns_label_fault(&key.name) {
        let message = format!("{} is no name of a Gateway: {}", names::shown(&key.name), fault.problem);
        report.error(&Path::ROOT.name("metadata").name("name"), message, fault.cure);
    }
    let items = spec.items("servers");
    if items.is_empty() {
        report.error(&path.name("servers"), "at least one server is needed", "add `servers` with `port` and `hosts`");
    }
    // Istio does not check a Gateway's selector.
    let selector = spec.string_map("selector");
    let path = path.name("servers");
    let servers: Vec<_> = items.iter().enumerate().map(|(at, node)| server(node, &path.index(at), report)).collect();
    let mut names = BTreeSet::new();
    for (index, node) in items.iter().enumerate() {
        let Some(port) = node.get("port") else { continue };
        let name = port.text("name").unwrap_or_default();
        if !name.is_empty() && !names.insert(name) {
            let path = path.index(index);
            let path = path.name("port");
            report.error(&path.name("name"), format!("two ports are named {name}"), "rename one");
        }
    }
    Gateway { selector, servers }
}

fn server(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Server {
    let mut server =
        Server { port: 0, name: String::new(), protocol: Protocol::Udp, bind: None, socket: None, hosts: Vec::new() };
    let bind = node.text("bind").unwrap_or_default();
    if let Some(socket) = bind.strip_prefix("unix://") {
        let path = path.name("bind");
        if let Some(problem) = names::socket_problem(socket) {
            report.error(&path, format!("{bind:?}: {problem}"), "write for example unix:///run/tcp-echo.sock");
        }
        report.warning(
            &path,
            "not honoured: unix sockets are not listened on",
            "name an address of this host, and a port",
        );
        server.socket = Some(socket.to_owned());
    } else if !bind.is_empty() {
        server.bind = names::address(bind);
        if server.bind.is_none() {
            let message = format!("{bind:?} is no IP address");
            report.error(&path.name("bind"), message, "name an address of this host");
        }
    }
    if let Some(port) = node.get("port") {
        self::port(&mut server, port, node.get("tls"), path, report);
    } else {
        let cure = "add `port` with number, name and protocol";
        report.error(&path.name("port"), "a port is needed", cure);
    }
    if node.items("hosts").is_empty() {
        report.error(&path.name("hosts"), "at least one host is needed", "write `hosts: [\"*\"]`");
    }
    let path = path.name("hosts");
    for (index, node) in node.items("hosts").iter().enumerate() {
        let text = node.as_str().unwrap_or_default();
        if let Some((problem, cure)) = host::problem(text) {
            report.error(&path.index(index), problem, cure);
        }
        server.hosts.push(text.to_owned());
    }
    server
}

fn port(server: &mut Server, port: &Node, tls: Option<&Node>, server_path: &Path<'_>, report: &mut Report<'_>) {
    let path = server_path.name("port");
    let number = port.integer("number").unwrap_or_default();
    if server.socket.is_none() {
        server.port = super::port(port.get("number"), &path.name("number"), report);
    } else if number != 0 {
        let message = format!("a unix socket has no port, and this is {number}");
        report.error(&path.name("number"), message, "write 0");
    }
    port.text("name").unwrap_or_default().clone_into(&mut server.name);
    if server.name.is_empty() {
        report.error(&path.name("name"), "a name is needed", "name the port, for example tcp");
    }
    if port.integer("targetPort").unwrap_or_default() > 0 {
        let message = "targetPort has no meaning in a Gateway";
        report.error(&path.name("targetPort"), message, "remove it");
    }
    let written = port.text("protocol").unwrap_or_default();
    let protocol = protocol::parse(written);
    match protocol {
        Some(Protocol::Tcp) => {}
        Some(_) => {
            let message = format!("{written} is not served: tcpshift moves plain TCP connections");
            let cure = match tls {
                Some(_) => "write TCP and remove `tls`, if the bytes may pass as they are",
                None => "write TCP, if the bytes may pass as they are",
            };
            report.warning(&path.name("protocol"), message, cure);
        }
        None => {
            let cure = if tls.is_some() { "write TCP and remove `tls`" } else { "write TCP" };
            report.error(&path.name("protocol"), format!("{written:?} is no protocol"), cure);
        }
    }
    server.protocol = protocol.unwrap_or(Protocol::Udp);
    tls::check(tls, protocol, &server_path.name("tls"), report);
}

/// Whether a server that lists `hosts`, of a Gateway in `own`, takes a VirtualService of a namespace: one of the
/// service's hosts has to be one of the server's. A short host is a Service of its namespace.
pub fn admits(hosts: &[String], own: &str, namespace: &str, service: &[String]) -> bool {
    hosts.iter().any(|entry| {
        let (wanted, host) = entry.split_once('/').unwrap_or(("*", entry));
        let namespace_fits = match wanted {
            "*" => true,
            "." => namespace == own,
            wanted => namespace == wanted,
        };
        namespace_fits
            && service.iter().any(|other| {
                if other.contains(['.', '*', ':']) {
                    names::hosts_overlap(host, other)
                } else {
                    names::hosts_overlap(host, &names::service_host(other, namespace))
                }
            })
    })
}
