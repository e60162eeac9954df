//! Traffic policies of a DestinationRule: each block of one is read in a file of its own.

pub mod connection_pool;
pub mod load_balancer;
mod locality;
pub mod outlier_detection;
mod tls;

pub use connection_pool::{Keepalive, TcpSettings};
pub use load_balancer::{HashAlgorithm, LoadBalancer};
pub use outlier_detection::OutlierDetection;

use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// Ports with a policy of their own, at most.
const MAX_PORTS: usize = 4096;

/// A traffic policy, as far as it can be honoured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits and timeouts of connections.
    pub connection_pool: Option<TcpSettings>,
    /// When an endpoint is left out for a while.
    pub outlier_detection: Option<OutlierDetection>,
    /// The header that tells an endpoint who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// For single ports: replaces the policy around it as a whole.
    pub ports: Vec<(u32, Policy)>,
}

/// Version of the header that tells an endpoint who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// As text.
    V1,
    /// As bytes.
    V2,
}

impl Policy {
    /// The policies of single ports of the host.
    pub fn at(&self, port: u16) -> &Self {
        self.ports.iter().find(|(number, _)| *number == u32::from(port)).map_or(self, |(_, policy)| policy)
    }
}

/// Reads the policy of a host or a subset.
pub(super) fn read(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Policy {
    let blocks = [
        "loadBalancer",
        "connectionPool",
        "outlierDetection",
        "tls",
        "portLevelSettings",
        "tunnel",
        "proxyProtocol",
        "retryBudget",
    ];
    let has =
        |block: &&str| node.get(block).is_some() && (*block != "portLevelSettings" || !node.items(block).is_empty());
    if !blocks.iter().any(has) {
        report.error(path, "trafficPolicy must have at least one field", "remove it, or add `loadBalancer`");
        return Policy::default();
    }
    if node.get("tunnel").is_some() && node.get("proxyProtocol").is_some() {
        report.error(path, "tunnel and proxyProtocol exclude each other", "keep one of them");
    }
    let mut policy = blocks_of(node, path, report);
    policy.proxy_protocol = node.get("proxyProtocol").map(|node| match node.text("version") {
        Some("V2") => ProxyProtocol::V2,
        _ => ProxyProtocol::V1,
    });
    if let Some(tunnel) = node.get("tunnel") {
        self::tunnel(tunnel, &path.name("tunnel"), report);
    }
    if let Some(budget) = node.get("retryBudget") {
        percent(budget, "percent", &path.name("retryBudget"), report);
    }
    policy.ports = ports(node, &path.name("portLevelSettings"), report);
    policy
}

fn ports(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<(u32, Policy)> {
    let items = node.items("portLevelSettings");
    if items.len() > MAX_PORTS {
        report.error(path, format!("there are {} entries, {MAX_PORTS} at most", items.len()), "remove some");
    }
    let mut ports = Vec::new();
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let port = node.get("port");
        if port.is_none() {
            report.error(&path.name("port"), "a port is needed", "add `port: {number: N}`");
        }
        let number = port.and_then(|port| port.integer("number")).unwrap_or_default();
        if !["loadBalancer", "connectionPool", "outlierDetection", "tls"].iter().any(|block| node.get(block).is_some())
        {
            let cure = "add loadBalancer, connectionPool, outlierDetection or tls";
            report.error(&path, "the settings of a port must have at least one field", cure);
        }
        ports.push((number as u32, blocks_of(node, &path, report)));
    }
    ports
}

/// The blocks that a port's policy can have too.
fn blocks_of(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Policy {
    if let Some(tls) = node.get("tls") {
        tls::check(tls, &path.name("tls"), report);
    }
    let outlier = node.get("outlierDetection");
    Policy {
        load_balancer: node
            .get("loadBalancer")
            .map(|node| load_balancer::read(node, outlier.is_some(), &path.name("loadBalancer"), report)),
        connection_pool: node
            .get("connectionPool")
            .map(|node| connection_pool::read(node, &path.name("connectionPool"), report)),
        outlier_detection: outlier.map(|node| outlier_detection::read(node, &path.name("outlierDetection"), report)),
        proxy_protocol: None,
        ports: Vec::new(),
    }
}

fn tunnel(node: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let protocol = node.text("protocol").unwrap_or_default();
    if !["", "CONNECT", "POST"].contains(&protocol) {
        let message = format!("{protocol:?} is no protocol of a tunnel");
        report.error(&path.name("protocol"), message, "write CONNECT or POST");
    }
    let host = node.text("targetHost").unwrap_or_default();
    if let Some(problem) = names::host_problem(host).filter(|_| !names::is_address(host)) {
        report.error(&path.name("targetHost"), problem, "name a host or an IP address");
    }
    super::port(node.get("targetPort"), &path.name("targetPort"), report);
}

/// A share from 0 to 100, 0 if there is none.
fn percent(node: &Node, name: &str, path: &Path<'_>, report: &mut Report<'_>) -> f64 {
    let Some(field) = node.get(name) else { return 0.0 };
    let share = field.as_f64().unwrap_or_default();
    if !(0.0..=100.0).contains(&share) {
        report.error(&path.name(name), format!("a percentage is 0 to 100, and this is {share}"), "write 0 to 100");
    }
    share
}

/// A duration of at least a millisecond, in whole ones.
fn duration(node: &Node, name: &str, path: &Path<'_>, report: &mut Report<'_>) -> Option<std::time::Duration> {
    let field = node.get(name)?;
    let duration = crate::route::duration::parse(field.as_str()?)?;
    let problem = match duration.as_nanos() {
        0..1_000_000 => "a duration is at least 1ms",
        nanos if nanos % 1_000_000 != 0 => "a duration is in whole milliseconds",
        _ => return Some(duration),
    };
    report.error(&path.name(name), problem, "write for example 500ms or 10s");
    Some(duration)
}
