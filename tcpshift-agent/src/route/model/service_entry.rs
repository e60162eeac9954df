//! ServiceEntry: a service on plain hosts, with its ports and endpoints.

mod endpoints;
mod ports;

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::Labels;
use super::export::{self, Export};
use super::protocol::Protocol;
use super::workload_entry::WorkloadEntry;
use crate::route::key::Key;
use crate::route::names;
use crate::route::node::{Node, Value};
use crate::route::report::{Path, Report};

/// A checked ServiceEntry.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEntry {
    /// Full host names.
    pub hosts: Vec<String>,
    /// Addresses that clients inside a mesh connect to.
    pub addresses: Vec<IpNet>,
    /// Those that Istio allocated to each host, in lower case; none if the object has its own, or may not have any.
    pub allocated: BTreeMap<String, Vec<IpNet>>,
    /// Names and numbers are unique.
    pub ports: Vec<EntryPort>,
    /// The source of its endpoints.
    pub resolution: Resolution,
    /// Endpoints in the object itself.
    pub endpoints: Vec<WorkloadEntry>,
    /// Labels of WorkloadEntries in the same namespace that are its endpoints.
    pub selector: Option<Labels>,
    /// The namespaces that see it.
    pub export: Export,
}

impl ServiceEntry {
    /// The addresses that clients inside a mesh connect to for a host: its own, or those that were allocated to the host.
    pub fn addresses_of(&self, host: &str) -> &[IpNet] {
        let allocated = || self.allocated.get(&host.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default();
        if self.addresses.is_empty() { allocated() } else { &self.addresses }
    }
}

/// A port of a ServiceEntry.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryPort {
    /// Port of the service.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// The port of endpoints, if it is another one.
    pub target: Option<u16>,
    /// Its protocol, if it is given.
    pub protocol: Option<Protocol>,
}

/// The source of its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The client chose the address itself. The default.
    None,
    /// Addresses in the object.
    Static,
    /// All addresses that DNS has for a name.
    Dns,
    /// One address at a time that DNS has for a name.
    DnsRoundRobin,
    /// The addresses that DNS has for the name that each client asks for.
    DynamicDns,
}

impl Resolution {
    fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Static => "STATIC",
            Self::Dns => "DNS",
            Self::DnsRoundRobin => "DNS_ROUND_ROBIN",
            Self::DynamicDns => "DYNAMIC_DNS",
        }
    }
}

/// Addresses, hosts and ports of an object, at most.
const MAX_ITEMS: usize = 256;

/// The label that switches off that Istio makes up addresses.
const AUTO_ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";

/// The label that sends a service's connections through a proxy of Istio's.
const WAYPOINT: &str = "istio.io/use-waypoint";

/// Reads a ServiceEntry.
pub fn read(key: &Key, document: &Node, path: &Path<'_>, report: &mut Report<'_>) -> ServiceEntry {
    let empty = Node { line: document.line, value: Value::Map(Vec::new()) };
    let part = |name: &str| document.get(name).unwrap_or(&empty);
    let (metadata, spec) = (part("metadata"), part("spec"));
    let resolution = match spec.text("resolution") {
        Some("STATIC") => Resolution::Static,
        Some("DNS") => Resolution::Dns,
        Some("DNS_ROUND_ROBIN") => Resolution::DnsRoundRobin,
        Some("DYNAMIC_DNS") => Resolution::DynamicDns,
        _ => Resolution::None,
    };
    for name in ["hosts", "addresses", "ports"] {
        let count = spec.items(name).len();
        if count > MAX_ITEMS {
            let message = format!("there are {count} of them, {MAX_ITEMS} at most");
            report.error(&path.name(name), message, "divide the object");
        }
    }
    let hosts = hosts(spec, resolution, &path.name("hosts"), report);
    let addresses = addresses(spec, resolution, &path.name("addresses"), report);
    let switched_off =
        metadata.string_map("labels").get(AUTO_ALLOCATE).is_some_and(|on| on.eq_ignore_ascii_case("false"));
    // Istio gives an object without addresses some of its own, but for one whose clients know where to go.
    let has_addresses = !spec.items("addresses").is_empty() || resolution != Resolution::None && !switched_off;
    let usable = spec.items("addresses").is_empty() && resolution != Resolution::None && !switched_off;
    let allocated = if usable { allocated(part("status")) } else { BTreeMap::new() };
    let ports = ports::read(spec, resolution, has_addresses, &path.name("ports"), report);
    let endpoints = endpoints::read(spec, resolution, path, report);
    let selector = spec.get("workloadSelector").map(|node| {
        let path = path.name("workloadSelector");
        if matches!(resolution, Resolution::None | Resolution::DynamicDns) {
            let message = format!("it has no use with resolution {}", resolution.name());
            report.warning(&path, message, "write `resolution: STATIC`, or DNS");
        }
        super::selector(node, "labels", &path, report)
    });
    if selector.is_some() && !endpoints.is_empty() {
        let cure = "keep one of them";
        report.error(path, "endpoints and workloadSelector exclude each other", cure);
    }
    if resolution == Resolution::DynamicDns {
        dynamic(metadata, spec, path, report);
    }
    let export = export::read(spec, &key.namespace, true, path, report);
    ServiceEntry { hosts, addresses, allocated, ports, resolution, endpoints, selector, export }
}

