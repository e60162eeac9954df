//! Kubernetes' Service: a service name, its ports, and the labels of its endpoints.
//!
//! The rules are those of the API server when an object is made: defaults first (an empty text and the number 0 stand for a
//! field that is not there), then validation.

mod addresses;
pub(in crate::route::model) mod outside;
mod ports;

use std::time::Duration;

use ipnet::IpNet;

use super::Labels;
use super::export::{self, Export};
use crate::route::key::Key;
use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};
use crate::route::spelling::closest;

/// A checked Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// TCP ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its endpoints; a Service without selects nothing.
    pub selector: Labels,
    /// Time that a client keeps its endpoint; none if it does not.
    pub session_affinity: Option<Duration>,
    /// Its own addresses, which clients inside a mesh connect to.
    pub addresses: Vec<IpNet>,
    /// Whether it has no address of its own.
    pub headless: bool,
    /// The other host that it stands for.
    pub external_name: Option<String>,
    /// Whether endpoints count before they are ready.
    pub publish_not_ready: bool,
    /// The namespaces that see it, by Istio's annotation.
    pub export: Export,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePort {
    /// Port of the service.
    pub port: u16,
    /// Its name; may be empty if it is the only one.
    pub name: String,
    /// The port of endpoints.
    pub target: Option<TargetPort>,
}

/// The port of endpoints for a port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetPort {
    /// At this number.
    Number(u16),
    /// At the port of the endpoint that has this name.
    Name(String),
}

/// Fields of a few words, which may be empty: their names, and what they can be.
const WORDS: &[(&str, &[&str])] = &[
    ("type", &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
    ("sessionAffinity", &["None", "ClientIP"]),
    ("externalTrafficPolicy", &["Cluster", "Local"]),
];

/// As [`WORDS`], for those that may not be empty.
const NAMED: &[(&str, &[&str])] = &[
    ("ipFamilyPolicy", &["SingleStack", "PreferDualStack", "RequireDualStack"]),
    ("internalTrafficPolicy", &["Cluster", "Local"]),
    ("trafficDistribution", &["PreferClose", "PreferSameZone", "PreferSameNode"]),
];

const DEFAULT_AFFINITY: i64 = 10_800;

/// Reads a Service. Ports of other protocols are left out.
pub fn read(key: &Key, metadata: &Node, spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Service {
    if let Some(fault) = names::service_name_fault(&key.name) {
        let message = format!("{} is no name of a Service: {}", names::shown(&key.name), fault.problem);
        report.error(&Path::ROOT.name("metadata").name("name"), message, fault.cure);
    }
    words(spec, path, report);
    let kind = spec.word("type").unwrap_or("ClusterIP");
    let external = kind == "ExternalName";
    let external_name = spec.word("externalName").filter(|_| external).map(str::to_owned);
    if external {
        stands_for(external_name.as_deref(), path, report);
    }
    let headless = addresses::is_headless(spec);
    let addresses = addresses::read(spec, kind, path, report);
    if spec.items("ports").is_empty() && !external && !headless {
        report.error(&path.name("ports"), "at least one port is needed", "add `ports` with a `port`");
    }
    let selector = super::object_labels(spec, "selector", path, report);
    outside::check(spec, kind, path, report);
    Service {
        ports: ports::read(spec, kind, &path.name("ports"), report),
        selector,
        session_affinity: affinity(spec, path, report),
        addresses,
        headless,
        external_name,
        publish_not_ready: spec.flag("publishNotReadyAddresses"),
        export: export::annotated(metadata, &key.namespace),
    }
}

fn words(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) {
    for (names, may_be_empty) in [(WORDS, true), (NAMED, false)] {
        for (name, words) in names {
            let word = spec.text(name).filter(|word| !(words.contains(word) || may_be_empty && word.is_empty()));
            if let Some(word) = word {
                let message = format!("{} is none of {}", names::shown(word), words.join(", "));
                let cure = match closest(word, words.iter().copied()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "write one of them".to_owned(),
                };
                report.error(&path.name(name), message, cure);
            }
        }
    }
}

/// Checks the name that a Service of type `ExternalName` stands for.
fn stands_for(name: Option<&str>, path: &Path<'_>, report: &mut Report<'_>) {
    let path = path.name("externalName");
    let Some(name) = name else {
        report.error(&path, "the type ExternalName needs a name", "name the host that the Service stands for");
        return;
    };
    if let Some(fault) = names::dns_subdomain_fault(name.strip_suffix('.').unwrap_or(name)) {
        let message = format!("{} is no host that the service can stand for: {}", names::shown(name), fault.problem);
        let cure = if name.contains(['/', ':']) { names::host_cure(name).to_owned() } else { fault.cure };
        report.error(&path, message, cure);
    }
}

fn affinity(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let wanted = spec.word("sessionAffinity") == Some("ClientIP");
    let config = spec.get("sessionAffinityConfig");
    let path = path.name("sessionAffinityConfig");
    let Some(config) = config.filter(|_| wanted) else {
        if config.is_some() {
            let message = "it has no effect without `sessionAffinity: ClientIP`";
            report.warning(&path, message, "remove it, or add that");
        }
        return wanted.then(|| Duration::from_secs(DEFAULT_AFFINITY.unsigned_abs()));
    };
    let seconds = config.get("clientIP").and_then(|client| client.integer("timeoutSeconds"));
    let seconds = seconds.unwrap_or(DEFAULT_AFFINITY);
    if !(1..=86_400).contains(&seconds) {
        let path = path.name("clientIP");
        let message = format!("a client is kept 1 to 86400 seconds, and this is {seconds}");
        report.error(&path.name("timeoutSeconds"), message, "write for example 10800");
    }
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}
