//! The words of a look at objects.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /v1/objects/KIND?namespace=NS&name=NAME`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GetRequest {
    /// Any of kubectl's words for the kind.
    pub kind: String,
    /// One namespace; all without it.
    #[serde(default)]
    pub namespace: Option<String>,
    /// One object; it must be there.
    #[serde(default)]
    pub name: Option<String>,
}

/// What get answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetReply {
    /// Sorted by namespace and name; each as it would be written to a file.
    pub items: Vec<Item>,
    /// Version of the whole store; a watch can begin here.
    pub resource_version: String,
    /// As in `status`.
    #[serde(default)]
    pub digest: String,
}

/// One object and where it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The object, whole.
    pub object: Value,
    /// `FILE:LINE`, or `applied`.
    pub origin: String,
}