/// The rules for an object whose hosts each client resolves for itself.
fn dynamic(metadata: &Node, spec: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    for name in ["addresses", "endpoints"] {
        if !spec.items(name).is_empty() {
            let message =
                format!("resolution DYNAMIC_DNS takes no {name}: DNS is asked for the host of each connection");
            report.error(&path.name(name), message, "remove them, or write another resolution");
        }
    }
    let ports = path.name("ports");
    for (index, node) in spec.items("ports").iter().enumerate() {
        let written = node.text("protocol").unwrap_or_default();
        if !["HTTP", "HTTP2", "GRPC", "TLS"].iter().any(|known| known.eq_ignore_ascii_case(written)) {
            let message = "resolution DYNAMIC_DNS needs a protocol that names the host: HTTP, HTTP2, GRPC or TLS";
            let cure = "write one of them, or give each host an object with `resolution: DNS`";
            report.error(&ports.index(index).name("protocol"), message, cure);
        }
    }
    let labels = metadata.string_map("labels");
    let waypoint = labels.get(WAYPOINT).is_some_and(|name| !name.is_empty() && !name.eq_ignore_ascii_case("none"));
    if waypoint && spec.text("location") == Some("MESH_INTERNAL") {
        let message = format!("resolution DYNAMIC_DNS cannot be MESH_INTERNAL with the label {WAYPOINT}");
        report.error(&path.name("location"), message, "write MESH_EXTERNAL, or another resolution");
    }
}

/// Addresses by the host that they were allocated to.
fn allocated(status: &Node) -> BTreeMap<String, Vec<IpNet>> {
    let mut allocated: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    for item in status.items("addresses") {
        if let (Some(host), Some(address)) = (item.text("host"), item.text("value").and_then(names::address)) {
            let known = allocated.entry(host.to_ascii_lowercase()).or_default();
            if !known.contains(&address.into()) {
                known.push(address.into());
            }
        }
    }
    allocated
}

fn hosts(spec: &Node, resolution: Resolution, path: &Path<'_>, report: &mut Report<'_>) -> Vec<String> {
    let items = spec.items("hosts");
    if items.is_empty() {
        report.error(path, "at least one host is needed", "name the service, as in echo.example.com");
    }
    let resolved =
        matches!(resolution, Resolution::Dns | Resolution::DnsRoundRobin) && spec.items("endpoints").is_empty();
    for (index, node) in items.iter().enumerate() {
        let host = node.as_str().unwrap_or_default();
        let path = path.index(index);
        if host == "*" {
            report.error(&path, "the host * names no service", "name one host");
        } else if let Some(problem) = names::wildcard_host_problem(host) {
            report.error(&path, problem, names::host_cure(host));
        } else if let (true, Some(problem)) = (resolved, names::host_problem(host)) {
            let message = format!("DNS cannot be asked for {host}: {problem}");
            report.error(&path, message, "name a full host, or give endpoints");
        } else if resolution == Resolution::DynamicDns && !host.starts_with('*') {
            let message = "resolution DYNAMIC_DNS is for hosts with a wildcard";
            report.error(&path, message, "write `resolution: DNS` for a host without one");
        }
        let partial = host.contains('*') && host.len() > 1 && !host.starts_with("*.");
        if partial && resolution != Resolution::DynamicDns {
            let message = format!("{host:?} has a wildcard that does not stand for whole labels");
            report.warning(&path, message, "write `*.` before the rest");
        }
    }
    items.iter().filter_map(|host| Some(host.as_str()?.to_owned())).collect()
}

fn addresses(spec: &Node, resolution: Resolution, path: &Path<'_>, report: &mut Report<'_>) -> Vec<IpNet> {
    let mut addresses = Vec::new();
    for (index, node) in spec.items("addresses").iter().enumerate() {
        let text = node.as_str().unwrap_or_default();
        let path = path.index(index);
        if let Some(subnet) = names::subnet(text).filter(|_| text.len() <= 64) {
            addresses.push(subnet);
        } else {
            let message = format!("{text:?} is neither an IP address nor a subnet");
            report.error(&path, message, "write for example 10.0.0.1 or 10.0.0.0/8");
        }
        if text.contains('/') && !matches!(resolution, Resolution::None | Resolution::Static) {
            let message = format!("a subnet cannot be an address with resolution {}", resolution.name());
            report.error(&path, message, "write single addresses, or another resolution");
        }
    }
    addresses
}
