//! What a [`Diff`] says: the JSON of `preview`.

use serde::{Deserialize, Serialize};

use super::moves::Move;

/// What is different in a newer plan. The JSON of `preview`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// Listeners that come, go, or take their name from another Gateway; by address.
    pub listeners: Vec<ListenerDiff>,
    /// Ports of services, for clients inside a mesh, that come, go, or have other addresses.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub mesh: Vec<MeshDiff>,
    /// Routes that come, go, or change; by address of the listener, then by name.
    pub routes: Vec<RouteDiff>,
    /// Clients that fall to another route than before, or to one only now or no more.
    pub entrances: Vec<EntranceDiff>,
}

/// What happens to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It is not in the older plan.
    Added,
    /// It is not in the newer plan.
    Removed,
    /// It is in both, and different.
    Changed,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerDiff {
    /// What happens to it.
    pub change: Change,
    /// Address and port.
    pub address: String,
    /// `namespace/gateway:port-name`; of the newer plan, if it is there.
    pub name: String,
}

/// What clients inside a mesh connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshDiff {
    /// What happens to it; changed are its addresses.
    pub change: Change,
    /// Host and port.
    pub address: String,
    /// Its addresses; of the newer plan, if it is there.
    pub at: String,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteDiff {
    /// What happens to it.
    pub change: Change,
    /// `namespace/name`, `#N` behind it for a later rule.
    pub name: String,
    /// Its listener: address and port, or host and port of a service.
    pub address: String,
    /// How it steers, before and after, where that changes: each client is decided anew then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steer_by: Option<(String, String)>,
    /// Slots, of 10,000, whose clients get another destination: 100 are a percent of the clients.
    pub moved: u32,
    /// From where to where, the largest first; of a route that is in both plans.
    pub moves: Vec<Move>,
    /// Destinations that come, go, or change, in the order of the newer plan.
    pub destinations: Vec<DestinationDiff>,
    /// Whether what becomes of an empty share, how long connections may last, or which datapath is asked for is
    /// different.
    pub settings: bool,
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationDiff {
    /// What happens to it.
    pub change: Change,
    /// `host:port/subset`
    pub name: String,
    /// Slots before and after, of 10,000.
    pub slots: (u32, u32),
    /// Why it can serve nothing in the newer plan, if so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unusable: Option<String>,
    /// Endpoints that come, go, or get another weight; by address.
    pub endpoints: Vec<EndpointDiff>,
    /// Whether the choice among its endpoints, or how connections to them are kept, is different.
    pub settings: bool,
}

/// One endpoint of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointDiff {
    /// What happens to it; changed is its weight.
    pub change: Change,
    /// Where to connect.
    pub address: String,
}

/// Clients of a listener that fall to another route than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntranceDiff {
    /// The listener, as of a route.
    pub address: String,
    /// Which clients, and which addresses connected to, where not all are meant: `10.0.0.0/8 to 192.0.2.1/32`.
    pub clients: String,
    /// Whether they are clients inside a mesh: without a route their connections go on untouched. Others are reset.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub in_mesh: bool,
    /// The route before; none if they had none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// The route after; none if they have none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// Slots of these clients, of 10,000, that get another destination, where there are both routes.
    pub moved: u32,
    /// From where to where.
    pub moves: Vec<Move>,
}

impl Diff {
    /// Whether no connection will be decided differently.
    pub fn is_empty(&self) -> bool {
        let Self { listeners, mesh, routes, entrances } = self;
        listeners.is_empty() && mesh.is_empty() && routes.is_empty() && entrances.is_empty()
    }
}
