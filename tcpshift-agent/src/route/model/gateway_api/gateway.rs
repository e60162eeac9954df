//! The Gateway API's Gateway: the ports that are listened on, and which routes may be attached to each.

use std::net::IpAddr;

use super::Form;
use crate::route::model::Labels;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// A checked Gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayApiGateway {
    /// The class of controllers that serve it.
    pub class: String,
    /// Ports that are listened on.
    pub listeners: Vec<GatewayListener>,
}

/// One port.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayListener {
    /// Its name, which routes can refer to.
    pub name: String,
    /// 1 to 65,535.
    pub port: u16,
    /// As written; TCP is the one that is served.
    pub protocol: String,
    /// Namespaces whose routes may be attached.
    pub namespaces: Namespaces,
    /// Groups and kinds of routes that may be attached; those that fit the protocol if empty.
    pub kinds: Vec<(String, String)>,
}

/// Namespaces whose routes may be attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// The namespace of the Gateway. The default.
    #[default]
    Same,
    /// Every one.
    All,
    /// Namespaces with these labels. On plain hosts a namespace has one label, its name.
    Selected(Labels),
}

const TCP_KINDS: &[&str] = &["TCPRoute"];
const MAX_LISTENERS: usize = 64;
const MAX_ADDRESSES: usize = 16;

/// Reads a Gateway.
pub fn read(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> GatewayApiGateway {
    let class = super::required(spec, "gatewayClassName", Form::Name, path, report);
    super::count(spec, "listeners", (1, MAX_LISTENERS), path, report);
    addresses(spec, path, report);
    if let Some(node) = spec.get("infrastructure") {
        infrastructure(node, &path.name("infrastructure"), report);
    }
    let path = path.name("listeners");
    let items = spec.items("listeners");
    let mut listeners: Vec<GatewayListener> = Vec::new();
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let listener = listener(node, &path, report);
        if listeners.iter().any(|other| other.name == listener.name) && !listener.name.is_empty() {
            let message = format!("two listeners are named {}", listener.name);
            report.error(&path.name("name"), message, "rename one");
        }
        let same = listeners.iter().zip(items).find(|(other, other_node)| {
            other.port == listener.port
                && other.protocol == listener.protocol
                && other_node.text("hostname") == node.text("hostname")
        });
        if let Some((other, _)) = same {
            let message = format!("the listener {} has the same port, protocol and hostname", other.name);
            report.error(&path, message, "remove one of them");
        }
        listeners.push(listener);
    }
    GatewayApiGateway { class, listeners }
}

