//! VirtualService: which connections of which gateways go where, by which shares.
//!
//! The rules are those of Istio's validator (1.15 and later) for `tcp` and `tls`; `sourceSubnet`, which Istio
//! keeps in its API and never reads, is honoured and therefore checked too. Of `http` only the presence counts.

mod gateways;
mod rule;
mod unreachable;

use ipnet::IpNet;

use super::Labels;
use super::export::{self, Export};
use crate::route::annotations::{self, Annotations};
use crate::route::key::Key;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked VirtualService.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualService {
    /// Hosts, which for plain TCP only decide whether a gateway's server takes the object.
    pub hosts: Vec<String>,
    /// The gateways and meshes that its rules are for.
    pub gateways: Vec<GatewayRef>,
    /// Its `tcp` rules in order.
    pub tcp: Vec<TcpRule>,
    /// Its `tls` rules in order.
    pub tls: Vec<TlsRule>,
    /// The namespaces that see it.
    pub export: Export,
    /// Its annotations.
    pub steering: Annotations,
}

/// A gateway that a rule is for, or the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GatewayRef {
    /// To clients inside a mesh.
    Mesh,
    /// To a Gateway.
    Gateway {
        /// Namespace of the Gateway.
        namespace: String,
        /// Name of the Gateway.
        name: String,
    },
}

/// One `tcp` rule.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpRule {
    /// Any of these; with none the rule matches everything.
    pub matches: Vec<RouteMatch>,
    /// Its destinations.
    pub route: Vec<RouteDestination>,
    /// Line of the rule.
    pub line: usize,
}

/// One `tls` rule.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsRule {
    /// Any of these; never empty.
    pub matches: Vec<TlsMatch>,
    /// Its destinations.
    pub route: Vec<RouteDestination>,
    /// Line of the rule.
    pub line: usize,
}

/// All of these at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteMatch {
    /// Port of the listener; any if none.
    pub port: Option<u32>,
    /// Gateways; those of the object if empty.
    pub gateways: Vec<GatewayRef>,
    /// Clients.
    pub source: Option<IpNet>,
    /// Addresses connected to; any if none.
    pub destinations: Vec<IpNet>,
    /// Labels of the clients inside a mesh that the rule is for.
    pub source_labels: Labels,
    /// Their namespace.
    pub source_namespace: Option<String>,
}

/// All of these at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsMatch {
    /// Server names that the client may ask for, perhaps with wildcards; never empty.
    pub sni_hosts: Vec<String>,
    /// The conditions that a `tcp` rule can have too.
    pub connection: RouteMatch,
}

/// A destination and its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteDestination {
    /// As written: short or full.
    pub host: String,
    /// Subset of a DestinationRule of the host.
    pub subset: Option<String>,
    /// Port of the service.
    pub port: Option<u16>,
    /// 0 if none is given.
    pub weight: u32,
}

