//! The words of a watch: the changes of objects, one event each.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /v1/watch/KIND?namespace=NS&name=NAME&resourceVersion=N`: one [`WatchEvent`] as JSON a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WatchRequest {
    /// Any of kubectl's words for the kind.
    pub kind: String,
    /// One namespace; all without it.
    #[serde(default)]
    pub namespace: Option<String>,
    /// One object.
    #[serde(default)]
    pub name: Option<String>,
    /// Begin after this version of the store; without it, at what is there now, as `ADDED`.
    #[serde(default)]
    pub resource_version: Option<String>,
}

/// A started watch: what is already known, then what comes.
#[derive(Debug)]
pub struct WatchReply {
    /// To be sent first.
    pub backlog: Vec<WatchEvent>,
    /// Everything that changes from then on, of every kind: to be filtered with `matches`.
    pub events: tokio::sync::broadcast::Receiver<Arc<WatchEvent>>,
    /// What the watch is for.
    pub filter: WatchFilter,
}

/// Which events a watch is for.
#[derive(Clone, Debug)]
pub struct WatchFilter {
    /// The kind's full name, as [`WatchEvent::kind`].
    pub kind: String,
    /// One namespace.
    pub namespace: Option<String>,
    /// One name.
    pub name: Option<String>,
}

impl WatchFilter {
    /// Whether the watch is for this event.
    pub fn matches(&self, event: &WatchEvent) -> bool {
        let Self { kind, namespace, name } = self;
        *kind == event.kind
            && namespace.as_ref().is_none_or(|namespace| *namespace == event.namespace)
            && name.as_ref().is_none_or(|name| *name == event.name)
    }
}

/// One change of one object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchEvent {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    #[serde(rename = "type")]
    pub change: WatchChange,
    /// `virtualservice.networking.istio.io`.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// The object, as it is now or last was.
    pub object: Value,
    /// `FILE:LINE`, or `applied`.
    pub origin: String,
    /// Version of the store after the change.
    pub resource_version: String,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WatchChange {
    /// It is new.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}
