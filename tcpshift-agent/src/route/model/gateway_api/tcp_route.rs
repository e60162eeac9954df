//! TCPRoute: which backends the connections of a listener go to, by which shares.

use std::collections::BTreeSet;

use super::{Form, GROUP};
use crate::route::annotations::{self, Annotations};
use crate::route::key::Key;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked TCPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRoute {
    /// The Gateways that it is attached to.
    pub parents: Vec<ParentRef>,
    /// Its rules; only the first can ever be used, as a rule matches everything.
    pub rules: Vec<TcpRouteRule>,
    /// What its annotations say.
    pub steering: Annotations,
}

/// A reference to a parent of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRef {
    /// Its group; empty for the core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, that of the route by default.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// One listener; every one if none.
    pub section: Option<String>,
    /// Listeners at one port; at any if none.
    pub port: Option<u16>,
}

/// A rule: a list of backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRouteRule {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// 1 to 16.
    pub backends: Vec<BackendRef>,
    /// Line of the rule.
    pub line: usize,
}

/// A backend and its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendRef {
    /// Its group; empty for the core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, that of the route by default.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Port of the service.
    pub port: Option<u16>,
    /// 1 if none is given; with 0 it gets nothing, even alone.
    pub weight: u32,
}

const MAX_WEIGHT: i64 = 1_000_000;

/// Reads a TCPRoute of this version of its group.
pub fn read(
    key: &Key,
    version: &str,
    metadata: &Node,
    spec: &Node,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> TcpRoute {
    super::count(spec, "parentRefs", (0, 32), path, report);
    let parents = {
        let path = path.name("parentRefs");
        let items = spec.items("parentRefs").iter().enumerate();
        let parents: Vec<_> = items.map(|(index, node)| parent(key, node, &path.index(index), report)).collect();
        distinct(&parents, spec, &path, report);
        parents
    };
    let rules = spec.items("rules");
    super::count(spec, "rules", (1, if version == "v1" { 1 } else { 16 }), path, report);
    let path = path.name("rules");
    let mut names = BTreeSet::new();
    for (index, node) in rules.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = super::optional(node, "name", Form::Section, &path, report)
            && !names.insert(name)
        {
            report.error(&path.name("name"), format!("two rules are named {name}"), "rename one");
        }
        if index > 0 {
            let message = format!("rule #{index} is not used: rules match everything, and the first one takes it");
            report.warning(&path, message, "remove it");
        }
    }
    let rules = rules.iter().enumerate().map(|(index, node)| rule(key, node, &path.index(index), report)).collect();
    TcpRoute { parents, rules, steering: annotations::of_tcp_route(metadata) }
}

fn parent(key: &Key, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> ParentRef {
    let group = super::optional(node, "group", Form::Group, path, report).unwrap_or(GROUP).to_owned();
    let kind = super::optional(node, "kind", Form::Kind, path, report).unwrap_or("Gateway").to_owned();
    if (group.as_str(), kind.as_str()) != (GROUP, "Gateway") {
        let message = match kind.as_str() {
            "Gateway" => {
                format!("not honoured: the route can be attached to a Gateway of {GROUP} only, not of {group:?}")
            }
            kind => format!("not honoured: the route can be attached to a Gateway only, not to {kind}"),
        };
        report.warning(path, message, "name a Gateway, without `group` and `kind`");
    }
    let namespace = super::optional(node, "namespace", Form::Namespace, path, report).unwrap_or(&key.namespace);
    ParentRef {
        group,
        kind,
        namespace: namespace.to_owned(),
        name: super::required(node, "name", Form::Name, path, report),
        section: super::optional(node, "sectionName", Form::Section, path, report).map(str::to_owned),
        port: port(node, path, report),
    }
}

/// References to one parent must name different parts of it, in the same way each time. A namespace that is
/// left out and the same one that is written count as two, as in the schema.
fn distinct(parents: &[ParentRef], spec: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let nodes = spec.items("parentRefs");
    for (index, parent) in parents.iter().enumerate() {
        let object =
            |at: usize| (&parents[at].group, &parents[at].kind, nodes[at].text("namespace"), &parents[at].name);
        let Some(other) = (0..index).find(|at| {
            let other = &parents[*at];
            let same_parts = parent.section == other.section && parent.port == other.port;
            let same_fields =
                parent.section.is_some() == other.section.is_some() && parent.port.is_some() == other.port.is_some();
            object(*at) == object(index) && (same_parts || !same_fields)
        }) else {
            continue;
        };
        let ParentRef { kind, name, .. } = &parents[other];
        let message = format!("{kind} {name} is named twice, and not by different sectionName or port");
        report.error(&path.index(index), message, "remove it, or add another sectionName or port to each");
    }
}

fn rule(key: &Key, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> TcpRouteRule {
    super::count(node, "backendRefs", (1, 16), path, report);
    let name = node.text("name").map(str::to_owned);
    let path = path.name("backendRefs");
    let items = node.items("backendRefs").iter().enumerate();
    let backends = items.map(|(index, node)| backend(key, node, &path.index(index), report)).collect();
    TcpRouteRule { name, backends, line: node.line }
}

fn backend(key: &Key, node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> BackendRef {
    let group = super::optional(node, "group", Form::Group, path, report).unwrap_or_default().to_owned();
    let kind = super::optional(node, "kind", Form::Kind, path, report).unwrap_or("Service").to_owned();
    let port = port(node, path, report);
    if group.is_empty() && kind == "Service" {
        if port.is_none() {
            report.error(&path.name("port"), "a Service needs a port", "add the port of the Service");
        }
    } else {
        let message = format!("not honoured: {kind} is no backend that tcpshift knows; its share is refused");
        report.warning(path, message, "name a Service and its port, without `group` and `kind`");
    }
    let weight = node.integer("weight").unwrap_or(1);
    if !(0..=MAX_WEIGHT).contains(&weight) {
        let message = format!("a weight is 0 to {MAX_WEIGHT}, and this is {weight}");
        report.error(&path.name("weight"), message, format!("write 0 to {MAX_WEIGHT}"));
    }
    let namespace = super::optional(node, "namespace", Form::Namespace, path, report).unwrap_or(&key.namespace);
    BackendRef {
        group,
        kind,
        namespace: namespace.to_owned(),
        name: super::required(node, "name", Form::Name, path, report),
        port,
        weight: u32::try_from(weight).unwrap_or_default(),
    }
}

fn port(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<u16> {
    let port = node.get("port")?;
    Some(crate::route::model::port(Some(port), &path.name("port"), report))
}
