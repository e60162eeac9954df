//! VirtualService: which connections of which gateways go where, by which shares.
//!
//! The rules are those of Istio's validator (1.15 and later) for `tcp`; `sourceSubnet`, which Istio keeps in
//! its API and never reads, is honoured and therefore checked too.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::route::annotations::{self, Steering};
use crate::route::names;
use crate::route::node::{Node, Value};
use crate::route::object::Key;
use crate::route::report::{Path, Report};

/// Destinations of one rule. A table of more would take a noticeable time to build, at 10,000 slots to share.
const MOST_DESTINATIONS: usize = 1_000;

/// A checked VirtualService.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualService {
    /// Hosts, which for plain TCP only decide whether a gateway's server takes the object.
    pub hosts: Vec<String>,
    /// Where its rules apply.
    pub gateways: Vec<GatewayRef>,
    /// Its rules in order.
    pub tcp: Vec<TcpRoute>,
    /// What its annotations say.
    pub steering: Steering,
}

/// Where a rule applies.
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
pub struct TcpRoute {
    /// Any of these; with none the rule matches everything.
    pub matches: Vec<RouteMatch>,
    /// Where it goes.
    pub route: Vec<RouteDestination>,
    /// Where the rule begins.
    pub line: usize,
}

/// All of these at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteMatch {
    /// Port of the listener; any if none.
    pub port: Option<u32>,
    /// Gateways, in place of those of the object; empty for those of the object.
    pub gateways: Vec<GatewayRef>,
    /// Clients.
    pub source: Option<IpNet>,
    /// Addresses connected to; any if none.
    pub destinations: Vec<IpNet>,
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

