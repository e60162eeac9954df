//! The words of a change: apply, delete, and the preview of either.

use serde::{Deserialize, Serialize};

use super::{Diff, Document, ObjectName, Shifted};
use crate::route::problem::Problem;

/// `POST /v1/apply`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApplyRequest {
    /// What to store.
    pub documents: Vec<Document>,
    /// Namespace of objects that name none. Default `default`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Check and answer with what would change, store nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Replace objects whatever resourceVersion they have.
    #[serde(default)]
    pub force: bool,
    /// Store nothing if more new connections would be refused than now.
    #[serde(default)]
    pub strict: bool,
}

/// `POST /v1/preview`: what an apply or a delete of these documents would change. Nothing is changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PreviewRequest {
    /// What would be stored or removed.
    pub documents: Vec<Document>,
    /// Namespace of objects that name none. Default `default`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The objects would be removed; only kind, namespace and name are read.
    #[serde(default)]
    pub delete: bool,
    /// As of an apply.
    #[serde(default)]
    pub force: bool,
}

/// `POST /v1/delete`: the objects that documents name, or one by kind and name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeleteRequest {
    /// Objects by document; only kind, namespace and name are read.
    #[serde(default)]
    pub documents: Vec<Document>,
    /// Objects by name.
    #[serde(default)]
    pub objects: Vec<ObjectName>,
    /// Namespace of objects that name none. Default `default`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// An object that is not there is no failure.
    #[serde(default)]
    pub ignore_not_found: bool,
    /// Also if more new connections of the routes that remain would be refused than now.
    #[serde(default)]
    pub force: bool,
}

/// What apply, delete, shift and preview answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeReply {
    /// In the order of the request.
    pub results: Vec<ChangeResult>,
    /// What is worth knowing; nothing that stopped the change.
    pub warnings: Vec<Problem>,
    /// The plan in force now.
    pub generation: u64,
    /// Of a preview or a dry run: what would be different in the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Diff>,
    /// Of a shift: the weights that it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shifted: Option<Shifted>,
}

/// What became of one object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeResult {
    /// As kubectl prints it: `virtualservice.networking.istio.io/tcp-echo`.
    pub object: String,
    /// Its namespace.
    pub namespace: String,
    /// What was done.
    pub action: Action,
    /// The object's version now; none for what is deleted or passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It is new.
    Created,
    /// It was there and is different now.
    Configured,
    /// It was there as it is.
    Unchanged,
    /// It is gone.
    Deleted,
    /// It was not there, and that was no failure.
    NotFound,
    /// tcpshift does not read its kind.
    PassedOver,
}
