//! Kubernetes' Service: a service name, its ports, and the labels of its endpoints.

mod ports;

use std::time::Duration;

use ipnet::IpNet;

use super::Labels;
use super::export::{self, Export};
use crate::route::names;
use crate::route::node::Node;
use crate::route::object::Key;
use crate::route::report::{Path, Report};

/// A checked Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// TCP ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its endpoints; a Service without selects nothing.
    pub selector: Labels,
    /// How long a client keeps its endpoint, if it keeps it at all.
    pub session_affinity: Option<Duration>,
    /// Its own addresses, which clients inside a mesh connect to.
    pub addresses: Vec<IpNet>,
    /// Whether it has no address of its own.
    pub headless: bool,
    /// The other host that it stands for.
    pub external_name: Option<String>,
    /// Whether endpoints count before they are ready.
    pub publish_not_ready: bool,
    /// Where it is visible, by Istio's annotation.
    pub export: Export,
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

/// Fields of a few words: their names, and what they can be.
const WORDS: &[(&str, &[&str])] = &[
    ("type", &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
    ("sessionAffinity", &["None", "ClientIP"]),
    ("ipFamilyPolicy", &["SingleStack", "PreferDualStack", "RequireDualStack"]),
    ("externalTrafficPolicy", &["Cluster", "Local"]),
    ("internalTrafficPolicy", &["Cluster", "Local"]),
];

const DEFAULT_AFFINITY: i64 = 10_800;

/// Reads one. Ports of other protocols are left out.
pub fn read(key: &Key, metadata: &Node, spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Service {
    if !names::is_dns_label(&key.name) || key.name.starts_with(|first: char| first.is_ascii_digit()) {
        let metadata = Path::ROOT.name("metadata");
        let message =
            format!("{:?} is no name of a Service: it has a dot, begins with a digit, or is too long", key.name);
        report.error(&metadata.name("name"), message, "use lower-case letters, digits and inner hyphens");
    }
    for (name, words) in WORDS {
        if let Some(node) = spec.get(name)
            && !words.contains(&node.as_str().unwrap_or_default())
        {
            let message = format!("{} is none of {}", node.described(), words.join(", "));
            report.error(&path.name(name), message, "write one of them");
        }
    }
    let addresses = addresses(spec, path, report);
    let external = spec.text("type") == Some("ExternalName");
    let external_name = spec.text("externalName").filter(|_| external).map(str::to_owned);
    if external {
        let name = external_name.as_deref().unwrap_or_default();
        if !names::is_dns_subdomain(name.strip_suffix('.').unwrap_or(name)) {
            let message = format!("{name:?} is no host that the service can stand for");
            report.error(&path.name("externalName"), message, "name a host");
        }
    }
    let headless = spec.text("clusterIP") == Some("None");
    if spec.items("ports").is_empty() && !external && !headless {
        report.error(&path.name("ports"), "at least one port is needed", "add `ports` with a `port`");
    }
    let selector = super::object_labels(spec, "selector", path, report);
    Service {
        ports: ports::read(spec, &path.name("ports"), report),
        selector,
        session_affinity: affinity(spec, path, report),
        // Nobody can connect to what stands for another host.
        addresses: if external { Vec::new() } else { addresses },
        headless,
        external_name,
        publish_not_ready: spec.flag("publishNotReadyAddresses"),
        export: export::annotated(metadata, &key.namespace),
    }
}

fn affinity(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let wanted = spec.text("sessionAffinity") == Some("ClientIP");
    let config = spec.get("sessionAffinityConfig");
    let path = path.name("sessionAffinityConfig");
    if !wanted && config.is_some() {
        report.error(&path, "it needs `sessionAffinity: ClientIP`", "add that, or remove this");
    }
    let timeout = config.and_then(|config| config.get("clientIP")).and_then(|client| client.get("timeoutSeconds"));
    let seconds = timeout.and_then(Node::as_i64).unwrap_or(DEFAULT_AFFINITY);
    if !(1..=86_400).contains(&seconds) {
        let path = path.name("clientIP");
        let message = format!("a client is kept 1 to 86400 seconds, and this is {seconds}");
        report.error(&path.name("timeoutSeconds"), message, "");
    }
    wanted.then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// The addresses that clients connect to, each once; and what Kubernetes checks of others, which mean nothing on plain
/// hosts.
fn addresses(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<IpNet> {
    let mut found = Vec::new();
    let mut address = |node: &Node, path: &Path<'_>, report: &mut Report<'_>| {
        let Some(text) = node.as_str().filter(|text| !["", "None"].contains(text)) else { return };
        match names::address(text).map(IpNet::from) {
            Some(address) if found.contains(&address) => {}
            Some(address) => found.push(address),
            None => report.error(path, format!("{text:?} is no IP address"), "write an address, or None"),
        }
    };
    if let Some(node) = spec.get("clusterIP") {
        address(node, &path.name("clusterIP"), report);
    }
    let several = path.name("clusterIPs");
    for (index, node) in spec.items("clusterIPs").iter().enumerate() {
        address(node, &several.index(index), report);
    }
    let families = path.name("ipFamilies");
    let items = spec.items("ipFamilies");
    for (index, node) in items.iter().enumerate() {
        let known = matches!(node.as_str(), Some("IPv4" | "IPv6"));
        if !known || index > 1 || items[..index].iter().any(|other| other.value == node.value) {
            let message = "families are IPv4 and IPv6, each once";
            report.error(&families.index(index), message, "remove it");
        }
    }
    let path = path.name("externalIPs");
    for (index, node) in spec.items("externalIPs").iter().enumerate() {
        let text = node.as_str().unwrap_or_default();
        if !names::is_address(text) {
            report.error(&path.index(index), format!("{text:?} is no IP address"), "write an address");
        }
    }
    found
}
