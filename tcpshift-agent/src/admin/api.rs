//! The words of the admin API: requests and replies as serde types. Their JSON is the API's contract.

mod change;
mod connections;
mod failure;
mod read;
mod shift;
mod status;
mod watch;

use serde::{Deserialize, Serialize};

pub use self::change::{Action, ApplyRequest, ChangeReply, ChangeResult, DeleteRequest, PreviewRequest};
pub use self::connections::{CloseReply, CloseRequest, ConnectionFilter, ConnectionStatus, ConnectionsReply};
pub use self::failure::{ApiFailure, FailureReason};
pub use self::read::{GetReply, GetRequest, Item};
pub use self::shift::{RuleName, ShiftRequest, ShiftShare, Shifted, ShiftedDestination};
pub use self::status::{
    Achieved, AssignmentStatus, DestinationStatus, EndpointStatus, LimitStatus, ListenerStatus, RouteStatus,
    StatusReply, SteeredStatus, Trouble,
};
pub use self::watch::{WatchChange, WatchEvent, WatchFilter, WatchReply, WatchRequest};
pub use crate::plan::diff::Diff;
pub use crate::route::read::Document;

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
