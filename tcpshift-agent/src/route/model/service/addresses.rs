//! Addresses of a Service: its own, in `clusterIP` and `clusterIPs`, and their families.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// The `clusterIP` of a Service that has no address.
const NONE: &str = "None";

/// The addresses as the API server completes them: `clusterIPs`, or `clusterIP` where that is all.
fn written(spec: &Node) -> Vec<&str> {
    match spec.items("clusterIPs") {
        [] => spec.word("clusterIP").into_iter().collect(),
        items => items.iter().map(|item| item.as_str().unwrap_or_default()).collect(),
    }
}

/// Whether a Service has no address of its own.
pub(super) fn is_headless(spec: &Node) -> bool {
    written(spec) == [NONE]
}

/// The addresses that clients connect to, of a Service of this type.
pub(super) fn read(spec: &Node, kind: &str, path: &Path<'_>, report: &mut Report<'_>) -> Vec<IpNet> {
    if kind == "ExternalName" {
        // A Service that stands for another host has no addresses.
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if spec.word(name).is_some() || !spec.items(name).is_empty() {
                report.error(&path.name(name), "the type ExternalName has no addresses", "remove it");
            }
        }
        return Vec::new();
    }
    if is_headless(spec) && ["NodePort", "LoadBalancer"].contains(&kind) {
        let name = if spec.word("clusterIP").is_some() { "clusterIP" } else { "clusterIPs" };
        let both = spec.word("clusterIP").is_some() && !spec.items("clusterIPs").is_empty();
        let cure = if both { "remove `clusterIP` and `clusterIPs`" } else { "remove it" };
        report.error(&path.name(name), format!("the type {kind} needs an address"), cure);
    }
    agreement(spec, path, report);
    let found = parsed(spec, path, report);
    families(spec, &found, path, report);
    found.into_iter().map(IpNet::from).collect()
}

/// `clusterIP` and the first of `clusterIPs` are one address, and neither can be left out where several are written.
fn agreement(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(first) = spec.items("clusterIPs").first() else { return };
    let first = first.as_str().unwrap_or_default();
    let path = path.name("clusterIPs");
    match spec.word("clusterIP") {
        None => {
            report.error(&path, "it needs `clusterIP` beside it", format!("add `clusterIP: {first}`"));
        }
        Some(address) if address != first => {
            let message = format!("the first of them is {first}, and clusterIP is {address}");
            report.error(&path.index(0), message, "write one address in both");
        }
        Some(_) => {}
    }
}

fn parsed(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<IpAddr> {
    let items = spec.items("clusterIPs");
    let several = path.name("clusterIPs");
    let mut found: Vec<IpAddr> = Vec::new();
    for (index, text) in written(spec).into_iter().enumerate() {
        let path = if items.is_empty() { path.name("clusterIP") } else { several.index(index) };
        if text == NONE {
            if items.len() > 1 {
                report.error(&path, "None stands for no address, and there are others", "keep the one or the others");
            }
            continue;
        }
        let Some(address) = text.parse::<IpAddr>().ok() else {
            report.error(&path, format!("{} is no IP address", names::shown(text)), "write an address, or None");
            continue;
        };
        if found.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            report.error(&path, "a Service has one address of each family at most", "remove it");
        }
        found.push(address);
    }
    found
}

fn families(spec: &Node, addresses: &[IpAddr], path: &Path<'_>, report: &mut Report<'_>) {
    let items = spec.items("ipFamilies");
    let families = path.name("ipFamilies");
    for (index, node) in items.iter().enumerate() {
        let known = matches!(node.as_str(), Some("IPv4" | "IPv6"));
        if !known || items[..index].iter().any(|other| other.value == node.value) {
            report.error(&families.index(index), "families are IPv4 and IPv6, each once", "remove it");
            return;
        }
    }
    for (index, (node, address)) in items.iter().zip(addresses).enumerate() {
        if (node.as_str() == Some("IPv4")) != address.is_ipv4() {
            let message = format!("{address} is of the other family");
            report.error(&families.index(index), message, "write the families in the order of the addresses");
        }
    }
    let dual = match spec.word("ipFamilyPolicy") {
        None => is_headless(spec) && spec.fields("selector").is_empty(),
        Some(policy) => policy != "SingleStack",
    };
    if !dual && (items.len() > 1 || addresses.len() > 1) {
        let message = "two families need PreferDualStack or RequireDualStack";
        report.error(&path.name("ipFamilyPolicy"), message, "write `ipFamilyPolicy: PreferDualStack`");
    }
}