/// Reads a VirtualService.
pub fn read(key: &Key, metadata: &Node, spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> VirtualService {
    let steering = annotations::read(metadata, report);
    let tcp = {
        let path = path.name("tcp");
        let rules = spec.items("tcp").iter().enumerate();
        rules.map(|(index, node)| rule::tcp(key, node, &path.index(index), report)).collect()
    };
    let tls = {
        let path = path.name("tls");
        let rules = spec.items("tls").iter().enumerate();
        rules.map(|(index, node)| rule::tls(key, spec, node, &path.index(index), report)).collect()
    };
    if ["tcp", "tls", "http"].iter().all(|rules| spec.items(rules).is_empty()) {
        report.error(path, "there is no rule", "add `tcp` with at least one rule");
    }
    unreachable::warn(spec, path, report);
    if !in_mesh(spec) {
        clients(spec, path, report);
    }
    let gateways = gateways::read(key, spec, path, report);
    hosts(spec, path, report);
    let hosts = spec.items("hosts").iter().filter_map(|host| Some(host.as_str()?.to_owned())).collect();
    let gateways = if spec.items("gateways").is_empty() { vec![GatewayRef::Mesh] } else { gateways };
    let export = export::read(spec, &key.namespace, false, path, report);
    VirtualService { hosts, gateways, tcp, tls, export, steering }
}

/// Warns of matches for some clients inside a mesh, where there are none.
fn clients(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.name("tcp");
    for (index, rule) in spec.items("tcp").iter().enumerate() {
        let path = path.index(index);
        let path = path.name("match");
        for (at, block) in rule.items("match").iter().enumerate() {
            for name in ["sourceLabels", "sourceNamespace"] {
                if block.get(name).is_some() {
                    let message = "not honoured: it selects clients inside a mesh, and the object is for gateways";
                    report.warning(&path.index(at).name(name), message, "remove it");
                }
            }
        }
    }
}

fn hosts(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.name("hosts");
    let hosts = spec.items("hosts");
    if hosts.is_empty() {
        // Without hosts it is what another object's http rules delegate to, and can have nothing else.
        for other in ["gateways", "tls", "tcp"] {
            if !spec.items(other).is_empty() {
                let message = format!("at least one host is needed beside `{other}`");
                let cure = match (in_mesh(spec), spec.items("gateways").is_empty()) {
                    (false, _) => "write `hosts: [\"*\"]` for every host",
                    (true, true) => "name the service that clients ask for, or add `gateways` and `hosts: [\"*\"]`",
                    (true, false) => "name the service that clients ask for",
                };
                report.error(&path, message, cure);
                break;
            }
        }
    }
    let in_mesh = in_mesh(spec);
    let sni = spec.items("tls").iter().flat_map(|rule| rule.items("match")).any(|m| !m.items("sniHosts").is_empty());
    let before = report.errors();
    for (index, node) in hosts.iter().enumerate() {
        let path = path.index(index);
        let host = node.as_str().unwrap_or_default();
        if names::is_address(host) {
            continue;
        }
        let generated = sni && !in_mesh && host.starts_with("outbound_");
        if let Some(problem) = host_problem(host, generated) {
            let example = "write for example outbound_.443_._.echo.example.com";
            let cure = if generated { example } else { names::host_cure(host) };
            report.error(&path, problem, cure);
        } else if host == "*" && in_mesh {
            let cure = match spec.items("gateways") {
                [] => "name the service that clients ask for, or add `gateways`",
                _ => "name the service that clients ask for",
            };
            report.error(&path, "the host * cannot be used for clients inside a mesh", cure);
        }
    }
    if report.errors() > before {
        return;
    }
    let texts: Vec<&str> = hosts.iter().map(|node| node.as_str().unwrap_or_default()).collect();
    for (index, other) in names::overlaps(&texts) {
        let message = format!("{} and {other} are the same host or overlap", texts[index]);
        report.error(&path.index(index), message, "keep one of them");
    }
}

/// Whether a VirtualService applies to clients inside a mesh.
fn in_mesh(spec: &Node) -> bool {
    let gateways = spec.items("gateways");
    gateways.is_empty() || gateways.iter().any(|gateway| gateway.as_str() == Some("mesh"))
}

/// As hosts anywhere; behind a gateway with SNI also the names that Istio makes up itself, as
/// `outbound_.80_._.example.com`.
fn host_problem(host: &str, generated: bool) -> Option<String> {
    if !generated || host.len() > 255 || !host.starts_with("outbound_") {
        return names::wildcard_host_problem(host);
    }
    let parts: Vec<&str> = host.split('_').collect();
    let has = |index: usize, fits: fn(char) -> bool| parts.get(index).is_some_and(|part| part.contains(fits));
    let fits = has(1, |letter| letter.is_ascii_digit()) && has(3, |letter| letter.is_ascii_alphabetic());
    (!fits).then(|| format!("{} is not of the form outbound_.PORT_._.HOST", names::shown(host)))
}
