//! EndpointSlice (discovery.k8s.io/v1): endpoints of a Service, which share their ports and have no labels of
//! their own.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Labels;
use super::service::outside;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 100;

/// A checked EndpointSlice.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSlice {
    /// The Service in the same namespace whose endpoints these are.
    pub service: Option<String>,
    /// Labels of the slice, which stand for those of its endpoints.
    pub labels: Labels,
    /// The endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// TCP ports.
    pub ports: Vec<SlicePort>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Of one host; empty where it has a name alone.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes new connections.
    pub ready: bool,
    /// Whether it serves at all, even while it ends.
    pub serving: bool,
    /// Whether it is ending.
    pub terminating: bool,
}

/// A port that all of the endpoints have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// Name of the Service's port.
    pub name: String,
    /// Any if none.
    pub port: Option<u16>,
}

/// Reads an EndpointSlice, whose fields are at the root of the document.
pub fn read(metadata: &Node, root: &Node, report: &mut Report<'_>) -> EndpointSlice {
    let path = Path::ROOT;
    let kind = root.text("addressType").unwrap_or_default();
    if !["IPv4", "IPv6", "FQDN"].contains(&kind) {
        let message = match kind {
            "" => "the type of the addresses is needed".to_owned(),
            _ => format!("{} is no type of address", names::shown(kind)),
        };
        report.error(&path.name("addressType"), message, "write IPv4, IPv6 or FQDN");
    }
    if kind == "FQDN" {
        let message = "not honoured: names are not resolved; these endpoints are not used";
        report.warning(&path.name("addressType"), message, "write IPv4 or IPv6, and addresses");
    }
    let labels = metadata.string_map("labels");
    let service = labels.get(SERVICE_LABEL).cloned();
    if service.is_none() {
        let metadata_path = path.name("metadata");
        let message = format!("without the label {SERVICE_LABEL} these are endpoints of no Service");
        report.warning(&metadata_path.name("labels"), message, "add the label");
    }
    let path = path.name("endpoints");
    let items = root.items("endpoints");
    if items.len() > MAX_ENDPOINTS {
        let message = format!("there are {} endpoints, {MAX_ENDPOINTS} at most", items.len());
        report.error(&path, message, "divide the slice");
    }
    let endpoints =
        items.iter().enumerate().map(|(index, node)| endpoint(node, kind, &path.index(index), report)).collect();
    EndpointSlice { service, labels, endpoints, ports: ports(root, report) }
}

fn endpoint(node: &Node, kind: &str, path: &Path<'_>, report: &mut Report<'_>) -> SliceEndpoint {
    let items = node.items("addresses");
    {
        let path = path.name("addresses");
        if items.is_empty() || items.len() > MAX_ADDRESSES {
            let message = format!("an endpoint has 1 to {MAX_ADDRESSES} addresses, and this has {}", items.len());
            report.error(&path, message, if items.is_empty() { "add one" } else { "remove some" });
        }
        for (index, node) in items.iter().enumerate() {
            let text = node.as_str().unwrap_or_default();
            let address = text.parse::<IpAddr>();
            let fits = match kind {
                "IPv4" => address.as_ref().is_ok_and(IpAddr::is_ipv4),
                "IPv6" => address.as_ref().is_ok_and(IpAddr::is_ipv6),
                "FQDN" => {
                    let name = text.strip_suffix('.').unwrap_or(text);
                    text.len() <= 253 && name.contains('.') && name.split('.').all(names::is_dns_label)
                }
                _ => true,
            };
            // An address of the host itself leads somewhere here, and never in a cluster.
            let local = address.is_ok_and(|address| address.is_loopback());
            let unreachable = outside::address_problem(text).filter(|_| fits && !local && kind != "FQDN");
            if let Some(problem) = unreachable {
                let message = format!("{problem}, and a cluster refuses it");
                report.warning(&path.index(index), message, "write the endpoint's own address");
            }
            if !fits {
                let message = format!("{text:?} is no address of type {kind}");
                report.error(&path.index(index), message, "change it, or `addressType`");
            }
        }
    }
    let host = ("hostname", "host", node.text("hostname").and_then(names::dns_label_fault));
    let node_name = ("nodeName", "node", node.text("nodeName").and_then(names::dns_subdomain_fault));
    for (field, thing, fault) in [host, node_name] {
        if let Some(fault) = fault {
            let text = names::shown(node.text(field).unwrap_or_default());
            report.error(&path.name(field), format!("{text} is no name of a {thing}: {}", fault.problem), fault.cure);
        }
    }
    let says = |name: &str, default: bool| {
        let said = node.get("conditions").filter(|conditions| conditions.get(name).is_some());
        said.map_or(default, |conditions| conditions.flag(name))
    };
    let ready = says("ready", true);
    SliceEndpoint {
        addresses: items.iter().filter_map(|item| item.as_str()?.parse().ok()).collect(),
        ready,
        serving: says("serving", ready),
        terminating: says("terminating", false),
    }
}

fn ports(root: &Node, report: &mut Report<'_>) -> Vec<SlicePort> {
    let path = Path::ROOT.name("ports");
    let items = root.items("ports");
    if items.len() > MAX_PORTS {
        let message = format!("there are {} ports, {MAX_PORTS} at most", items.len());
        report.error(&path, message, "remove some");
    }
    let mut taken = BTreeSet::new();
    let mut ports = Vec::new();
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let name = node.text("name").unwrap_or_default();
        if let Some(fault) = names::dns_label_fault(name).filter(|_| !name.is_empty()) {
            let message = format!("{} is no name of a port: {}", names::shown(name), fault.problem);
            report.error(&path.name("name"), message, fault.cure);
        } else if !taken.insert(name) {
            report.error(&path.name("name"), format!("two ports are named {name:?}"), "rename one");
        }
        let port = node.get("port");
        let port = port.map(|port| super::port(Some(port), &path.name("port"), report));
        match node.text("protocol").unwrap_or("TCP") {
            "TCP" => ports.push(SlicePort { name: name.to_owned(), port }),
            "UDP" | "SCTP" => {}
            other => {
                let message = format!("{other:?} is no protocol");
                report.error(&path.name("protocol"), message, "write TCP, UDP or SCTP");
            }
        }
    }
    ports
}
