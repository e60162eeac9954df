//! Writes objects as YAML. The only file that writes YAML.

use serde_json::Value;

/// One document, ending in a newline.
pub fn yaml(value: &Value) -> String {
    // Only maps with keys that are no strings, and values that refuse to be serialized, can fail; JSON has neither.
    serde_yaml::to_string(value).expect("a JSON value is always a YAML document")
}
