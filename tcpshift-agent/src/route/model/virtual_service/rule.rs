//! One `tcp` or `tls` rule of a VirtualService: its matches and its destinations.

use ipnet::IpNet;

use super::{RouteDestination, RouteMatch, TcpRule, TlsMatch, TlsRule, gateways};
use crate::route::key::Key;
use crate::route::model;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Destinations of one rule. A table of more would take a noticeable time to build, at 10,000 slots to share.
const MOST_DESTINATIONS: usize = 1_000;

/// Reads a `tcp` rule.
pub(super) fn tcp(key: &Key, rule: &Node, path: &Path<'_>, report: &mut Report<'_>) -> TcpRule {
    let matches = {
        let path = path.name("match");
        let items = rule.items("match").iter().enumerate();
        items.map(|(index, node)| connection(key, node, &path.index(index), report)).collect()
    };
    TcpRule { matches, route: destinations(rule, path, report), line: rule.line }
}

/// Reads a `tls` rule of an object with this spec.
pub(super) fn tls(key: &Key, spec: &Node, rule: &Node, path: &Path<'_>, report: &mut Report<'_>) -> TlsRule {
    let items = rule.items("match");
    if items.is_empty() {
        let cure = "add `match` with `sniHosts`";
        report.error(&path.name("match"), "a tls rule needs at least one match", cure);
    }
    let matches = {
        let path = path.name("match");
        let items = items.iter().enumerate();
        items.map(|(index, node)| tls_match(key, spec, node, &path.index(index), report)).collect()
    };
    TlsRule { matches, route: destinations(rule, path, report), line: rule.line }
}

fn tls_match(key: &Key, spec: &Node, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> TlsMatch {
    let connection = connection(key, node, path, report);
    let path = path.name("sniHosts");
    let items = node.items("sniHosts");
    if items.is_empty() {
        report.error(&path, "at least one server name is needed", "name one of the object's hosts");
    }
    let hosts: Vec<&str> = spec.items("hosts").iter().filter_map(Node::as_str).collect();
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let sni = node.as_str().unwrap_or_default();
        let explicitly_meshed = spec.items("gateways").iter().any(|gateway| gateway.as_str() == Some("mesh"));
        if let Some(problem) = super::host_problem(sni, !explicitly_meshed) {
            if names::is_address(sni) {
                let message = format!("{sni} is an IP address, and clients send no address as server name");
                report.warning(&path, message, "name one of the object's hosts");
            } else {
                report.error(&path, problem, "name one of the object's hosts");
            }
        } else if !hosts.iter().any(|host| inside(sni, host)) {
            let message = format!("{sni} is none of the object's hosts ({})", hosts.join(", "));
            // A wildcard beside the hosts that it covers would be an error there.
            let cure = match names::host_problem(sni) {
                Some(_) => "name one of these",
                None => "name one of these, or add it to `hosts`",
            };
            report.error(&path, message, cure);
        }
    }
    TlsMatch { sni_hosts: items.iter().filter_map(|item| Some(item.as_str()?.to_owned())).collect(), connection }
}

/// Whether every name that `sni` stands for is one of `host`.
fn inside(sni: &str, host: &str) -> bool {
    match (sni.strip_prefix('*'), host.strip_prefix('*')) {
        (Some(sni), Some(host)) => sni.ends_with(host),
        (None, Some(host)) => sni.ends_with(host),
        (Some(_), None) => false,
        (None, None) => sni == host,
    }
}

fn connection(key: &Key, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> RouteMatch {
    let port = node.integer("port").filter(|port| *port != 0);
    if port.is_some_and(|port| port > 65_535) {
        report.error(&path.name("port"), "a port has at most 65535", "write the port that clients connect to");
    }
    let source = node.get("sourceSubnet").and_then(|node| subnet(node, &path.name("sourceSubnet"), report));
    let destinations = {
        let path = path.name("destinationSubnets");
        let items = node.items("destinationSubnets").iter().enumerate();
        items.filter_map(|(index, node)| subnet(node, &path.index(index), report)).collect()
    };
    RouteMatch {
        port: port.map(|port| port as u32),
        gateways: gateways::read(key, node, path, report),
        source,
        destinations,
        source_labels: model::labels(node, "sourceLabels", path, report),
        source_namespace: node.text("sourceNamespace").filter(|name| !name.is_empty()).map(str::to_owned),
    }
}

fn subnet(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<IpNet> {
    let text = node.as_str().unwrap_or_default();
    let subnet = names::subnet(text);
    if subnet.is_none() {
        let cure = "write an address such as 10.0.0.1 or a subnet such as 10.0.0.0/8";
        report.error(path, format!("{text:?} is neither an IP address nor a subnet"), cure);
    }
    subnet
}

fn destinations(rule: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<RouteDestination> {
    let path = path.name("route");
    let items = rule.items("route");
    if items.is_empty() {
        report.error(&path, "the rule goes nowhere", "add `route` with at least one destination");
    }
    if items.len() > MOST_DESTINATIONS {
        let message = format!("the rule has {} destinations, more than {MOST_DESTINATIONS}", items.len());
        report.error(&path, message, "remove some");
        return Vec::new();
    }
    let route: Vec<_> =
        items.iter().enumerate().map(|(index, node)| destination(node, &path.index(index), report)).collect();
    // A negative weight, which is an error by itself, counts as 0.
    let weights = items.iter().map(|node| node.integer("weight").unwrap_or(0).max(0) as i32);
    let total = weights.fold(0i32, i32::wrapping_add);
    if route.len() > 1 && total == 0 {
        let (message, cure) = if route.iter().all(|destination| destination.weight == 0) {
            ("no connection could go anywhere", "give at least one of them a positive weight")
        } else {
            ("Istio adds in 32 bits, and the sum wraps", "write smaller weights")
        };
        report.error(&path, format!("total destination weight = 0: {message}"), cure);
    }
    route
}

fn destination(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> RouteDestination {
    let weight_node = node.get("weight");
    let weight = weight_node.and_then(Node::as_i64).unwrap_or_default();
    if weight < 0 {
        report.error(&path.name("weight"), format!("weight {weight} < 0"), "write 0 or more");
    }
    let path = path.name("destination");
    let Some(destination) = node.get("destination") else {
        report.error(&path, "a destination is needed", "add `destination` with a `host`");
        return RouteDestination { host: String::new(), subset: None, port: None, weight: 0 };
    };
    let host = destination.text("host").unwrap_or_default();
    if host == "*" {
        report.error(&path.name("host"), "the host * is no destination", "name one host");
    } else if let Some(problem) = names::wildcard_host_problem(host) {
        report.error(&path.name("host"), problem, names::service_cure(host));
    }
    let subset = destination.word("subset");
    if let Some((name, fault)) = subset.and_then(|name| Some((name, names::host_label_fault(name)?))) {
        let message = format!("{} is no name of a subset: {}", names::shown(name), fault.problem);
        report.error(&path.name("subset"), message, fault.cure);
    }
    let port = destination.get("port").map(|port| {
        let path = path.name("port");
        model::port(port.get("number"), &path.name("number"), report)
    });
    RouteDestination {
        host: host.to_owned(),
        subset: subset.map(str::to_owned),
        port,
        weight: u32::try_from(weight).unwrap_or_default(),
    }
}
