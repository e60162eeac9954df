//! Objects besides the valid ones: invalid objects, of which only the names are known, and pods, whose labels count and whose
//! addresses are not known.
//!
//! A reference to an invalid object is no finding: the error of the object itself is reported.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::texts::{Texts, group};
use crate::route::kind::Kind;
use crate::route::model::{Labels, selects};
use crate::route::names;
use crate::route::node::{Node, Value};
use crate::route::object::Key;

/// Kinds that make pods, with their groups.
const PODS: &[(&str, &str)] =
    &[("", "Pod"), ("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("apps", "ReplicaSet")];

/// Pods of one object.
struct Pods {
    /// `Deployment default/echo`
    owner: String,
    labels: Labels,
}

/// Objects that the checks do not see, by the names that others refer to.
#[derive(Default)]
pub(super) struct Beside {
    left_out: HashSet<Key>,
    /// Hosts of Services and ServiceEntries.
    hosts: HashSet<String>,
    wild: Vec<String>,
    /// Hosts of DestinationRules.
    rules: HashSet<String>,
    /// Namespaces with objects of a kind.
    kinds: HashSet<(Kind, String)>,
    /// Names of Gateways that routes are for.
    bound: HashSet<(Kind, String)>,
    /// By namespace.
    pods: HashMap<String, Vec<Pods>>,
}

impl Beside {
    /// Adds an object that is left out.
    pub(super) fn leave_out(&mut self, key: Key, node: Option<&Node>) {
        self.kinds.insert((key.kind, key.namespace.clone()));
        let spec = node.and_then(|node| node.get("spec"));
        let texts = |name: &str| {
            let items = spec.map(|spec| spec.items(name)).unwrap_or_default();
            items.iter().filter_map(|item| item.as_str()).map(str::to_owned).collect::<Vec<_>>()
        };
        match key.kind {
            Kind::Service => drop(self.hosts.insert(names::service_host(&key.name, &key.namespace))),
            Kind::ServiceEntry => {
                for host in texts("hosts") {
                    let host = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
                    if host.starts_with('*') {
                        self.wild.push(host);
                    } else {
                        self.hosts.insert(host);
                    }
                }
            }
            Kind::DestinationRule => {
                let host = spec.and_then(|spec| spec.text("host")).unwrap_or_default();
                self.rules.insert(names::full_host(host, &key.namespace));
            }
            Kind::VirtualService => {
                let name = |gateway: &str| gateway.rsplit('/').next().unwrap_or_default().to_owned();
                self.bound.extend(texts("gateways").iter().map(|gateway| (Kind::Gateway, name(gateway))));
            }
            Kind::TcpRoute => {
                let parents = spec.map(|spec| spec.items("parentRefs")).unwrap_or_default();
                let parents = parents.iter().filter_map(|parent| parent.text("name"));
                self.bound.extend(parents.map(|name| (Kind::GatewayApiGateway, name.to_owned())));
            }
            _ => {}
        }
        self.left_out.insert(key);
    }

    /// Adds the labels of the pods of a file's objects.
    pub(super) fn add_pods(&mut self, texts: &mut Texts<'_>, file: &str) {
        let nodes: Vec<Node> = texts.objects(file).iter().filter(|node| is_of_pods(node)).cloned().collect();
        for node in nodes {
            let kind = node.text("kind").unwrap_or_default();
            let metadata = node.get("metadata");
            let template = || node.get("spec")?.get("template")?.get("metadata");
            let labelled = if kind == "Pod" { metadata } else { template() };
            let namespace = texts.namespace_of(&node);
            let name = metadata.and_then(|metadata| metadata.text("name")).unwrap_or_default();
            let owner = format!("{kind} {namespace}/{name}");
            let labels = labelled.map(|labelled| labelled.string_map("labels")).unwrap_or_default();
            self.pods.entry(namespace).or_default().push(Pods { owner, labels });
        }
    }

    /// Whether an object is left out.
    pub(super) fn has(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.left_out.contains(&Key { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// Whether an object of a kind is left out, in a namespace.
    pub(super) fn has_kind(&self, kind: Kind, namespace: &str) -> bool {
        self.kinds.contains(&(kind, namespace.to_owned()))
    }

    /// Whether an object that is left out would provide a host.
    pub(super) fn provides(&self, namespace: &str, host: &str) -> bool {
        let host = names::full_host(host, namespace);
        let covered = || host.starts_with('*') && self.hosts.iter().any(|known| names::covers(&host, known));
        self.hosts.contains(&host) || covered() || self.wild.iter().any(|wild| names::hosts_overlap(wild, &host))
    }

    /// Whether a DestinationRule of a host is left out.
    pub(super) fn rules(&self, namespace: &str, host: &str) -> bool {
        let host = names::full_host(host, namespace);
        self.rules.iter().any(|rule| *rule == host || rule.starts_with('*') && names::covers(rule, &host))
    }

    /// Whether a route for a Gateway of this name is left out.
    pub(super) fn is_bound(&self, gateway: &Key) -> bool {
        self.bound.contains(&(gateway.kind, gateway.name.clone()))
    }

    /// Whether endpoints of services of a namespace are left out.
    pub(super) fn has_endpoints(&self, namespace: &str) -> bool {
        [Kind::WorkloadEntry, Kind::EndpointSlice].iter().any(|kind| self.has_kind(*kind, namespace))
    }

    /// The objects that make pods with all labels of two selectors.
    pub(super) fn pods(&self, namespace: &str, selector: &Labels, more: &Labels) -> BTreeSet<&str> {
        let fits = |pods: &&Pods| selects(selector, &pods.labels) && selects(more, &pods.labels);
        self.pods.get(namespace).into_iter().flatten().filter(fits).map(|pods| pods.owner.as_str()).collect()
    }
}

/// Whether an object makes pods, or is one.
fn is_of_pods(node: &Node) -> bool {
    let kind = node.text("kind").unwrap_or_default();
    matches!(node.value, Value::Map(_)) && PODS.contains(&(group(node), kind))
}
