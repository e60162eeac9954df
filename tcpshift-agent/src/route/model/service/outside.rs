//! The fields of a Service for clients outside a cluster. An API server checks them; they have no effect on plain hosts.

use std::net::IpAddr;

use crate::route::names;
use crate::route::node::{Node, Value};
use crate::route::report::{Path, Report};

/// Checks the fields of a Service of this type.
pub(in crate::route::model) fn check(spec: &Node, kind: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let balanced = kind == "LoadBalancer";
    let reachable = balanced || kind == "NodePort" || kind == "ClusterIP" && !spec.items("externalIPs").is_empty();
    let policy = spec.word("externalTrafficPolicy");
    if policy.is_some() && !reachable {
        let message = format!("the type {kind} takes no connections from outside, and has no such policy");
        report.error(&path.name("externalTrafficPolicy"), message, "remove it");
    }
    health_check(spec, balanced && policy == Some("Local"), path, report);
    for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges"] {
        let is_set = spec.get(name).is_some_and(|node| node.value != Value::List(Vec::new()));
        if is_set && !balanced {
            report.error(&path.name(name), format!("the type {kind} has no load balancer"), "remove it");
        }
    }
    if let Some(fault) = spec.text("loadBalancerClass").and_then(names::qualified_name_fault) {
        let what = fault.problem.replace("no key of a label", "no class");
        report.error(&path.name("loadBalancerClass"), what, fault.cure);
    }
    let ranges = path.name("loadBalancerSourceRanges");
    for (index, node) in spec.items("loadBalancerSourceRanges").iter().enumerate() {
        let text = node.as_str().unwrap_or_default().trim();
        if !text.contains('/') || names::subnet(text).is_none() {
            let message = format!("{} is no subnet", names::shown(text));
            report.error(&ranges.index(index), message, "write for example 10.0.0.0/8");
        }
    }
    let addresses = path.name("externalIPs");
    for (index, node) in spec.items("externalIPs").iter().enumerate() {
        let text = node.as_str().unwrap_or_default();
        if let Some(problem) = address_problem(text) {
            report.error(&addresses.index(index), problem, "write an address that leads to a node");
        }
    }
}

fn health_check(spec: &Node, has_one: bool, path: &Path<'_>, report: &mut Report<'_>) {
    let number = spec.integer("healthCheckNodePort").unwrap_or_default();
    let path = path.name("healthCheckNodePort");
    if number != 0 && !has_one {
        let message = "only the type LoadBalancer with `externalTrafficPolicy: Local` has such a port";
        report.error(&path, message, "remove it");
    } else if !(0..=65_535).contains(&number) {
        report.error(&path, format!("a port from 1 to 65535 is expected here, and this is {number}"), "remove it");
    }
}

/// Why a service cannot have an address. The API server refuses the same addresses for endpoints.
pub(in crate::route::model) fn address_problem(text: &str) -> Option<String> {
    let Ok(address) = text.parse::<IpAddr>() else { return Some(format!("{} is no IP address", names::shown(text))) };
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments()[0] & 0xff0f == 0xff02,
    };
    let what = match address {
        _ if address.is_unspecified() => "no single host",
        _ if address.is_loopback() => "each host itself",
        _ if link_local => "the hosts of one link",
        _ => return None,
    };
    Some(format!("{address} stands for {what}"))
}