fn listener(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> GatewayListener {
    let name = super::required(node, "name", Form::Section, path, report);
    let port = crate::route::model::port(node.get("port"), &path.name("port"), report);
    let protocol = node.text("protocol").unwrap_or_default();
    match protocol {
        "TCP" => {}
        "HTTP" | "HTTPS" | "TLS" | "UDP" => {
            let message = format!("{protocol} is not served: tcpshift moves plain TCP connections");
            report.warning(&path.name("protocol"), message, to_tcp(node, ", if the bytes may pass as they are"));
        }
        _ if is_protocol(protocol) => {
            let message = format!("{protocol} is not served: it is no protocol that tcpshift knows");
            report.warning(&path.name("protocol"), message, to_tcp(node, ""));
        }
        _ => report.error(&path.name("protocol"), format!("{protocol:?} is no protocol"), to_tcp(node, "")),
    }
    if let Some(hostname) = node.get("hostname") {
        let text = hostname.as_str().unwrap_or_default();
        let host = text.strip_prefix("*.").unwrap_or(text);
        let path = path.name("hostname");
        if !super::is_subdomain(host) || text.len() > 253 {
            let message = format!("{text:?} is no host name");
            report.error(&path, message, "use lower case, and `*.` at the beginning at most");
        } else if is_one_of(protocol, &["TCP", "UDP"]) {
            let message = format!("{protocol} connections name no host");
            report.error(&path, message, "remove it");
        }
    }
    tls(node, protocol, path, report);
    let (namespaces, kinds) = allowed(node, protocol, path, report);
    GatewayListener { name, port, protocol: protocol.to_owned(), namespaces, kinds }
}

/// The cure for a listener that is not for TCP.
fn to_tcp(node: &Node, condition: &str) -> String {
    let allowed = node.get("allowedRoutes").is_some_and(|routes| !routes.items("kinds").is_empty());
    let given = ["hostname", "tls"].into_iter().filter(|name| node.get(name).is_some());
    let without: Vec<_> = given.chain(allowed.then_some("allowedRoutes.kinds")).collect();
    match without.as_slice() {
        [] => format!("write TCP{condition}"),
        fields => format!("write TCP and remove {}{condition}", fields.join(" and ")),
    }
}

/// A word, or a domain, a slash and a word.
fn is_protocol(text: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let simple =
        |text: &str| names::is_host_label(text) || text.len() > 63 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    text.len() <= 255
        && match text.split_once('/') {
            Some((domain, name)) => super::is_subdomain(domain) && word(name),
            None => simple(text),
        }
}

fn tls(node: &Node, protocol: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.name("tls");
    let Some(tls) = node.get("tls") else {
        if is_one_of(protocol, &["TLS"]) {
            report.error(&path, "the protocol TLS needs `tls`", "add `tls: {mode: Passthrough}`");
        }
        return;
    };
    if is_one_of(protocol, &["HTTP", "TCP", "UDP"]) {
        report.error(&path, format!("the protocol {protocol} has no `tls`"), "remove it");
        return;
    }
    let mode = tls.text("mode").unwrap_or("Terminate");
    if is_one_of(protocol, &["HTTPS"]) && mode != "Terminate" {
        report.error(&path.name("mode"), "HTTPS can be terminated only", "write Terminate, and add `certificateRefs`");
    }
    if mode == "Terminate" && tls.items("certificateRefs").is_empty() && tls.fields("options").is_empty() {
        report.error(&path, "Terminate needs certificateRefs or options", "add `certificateRefs`");
    }
    super::count(tls, "certificateRefs", (0, 64), &path, report);
    entries(tls, "options", 16, &path, report);
    let path = path.name("certificateRefs");
    for (index, node) in tls.items("certificateRefs").iter().enumerate() {
        let path = path.index(index);
        super::required(node, "name", Form::Name, &path, report);
        super::optional(node, "namespace", Form::Namespace, &path, report);
    }
}

fn allowed(
    node: &Node,
    protocol: &str,
    path: &Path<'_>,
    report: &mut Report<'_>,
) -> (Namespaces, Vec<(String, String)>) {
    let Some(routes) = node.get("allowedRoutes") else { return (Namespaces::Same, Vec::new()) };
    let path = path.name("allowedRoutes");
    super::count(routes, "kinds", (0, 8), &path, report);
    let mut kinds = Vec::new();
    {
        let path = path.name("kinds");
        for (index, node) in routes.items("kinds").iter().enumerate() {
            let path = path.index(index);
            let group = super::optional(node, "group", Form::Group, &path, report).unwrap_or(super::GROUP).to_owned();
            let kind = super::required(node, "kind", Form::Kind, &path, report);
            if protocol == "TCP" && (group != super::GROUP || !TCP_KINDS.contains(&kind.as_str())) {
                let message = format!("no {kind} can be attached to a listener for TCP");
                report.warning(&path, message, "write `kind: TCPRoute` alone");
            }
            kinds.push((group, kind));
        }
    }
    let namespaces = routes.get("namespaces").map(|node| {
        let path = path.name("namespaces");
        match node.text("from") {
            Some("All") => Namespaces::All,
            Some("Selector") => Namespaces::Selected(selector(node, &path, report)),
            _ => Namespaces::Same,
        }
    });
    (namespaces.unwrap_or_default(), kinds)
}

fn selector(node: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Labels {
    let path = path.name("selector");
    let Some(selector) = node.get("selector") else {
        let message = "no namespace is selected";
        report.warning(&path, message, "add `selector: {matchLabels: …}`");
        return Labels::new();
    };
    let expressions = path.name("matchExpressions");
    for (index, node) in selector.items("matchExpressions").iter().enumerate() {
        let path = expressions.index(index);
        for name in ["key", "operator"] {
            if node.get(name).is_none() {
                report.error(&path.name(name), format!("{name} is needed"), "add it");
            }
        }
        report.warning(&path, "not honoured: only matchLabels are compared", "use matchLabels");
    }
    crate::route::model::object_labels(selector, "matchLabels", &path, report)
}

/// Whether a listener's protocol is one of these. The schema takes them in any case.
fn is_one_of(protocol: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(protocol))
}

/// Labels and annotations for objects that a controller makes for a Gateway.
fn infrastructure(node: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    entries(node, "labels", 8, path, report);
    entries(node, "annotations", 16, path, report);
    crate::route::model::object_labels(node, "labels", path, report);
    {
        let path = path.name("annotations");
        for field in node.fields("annotations") {
            if let Some(fault) = names::annotation_key_fault(&field.name) {
                report.fault(&path.name(&field.name), fault);
            }
        }
    }
    if let Some(reference) = node.get("parametersRef") {
        let path = path.name("parametersRef");
        for (name, form) in [("group", Form::Group), ("kind", Form::Kind), ("name", Form::Name)] {
            super::required(reference, name, form, &path, report);
        }
    }
}

/// Checks the number of entries of a map.
fn entries(node: &Node, name: &str, most: usize, path: &Path<'_>, report: &mut Report<'_>) {
    let found = node.fields(name).len();
    if found > most {
        let message = format!("at most {most} of them can be here, and there are {found}");
        report.error(&path.name(name), message, "remove some");
    }
}

fn addresses(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    super::count(spec, "addresses", (0, MAX_ADDRESSES), path, report);
    let path = path.name("addresses");
    let items = spec.items("addresses");
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let (kind, value) = (node.text("type").unwrap_or("IPAddress"), node.text("value").unwrap_or_default());
        let known = ["IPAddress", "Hostname"].contains(&kind);
        if !known && kind != "NamedAddress" && !kind.contains('/') {
            let cure = if value.parse::<IpAddr>().is_ok() { "write IPAddress" } else { "write Hostname" };
            report.error(&path.name("type"), format!("{kind:?} is no type of address"), cure);
        }
        if kind == "IPAddress" && !value.is_empty() && value.parse::<IpAddr>().is_err() {
            let message = format!("{value:?} is no IP address");
            report.error(&path.name("value"), message, "write an address, or `type: Hostname`");
        }
        let host = value.strip_prefix("*.").unwrap_or(value);
        if kind == "Hostname" && !value.is_empty() && !super::is_subdomain(host) || value.chars().count() > 253 {
            let message = format!("{value:?} is no host name");
            report.error(&path.name("value"), message, "use lower case, and `*.` at the beginning at most");
        }
        let same = |other: &Node| {
            other.text("type").unwrap_or("IPAddress") == kind && other.text("value").unwrap_or_default() == value
        };
        if known && !value.is_empty() && items[..index].iter().any(same) {
            report.error(&path, format!("{value} stands twice"), "remove one");
        }
    }
}
