//! The words of a shift: new weights for the destinations of a route.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ObjectName;
pub use crate::route::shift::RuleName;

/// `POST /v1/shift`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShiftRequest {
    /// Which route. With an empty `kind` a VirtualService or a TCPRoute, whichever has the name.
    pub object: ObjectName,
    /// Its namespace. Default `default`.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Which of its rules: from 0, or by its name. Without it a VirtualService must have one `tcp` rule that fits; of a TCPRoute
    /// it is the first.
    #[serde(default)]
    pub rule: Option<RuleName>,
    /// Destinations and their shares.
    pub shares: Vec<ShiftShare>,
    /// Check and answer with what would change, store nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Also if more new connections would be refused than now.
    #[serde(default)]
    pub force: bool,
}

/// One word `SUBSET=SHARE` or `BACKEND=SHARE`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShiftShare {
    /// As little of the destination's name as tells it apart. Of a VirtualService: `subset`, `host/subset` or
    /// `host:port/subset`; without a subset `host` or `host:port`. Of a TCPRoute: `backend`, `backend:port`, either with
    /// `namespace/` before it.
    pub subset: String,
    /// In slots: hundredths of a percent, 0 to 10,000.
    pub slots: u32,
}

/// The weights that a shift gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shifted {
    /// The rule, as `tcp[1]` or `rules[1]`, where the route has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// In the order of the route.
    pub destinations: Vec<ShiftedDestination>,
    /// The route with them.
    pub object: Value,
}

/// A destination and its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShiftedDestination {
    /// `host:port/subset`, or `backend:port` of a TCPRoute.
    pub name: String,
    /// As it stands in the route now.
    pub weight: u64,
    /// Of 10,000.
    pub slots: u32,
    /// Of 10,000, before; none if the destination is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots_before: Option<u32>,
}
