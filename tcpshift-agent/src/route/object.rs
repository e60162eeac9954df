//! An object: its key, its origin, and its content.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use super::key::Key;
use super::model::Spec;
pub use super::stored_document::StoredDocument;

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the user.
    File {
        /// As the user named it.
        path: Arc<str>,
        /// Where the object begins.
        line: usize,
    },
    /// The state directory, or a request.
    Applied,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Applied => f.write_str("applied"),
        }
    }
}

/// A version that a document expects its object to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// As the document says it.
    pub version: String,
    /// Its line in the document.
    pub line: usize,
}

/// A valid object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its name.
    pub key: Key,
    /// Where it comes from.
    pub origin: Origin,
    /// Version of the store in which it last changed; 0 before it is stored.
    pub resource_version: u64,
    /// `metadata.resourceVersion` as the document gives it: a precondition of apply.
    pub expected_version: Option<Expected>,
    /// `metadata.creationTimestamp`. An object without is older than any with.
    pub created: Option<Timestamp>,
    /// The document, without what the store adds (`resourceVersion`, `creationTimestamp`).
    pub content: StoredDocument,
    /// Its meaning, checked.
    pub spec: Spec,
}

impl Object {
    /// Whether another version says the same, wherever it stands.
    pub fn is_like(&self, other: &Self) -> bool {
        self.content == other.content && self.created == other.created
    }

    /// Sorts objects by age, the oldest first, as Istio does: by time, then name, then namespace.
    pub fn age(&self) -> (Option<Timestamp>, &str, &str) {
        (self.created, &self.key.name, &self.key.namespace)
    }

    /// The document as `get` prints it.
    pub fn document(&self) -> Value {
        let mut document = self.content.tree();
        if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
            if let Some(created) = self.created {
                insert_sorted(metadata, "creationTimestamp", json!(created.to_string()));
            }
            if self.resource_version > 0 {
                insert_sorted(metadata, "resourceVersion", json!(self.resource_version.to_string()));
            }
        }
        document
    }
}

/// Puts a field where kubectl prints it: among its neighbours by name.
fn insert_sorted(metadata: &mut Map<String, Value>, name: &str, value: Value) {
    let mut fields: Vec<(String, Value)> = std::mem::take(metadata).into_iter().collect();
    let at = fields.iter().position(|(other, _)| other.as_str() > name).unwrap_or(fields.len());
    fields.insert(at, (name.to_owned(), value));
    metadata.extend(fields);
}