/// Reads one.
pub fn read(key: &Key, metadata: &Node, spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> VirtualService {
    let steering = annotations::read(metadata, report);
    let tcp: Vec<TcpRoute> = {
        let path = path.name("tcp");
        let rules = spec.items("tcp").iter().enumerate();
        rules.map(|(index, rule)| tcp_route(key, rule, &path.index(index), report)).collect()
    };
    if tcp.is_empty() && spec.items("tls").is_empty() && spec.items("http").is_empty() {
        report.error(spec.line, path, "there is no rule", "add `tcp` with at least one rule");
    }
    let gateways = gateways(key, spec, path, report);
    hosts(spec, &gateways, path, report);
    let hosts = spec.items("hosts").iter().filter_map(|host| Some(host.as_str()?.to_owned())).collect();
    let gateways = if gateways.is_empty() { vec![GatewayRef::Mesh] } else { gateways };
    VirtualService { hosts, gateways, tcp, steering }
}

fn hosts(spec: &Node, gateways: &[GatewayRef], path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.name("hosts");
    let hosts = spec.items("hosts");
    let delegate = spec.items("tcp").is_empty() && spec.items("tls").is_empty() && gateways.is_empty();
    if hosts.is_empty() && !delegate {
        report.error(spec.line, &path, "at least one host is needed", "write `hosts: [\"*\"]` for every host");
    }
    let in_mesh = gateways.is_empty() || gateways.contains(&GatewayRef::Mesh);
    let texts: Vec<&str> = hosts.iter().map(|node| node.as_str().unwrap_or_default()).collect();
    let overlaps: HashMap<usize, &str> = names::overlaps(&texts).into_iter().collect();
    for (index, (node, host)) in hosts.iter().zip(texts).enumerate() {
        let path = path.index(index);
        if !names::is_address(host)
            && let Some(problem) = names::wildcard_host_problem(host)
        {
            report.error(node.line, &path, problem, "");
        } else if host == "*" && in_mesh {
            let cure = "name gateways without `mesh`, or a host";
            report.error(node.line, &path, "the host * cannot be used for clients inside a mesh", cure);
        } else if let Some(other) = overlaps.get(&index) {
            report.error(
                node.line,
                &path,
                format!("{host} and {other} are the same host or overlap"),
                "keep one of them",
            );
        }
    }
}

fn gateways(key: &Key, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<GatewayRef> {
    let path = path.name("gateways");
    let items = node.items("gateways").iter().enumerate();
    items.filter_map(|(index, node)| gateway(key, node, &path.index(index), report)).collect()
}

/// `mesh`, `name`, `namespace/name`, `./name`, or the old `name.namespace.svc.cluster.local`.
fn gateway(key: &Key, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<GatewayRef> {
    let text = node.as_str().unwrap_or_default();
    if text == "mesh" {
        return Some(GatewayRef::Mesh);
    }
    let (namespace, name) = match text.split_once('/') {
        Some((".", name)) => (key.namespace.as_str(), name),
        Some((namespace, name)) => (namespace, name),
        None => match text.split_once('.') {
            Some((name, rest)) => {
                let namespace = rest.split('.').next().unwrap_or_default();
                report.warning(
                    node.line,
                    path,
                    "this way to name a gateway is an old one",
                    format!("write {namespace}/{name}"),
                );
                (namespace, name)
            }
            None => (key.namespace.as_str(), text),
        },
    };
    if !names::is_host_label(namespace) || !names::is_dns_subdomain(&name.to_ascii_lowercase()) {
        let cure = "write `name`, `namespace/name` or `mesh`";
        report.error(node.line, path, format!("{text:?} does not name a gateway"), cure);
        return None;
    }
    Some(GatewayRef::Gateway { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn tcp_route(key: &Key, rule: &Node, path: &Path<'_>, report: &mut Report<'_>) -> TcpRoute {
    let matches = {
        let path = path.name("match");
        let items = rule.items("match").iter().enumerate();
        items.map(|(index, node)| route_match(key, node, &path.index(index), report)).collect()
    };
    let path = path.name("route");
    let items = rule.items("route");
    if items.is_empty() {
        report.error(rule.line, &path, "the rule goes nowhere", "add `route` with at least one destination");
    }
    if items.len() > MOST_DESTINATIONS {
        let message = format!("the rule has {} destinations, more than {MOST_DESTINATIONS}", items.len());
        report.error(rule.line, &path, message, "leave out those that get nothing");
        return TcpRoute { matches, route: Vec::new(), line: rule.line };
    }
    let route: Vec<_> =
        items.iter().enumerate().map(|(index, node)| route_destination(node, &path.index(index), report)).collect();
    // Istio adds in 32 bits and lets the sum wrap; so a sum of 2^32 is no sum.
    let weights = items.iter().map(|node| node.integer("weight").unwrap_or(0) as i32);
    let total = weights.fold(0i32, i32::wrapping_add);
    if route.len() > 1 && total == 0 {
        let line = rule.get("route").map_or(rule.line, |node| node.line);
        let cure = "give at least one of them a positive weight";
        report.error(line, &path, "total destination weight = 0: no connection could go anywhere", cure);
    }
    TcpRoute { matches, route, line: rule.line }
}

fn route_match(key: &Key, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> RouteMatch {
    let port = node.integer("port").filter(|port| *port != 0);
    if port.is_some_and(|port| port > 65_535) {
        report.error(node.line, &path.name("port"), "a port has at most 65535", "");
    }
    let source = node.get("sourceSubnet").and_then(|node| subnet(node, &path.name("sourceSubnet"), report));
    let destinations = {
        let path = path.name("destinationSubnets");
        let items = node.items("destinationSubnets").iter().enumerate();
        items.filter_map(|(index, node)| subnet(node, &path.index(index), report)).collect()
    };
    super::labels(node, "sourceLabels", path, report);
    RouteMatch { port: port.map(|port| port as u32), gateways: gateways(key, node, path, report), source, destinations }
}

fn subnet(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<IpNet> {
    let text = node.as_str().unwrap_or_default();
    let subnet = match text.parse::<IpNet>() {
        Ok(subnet) => Some(subnet),
        Err(_) => text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address)),
    };
    if subnet.is_none() {
        let cure = "write an address such as 10.0.0.1 or a subnet such as 10.0.0.0/8";
        report.error(node.line, path, format!("{text:?} is neither an IP address nor a subnet"), cure);
    }
    Some(subnet?.trunc())
}

fn route_destination(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> RouteDestination {
    let weight_node = node.get("weight");
    let weight = weight_node.and_then(Node::as_i64).unwrap_or_default();
    if weight < 0 {
        let line = weight_node.map_or(node.line, |node| node.line);
        report.error(line, &path.name("weight"), format!("weight {weight} < 0"), "a weight is 0 or more");
    }
    let path = path.name("destination");
    let Some(destination) = node.get("destination") else {
        report.error(node.line, &path, "a destination is needed", "add `destination` with a `host`");
        return RouteDestination { host: String::new(), subset: None, port: None, weight: 0 };
    };
    let host = destination.text("host").unwrap_or_default();
    if host == "*" {
        report.error(destination.line, &path.name("host"), "the host * is no destination", "name one host");
    } else if let Some(problem) = names::wildcard_host_problem(host) {
        report.error(destination.line, &path.name("host"), problem, "");
    }
    let subset = destination.get("subset").filter(|node| node.value != Value::String(String::new()));
    if let Some(node) = subset
        && !names::is_host_label(node.as_str().unwrap_or_default())
    {
        let message = format!("{:?} is no name of a subset", node.as_str().unwrap_or_default());
        report.error(node.line, &path.name("subset"), message, "use letters, digits and inner hyphens, at most 63");
    }
    let port = destination.get("port").map(|port| {
        let path = path.name("port");
        super::port(port.get("number"), port.line, &path.name("number"), report)
    });
    RouteDestination {
        host: host.to_owned(),
        subset: subset.and_then(Node::as_str).map(str::to_owned),
        port,
        weight: u32::try_from(weight).unwrap_or_default(),
    }
}
