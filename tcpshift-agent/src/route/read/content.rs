//! The fields of a document that are kept with its object, and those that a cluster has added.

use serde_json::{Value as Json, json};

use crate::route::kind::Kind;
use crate::route::node::{Field, Node, Value};
use crate::route::object::Key;

/// Allocated addresses that are read of one object, at most.
const MAX_ALLOCATED: usize = 1024;

/// The annotation in which `kubectl apply` keeps the whole object, as text, as it was applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Removes the fields that a cluster adds and `kubectl get -o yaml` prints: they do not count.
pub(super) fn drop_status(document: &mut Node) {
    let Value::Map(fields) = &mut document.value else { return };
    fields.retain(|field| field.name != "status");
    for field in fields.iter_mut().filter(|field| field.name == "metadata") {
        if let Value::Map(fields) = &mut field.node.value {
            fields.retain(|field| field.name != "managedFields");
            for annotations in fields.iter_mut().filter(|field| field.name == "annotations") {
                if let Value::Map(fields) = &mut annotations.node.value {
                    fields.retain(|field| field.name != LAST_APPLIED);
                }
            }
            // Annotations that are empty now count as absent.
            fields.retain(|field| field.name != "annotations" || field.node.value != Value::Map(Vec::new()));
        }
    }
}

/// `status.addresses` of a `ServiceEntry`: Istio allocates addresses to its hosts there, which count like those of `spec`.
/// Istio wrote them, so a value that is no address is left out without a problem.
pub(super) fn allocated(kind: Kind, document: &Node) -> Option<Node> {
    let status = document.get("status").filter(|_| kind == Kind::ServiceEntry)?;
    let fits = |item: &&Node| {
        let host = item.text("host").is_some_and(|host| !host.is_empty() && host.len() <= 255);
        host && item.text("value").is_some_and(|value| value.parse::<std::net::IpAddr>().is_ok())
    };
    let addresses: Vec<Node> = status.items("addresses").iter().filter(fits).take(MAX_ALLOCATED).cloned().collect();
    if addresses.is_empty() {
        return None;
    }
    let node = Node { line: status.line, value: Value::List(addresses) };
    let field = Field { line: node.line, name: "addresses".to_owned(), written: None, node };
    Some(Node { line: status.line, value: Value::Map(vec![field]) })
}

/// The document as it is stored: with its namespace, without the fields that the store adds.
pub(super) fn content(document: &Node, key: &Key) -> Json {
    let mut content = document.to_json();
    if let Some(metadata) = content.get_mut("metadata").and_then(Json::as_object_mut) {
        for added in ["creationTimestamp", "resourceVersion", "uid", "generation", "selfLink"] {
            metadata.shift_remove(added);
        }
        metadata.insert("namespace".to_owned(), json!(key.namespace));
        metadata.sort_keys();
    }
    content
}
