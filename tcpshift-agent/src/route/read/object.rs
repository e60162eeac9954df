//! Reads one object: its name, its fields and their meaning.

use std::sync::Arc;

use super::content::{allocated, content, drop_status};
use super::document::DocumentReader;
use super::{DEFAULT_NAMESPACE, ReadDocument};
use crate::route::kind::Kind;
use crate::route::node::{Field, Node, Value};
use crate::route::object::{Expected, Key, Object, Origin, StoredDocument};
use crate::route::report::Path;
use crate::route::{metadata, model, names, schema};

impl DocumentReader<'_> {
    /// Reads an object of a kind that tcpshift reads.
    pub(super) fn object(&mut self, kind: Kind, document: &mut Node) {
        let before = self.report.errors();
        let line = document.line;
        let status = allocated(kind, document);
        drop_status(document);
        let first = self.report.count();
        let Some(key) = self.key(kind, document) else { return };
        self.report.object = key.to_string();
        schema::check(document, &schema::document::shape(kind), &Path::ROOT, &mut self.report);
        if let (Some(node), Value::Map(fields)) = (status, &mut document.value) {
            fields.push(Field { line: node.line, name: "status".to_owned(), written: None, node });
        }
        let checked = self.report.count();
        let empty = Node { line, value: Value::Map(Vec::new()) };
        let metadata = document.get("metadata").unwrap_or(&empty);
        metadata::check(kind, metadata, &mut self.report);
        let spec = model::read(&key, document, &mut self.report);
        let created = metadata::created(metadata, &mut self.report);
        self.report.forget_consequences(first..checked);
        if self.report.errors() > before {
            self.entries.push(ReadDocument::Invalid { key, line });
            return;
        }
        let origin = Origin::File { path: Arc::clone(&self.file), line };
        // Empty is the same as absent, as in Kubernetes.
        let expected_version = metadata.get("resourceVersion").and_then(|node| {
            let version = node.as_str().filter(|version| !version.is_empty())?.to_owned();
            Some(Expected { version, line: node.line })
        });
        let content = StoredDocument::new(&content(document, &key));
        let object = Object { key, origin, resource_version: 0, expected_version, created, content, spec };
        self.entries.push(ReadDocument::Valid(Box::new(object)));
    }

    /// The key of an object; none, and an error, if it has no valid name or namespace.
    fn key(&mut self, kind: Kind, document: &Node) -> Option<Key> {
        let path = Path::ROOT.name("metadata");
        let metadata = document.get("metadata");
        let name = metadata.and_then(|metadata| metadata.text("name")).unwrap_or_default();
        // The API takes an empty one as none.
        let given = metadata.and_then(|metadata| metadata.text("namespace")).filter(|given| !given.is_empty());
        let namespace = given.or(self.namespace).unwrap_or(DEFAULT_NAMESPACE);
        kind.name().clone_into(&mut self.report.object);
        if name.is_empty() {
            let given = metadata.and_then(|metadata| metadata.get("name"));
            let (message, cure) = match given.filter(|given| given.as_str().is_none()) {
                Some(given) => {
                    (format!("a name is expected here, and this is {}", given.described()), "put it in quotes")
                }
                None => ("the object has no name".to_owned(), "add `metadata: {name: …}`"),
            };
            self.report.error(&path.name("name"), message, cure);
            return None;
        }
        if let Some(fault) = names::dns_subdomain_fault(name) {
            let message = format!("{} is no name of an object: {}", names::shown(name), fault.problem);
            self.report.error(&path.name("name"), message, fault.cure);
            return None;
        }
        if let Some(fault) = names::dns_label_fault(namespace) {
            let message = format!("{} is no namespace: {}", names::shown(namespace), fault.problem);
            self.report.error(&path.name("namespace"), message, fault.cure);
            return None;
        }
        let key = Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        if let (Some(given), Some(wanted)) = (given, self.namespace)
            && self.only
            && given != wanted
        {
            self.report.object = key.to_string();
            let message = format!("the object is of namespace {given}, the command of namespace {wanted}");
            self.report.error(&path.name("namespace"), message, "remove it, or name the same in the command");
        }
        Some(key)
    }
}
