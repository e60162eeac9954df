//! DestinationRule: the subsets of a host, and how endpoints are chosen.

use std::collections::BTreeSet;

use super::Labels;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked DestinationRule.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationRule {
    /// As written: short or full, perhaps with a wildcard.
    pub host: String,
    /// For the whole host.
    pub policy: Option<Policy>,
    /// In order; names are unique.
    pub subsets: Vec<Subset>,
}

/// A version of a service: the endpoints that have these labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// All of these; with none every endpoint.
    pub labels: Labels,
    /// Replaces the host's, block by block.
    pub policy: Option<Policy>,
}

/// A traffic policy, as far as it is honoured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// For single ports: replaces the policy around it as a whole.
    pub ports: Vec<(u32, Policy)>,
}

/// How endpoints are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalancer {
    /// The less loaded of two. The default.
    #[default]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
}

impl Policy {
    /// What holds at a port of the host.
    pub fn at(&self, port: u16) -> &Self {
        self.ports.iter().find(|(number, _)| *number == u32::from(port)).map_or(self, |(_, policy)| policy)
    }
}

/// Reads one.
pub fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> DestinationRule {
    let host = spec.text("host").unwrap_or_default();
    if let Some(problem) = names::wildcard_host_problem(host) {
        report.error(spec.line, &path.name("host"), problem, "");
    }
    let policy = spec.get("trafficPolicy").map(|node| policy(node, &path.name("trafficPolicy"), report));
    let mut taken = BTreeSet::new();
    let mut subsets = Vec::new();
    let path = path.name("subsets");
    for (index, node) in spec.items("subsets").iter().enumerate() {
        let path = path.index(index);
        let name = node.text("name").unwrap_or_default();
        if !names::is_host_label(name) {
            let cure = "use letters, digits and inner hyphens, at most 63";
            report.error(node.line, &path.name("name"), format!("{name:?} is no name of a subset"), cure);
        } else if !taken.insert(name) {
            report.error(node.line, &path.name("name"), format!("the subset {name} is declared twice"), "rename one");
        }
        let labels = super::labels(node, "labels", &path, report);
        let policy = node.get("trafficPolicy").map(|node| self::policy(node, &path.name("trafficPolicy"), report));
        subsets.push(Subset { name: name.to_owned(), labels, policy });
    }
    DestinationRule { host: host.to_owned(), policy, subsets }
}

fn policy(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Policy {
    if matches!(&node.value, crate::route::node::Value::Map(fields) if fields.is_empty()) {
        report.error(node.line, path, "trafficPolicy must have at least one field", "remove it, or fill it");
    }
    let load_balancer = node.get("loadBalancer").map(|node| load_balancer(node, &path.name("loadBalancer"), report));
    let path = path.name("portLevelSettings");
    let mut ports = Vec::new();
    for (index, node) in node.items("portLevelSettings").iter().enumerate() {
        let path = path.index(index);
        let Some(port) = node.get("port").and_then(|port| port.integer("number")) else {
            report.error(node.line, &path.name("port"), "a port number is needed", "add `port: {number: N}`");
            continue;
        };
        let lb = node.get("loadBalancer").map(|node| self::load_balancer(node, &path.name("loadBalancer"), report));
        ports.push((port as u32, Policy { load_balancer: lb, ports: Vec::new() }));
    }
    Policy { load_balancer, ports }
}

fn load_balancer(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> LoadBalancer {
    if node.get("simple").is_some() && node.get("consistentHash").is_some() {
        report.error(node.line, path, "simple and consistentHash exclude each other", "keep one of them");
    }
    match node.text("simple") {
        Some("ROUND_ROBIN") => LoadBalancer::RoundRobin,
        Some("RANDOM") => LoadBalancer::Random,
        Some("PASSTHROUGH") => {
            let message = "PASSTHROUGH is not honoured: a gateway's clients name no endpoint; LEAST_REQUEST is used";
            report.warning(node.line, &path.name("simple"), message, "");
            LoadBalancer::LeastRequest
        }
        _ => LoadBalancer::LeastRequest,
    }
}
