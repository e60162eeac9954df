//! DestinationRule: the subsets of a host, and the policies that hold for them.

use std::collections::BTreeSet;

use super::Labels;
use super::export::{self, Export};
use super::policy::{self, Policy};
use crate::route::key::Key;
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
    /// The namespaces that see it.
    pub export: Export,
    /// Labels of the clients inside a mesh that it is for; all clients without.
    pub workload_selector: Option<Labels>,
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

/// Reads a DestinationRule.
pub fn read(key: &Key, spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> DestinationRule {
    let host = spec.text("host").unwrap_or_default();
    if let Some(problem) = names::wildcard_host_problem(host) {
        report.error(&path.name("host"), problem, names::service_cure(host));
    }
    let policy = spec.get("trafficPolicy").map(|node| policy::read(node, &path.name("trafficPolicy"), report));
    let subsets = subsets(spec, &path.name("subsets"), report);
    let export = export::read(spec, &key.namespace, false, path, report);
    let workload_selector = spec.get("workloadSelector").map(|node| {
        if !matches!(&export, Export::Namespaces(known) if known.iter().all(|name| *name == key.namespace))
            && !spec.items("exportTo").is_empty()
        {
            let message = "with a workloadSelector the object cannot be visible in other namespaces";
            report.error(&path.name("exportTo"), message, "write `exportTo: [\".\"]` or leave it out");
        }
        super::selector(node, "matchLabels", &path.name("workloadSelector"), report)
    });
    DestinationRule { host: host.to_owned(), policy, subsets, export, workload_selector }
}

fn subsets(spec: &Node, path: &Path<'_>, report: &mut Report<'_>) -> Vec<Subset> {
    let mut taken = BTreeSet::new();
    let mut subsets = Vec::new();
    for (index, node) in spec.items("subsets").iter().enumerate() {
        let path = path.index(index);
        let name = node.text("name").unwrap_or_default();
        if let Some(fault) = names::host_label_fault(name) {
            let message = format!("{} is no name of a subset: {}", names::shown(name), fault.problem);
            report.error(&path.name("name"), message, fault.cure);
        } else if !taken.insert(name) {
            report.error(&path.name("name"), format!("the subset {name} is declared twice"), "rename one");
        }
        let labels = super::labels(node, "labels", &path, report);
        let policy = node.get("trafficPolicy").map(|node| policy::read(node, &path.name("trafficPolicy"), report));
        subsets.push(Subset { name: name.to_owned(), labels, policy });
    }
    subsets
}
