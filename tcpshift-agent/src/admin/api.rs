//! The words of the admin API: requests and replies as serde types. Their JSON is the API's contract.

mod shift;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::shift::{RuleName, Share, ShiftRequest, Shifted, ShiftedDestination};
pub use crate::plan::diff::Diff;
use crate::route::problem::Problem;
pub use crate::route::read::Document;

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
}

/// An object as a person names it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectName {
    /// Any of kubectl's words for the kind: `VirtualService`, `virtualservices`, `vs`, `virtualservice.networking.istio.io`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Only if the object has this resourceVersion; else the answer is `Conflict`.
    #[serde(default)]
    pub resource_version: Option<String>,
}

/// Who decides for new connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentStatus {
    /// `kernel` or `agent`.
    pub by: String,
    /// Why it is so.
    pub reason: String,
    /// Connections that went as a kernel program had decided.
    pub kernel: u64,
    /// Connections that the agent decided for though kernel programs are there: they were not seen, or their plan was gone.
    pub agent: u64,
    /// Connections that kernel programs steered, or refused since there was no endpoint, by the destinations that the plan has:
    /// the agent never saw them.
    #[serde(default)]
    pub steered: u64,
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

/// Why a request failed. The JSON of every answer that is not 2xx.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The kind of failure, for programs.
    pub reason: Reason,
    /// For people: what happened, and what to do.
    pub message: String,
    /// Each problem of an invalid request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The request itself is malformed. HTTP 400.
    BadRequest,
    /// The object belongs to a file of the user. HTTP 403.
    Forbidden,
    /// No such object, or no such path of the API. HTTP 404.
    NotFound,
    /// The object has another resourceVersion than the one named. HTTP 409.
    Conflict,
    /// The version to watch from is too old. HTTP 410.
    Gone,
    /// More than the agent takes at once. HTTP 413.
    TooLarge,
    /// Objects that are invalid by themselves. HTTP 422.
    Invalid,
    /// The change is valid and could not be carried out; nothing is stored. HTTP 500.
    Failed,
    /// The agent is ending. HTTP 503.
    Unavailable,
}

impl Failure {
    /// A failure without single problems.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), problems: Vec::new() }
    }
}

/// `GET /v1/status`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReply {
    /// Version of the agent.
    pub version: String,
    /// Process id of the agent.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The plan in force.
    pub generation: u64,
    /// Seed of its decisions.
    pub seed: u64,
    /// Digest of what the objects ask for, in hexadecimal: agents that were given the same objects have one, on any host.
    #[serde(default)]
    pub digest: String,
    /// Counts the endpoint sets that were replaced. An endpoint that comes or goes makes no generation.
    #[serde(default)]
    pub sets: u64,
    /// The datapaths that routes have, as `connect + proxy`; `none` without routes.
    pub datapath: String,
    /// Who decides for new connections.
    pub assignment: AssignmentStatus,
    /// Whether it stopped accepting and waits for connections to end.
    pub draining: bool,
    /// What the selectors of Gateways look at.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Objects in the store.
    pub objects: u64,
    /// By address, then those of clients inside a mesh by host and port.
    pub listeners: Vec<ListenerStatus>,
    /// Live connections of destinations that no plan names any more.
    pub retired_active: u64,
    /// Trouble that is no single route's: descriptors, accept, ports.
    pub trouble: Vec<Trouble>,
    /// What the objects ask for and the plan does not do, and problems of watched files.
    pub notes: Vec<String>,
}

/// One listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// `namespace/gateway:port-name`; `host:port` of a service whose clients inside a mesh are served.
    pub name: String,
    /// Address and port; of a service, its addresses.
    pub address: String,
    /// Why it is not served, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
    /// Connections that no rule fits; they were reset.
    pub unrouted: u64,
    /// In the order of the route files.
    pub routes: Vec<RouteStatus>,
}

/// One route.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// `namespace/name`, `#N` behind it for a later rule.
    pub name: String,
    /// As `tcpshift.io/steer-by`.
    pub steer_by: String,
    /// How its connections reach endpoints; `none` if they cannot.
    pub datapath: String,
    /// Why that way.
    #[serde(default)]
    pub reason: String,
    /// In the order of the route file.
    pub destinations: Vec<DestinationStatus>,
}

/// One destination of a route.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationStatus {
    /// `host:port/subset`
    pub name: String,
    /// As the route file says.
    pub weight: u64,
    /// Of 10,000.
    pub slots: u32,
    /// Endpoints it has.
    pub endpoints: u32,
    /// Where they are.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Why it can serve nothing, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// Connections decided for it since it is there.
    pub opened: u64,
    /// Of those, decided since the route's weights changed last.
    pub opened_since_change: u64,
    /// Share of the route's connections since then, with its 95 % interval; none before the first connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub achieved: Option<Achieved>,
    /// Live connections.
    pub active: u64,
    /// How many may be carried to its host's subset and port; none if there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitStatus>,
    /// Connections that could not be served.
    pub failed: u64,
    /// The reasons, and how many of each; none that is 0.
    pub failures: Vec<Trouble>,
    /// Connections that were served and that the agent ended, by reason; none that is 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Trouble>,
    /// What the kernel recorded of connections that it steered and that are closed; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steered: Option<SteeredStatus>,
}

/// A limit of connections (`maxConnections`), which all routes share that lead to the same host, subset and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitStatus {
    /// Connections at once, at most.
    pub most: u32,
    /// Connections that are carried there now, of all routes.
    pub carried: u64,
}

/// Connections of a destination that the kernel steered and that are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SteeredStatus {
    /// How many.
    pub closed: u64,
    /// Bytes that clients sent, and that were acknowledged.
    pub bytes_sent: u64,
    /// Bytes that clients received.
    pub bytes_received: u64,
    /// The mean of their smoothed round-trip times at their end, in microseconds.
    pub rtt_microseconds: u64,
}

/// A share measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Achieved {
    /// 0 to 1.
    pub share: f64,
    /// Lower end of the 95 % interval (Wilson 1927), 0 to 1.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Something that went wrong, counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// In words.
    pub reason: String,
    /// How often.
    pub count: u64,
}
