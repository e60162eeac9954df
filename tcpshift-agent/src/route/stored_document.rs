//! A document as it is stored with its object: JSON text. As a tree of values it takes some twenty times the memory, and most
//! are never looked at again.

use std::fmt;

use serde_json::Value;

/// The content of a document.
#[derive(Clone)]
pub struct StoredDocument(Box<str>);

impl StoredDocument {
    /// Stores a tree.
    pub fn new(tree: &Value) -> Self {
        Self(tree.to_string().into())
    }

    /// The tree that was stored.
    pub fn tree(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// What stands at a place, such as `/spec/ports`.
    pub fn at(&self, pointer: &str) -> Option<Value> {
        self.tree().pointer_mut(pointer).map(Value::take)
    }
}

impl PartialEq for StoredDocument {
    /// The order of fields says nothing.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.tree() == other.tree()
    }
}

impl fmt::Debug for StoredDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_comes_back_as_it_was() {
        let tree =
            json!({"b": [1, 31.245_270_191_439_438, 1e300, u64::MAX, -1, null, true], "a": {"é\u{7f}\"\\\n": ""}});
        let stored = StoredDocument::new(&tree);
        assert_eq!(stored.tree().to_string(), tree.to_string(), "fields keep their order");
        assert_eq!(stored.at("/b/1"), Some(json!(31.245_270_191_439_438)));
        assert_eq!(stored.at("/c"), None);
    }

    #[test]
    fn the_order_of_fields_says_nothing() {
        let stored = |text: &str| StoredDocument::new(&serde_json::from_str(text).unwrap());
        assert_eq!(stored(r#"{"a": 1, "b": [1, 2]}"#), stored(r#"{"b": [1, 2], "a": 1}"#));
        assert_ne!(stored(r#"{"a": [1, 2]}"#), stored(r#"{"a": [2, 1]}"#));
    }
}
