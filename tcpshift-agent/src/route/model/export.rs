//! `exportTo`: the namespaces that an object is visible in.

use crate::route::names;
use crate::route::node::Node;
use crate::route::report::{Path, Report};

/// The namespaces that see an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Export {
    /// In every namespace. The default.
    #[default]
    Everywhere,
    /// In these namespaces.
    Namespaces(Vec<String>),
    /// In none, which only a ServiceEntry can say.
    Nowhere,
}

impl Export {
    /// Whether an object is visible in a namespace.
    pub fn reaches(&self, namespace: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Namespaces(namespaces) => namespaces.iter().any(|known| known == namespace),
            Self::Nowhere => false,
        }
    }
}

/// Reads `exportTo` of an object of this namespace. Only a ServiceEntry may say `~`.
pub(super) fn read(spec: &Node, namespace: &str, none: bool, path: &Path<'_>, report: &mut Report<'_>) -> Export {
    let path = path.name("exportTo");
    let items = spec.items("exportTo");
    let mut seen: Vec<&str> = Vec::new();
    for (index, node) in items.iter().enumerate() {
        let path = path.index(index);
        let text = node.as_str().unwrap_or_default();
        let entry = if text == "." { namespace } else { text };
        if seen.contains(&entry) {
            let again = items[..index].iter().any(|other| other.value == node.value);
            let message = if again {
                format!("{text:?} stands twice")
            } else {
                format!(". and {namespace} are the same namespace")
            };
            report.error(&path, message, "keep one of them");
        } else if entry == "~" && !none {
            report.error(&path, "~ can only be said of a ServiceEntry", "write . or name namespaces");
        } else if !matches!(entry, "*" | "~") && !names::is_host_label(entry) {
            let message = format!("{} is no namespace", names::shown(text));
            report.error(&path, message, "write . for this namespace, * for all, or names");
        }
        seen.push(entry);
    }
    for (alone, meaning) in [("*", "all"), ("~", "no")] {
        if seen.len() > 1 && seen.contains(&alone) && (alone != "~" || none) {
            let message = format!("{alone} stands for {meaning} namespaces, and others are named beside it");
            report.error(&path, message, "keep the one or the others");
        }
    }
    match seen.as_slice() {
        [] | ["*"] => Export::Everywhere,
        ["~"] => Export::Nowhere,
        _ => Export::Namespaces(seen.into_iter().map(str::to_owned).collect()),
    }
}

/// The annotation by which Istio lets a Service of Kubernetes say it.
const ANNOTATION: &str = "networking.istio.io/exportTo";

/// Reads the annotation of a Service of this namespace: entries with commas between them. Istio does not check them.
pub(super) fn annotated(metadata: &Node, namespace: &str) -> Export {
    let annotations = metadata.string_map("annotations");
    let Some(text) = annotations.get(ANNOTATION).filter(|text| !text.is_empty()) else { return Export::Everywhere };
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    if entries.contains(&"*") {
        return Export::Everywhere;
    }
    let named = entries.iter().filter(|entry| **entry != "~");
    match named.map(|entry| if *entry == "." { namespace } else { entry }.to_owned()).collect::<Vec<_>>() {
        none if none.is_empty() => Export::Nowhere,
        namespaces => Export::Namespaces(namespaces),
    }
}
