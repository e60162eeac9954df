//! The words of `status`: the plan in force, its listeners, routes and destinations, and what they have served. `app/view`
//! puts a reply together, with the rows that `admin/status` makes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// The agent before this one, while it still carries connections after a takeover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<BeforeStatus>,
    /// Trouble that is no single route's: descriptors, accept, ports.
    pub trouble: Vec<Trouble>,
    /// What the objects ask for and the plan does not do, and problems of watched files.
    pub notes: Vec<String>,
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
    /// What each of them was given, in the same order. Destinations that lead to one port of a host share endpoints.
    #[serde(default)]
    pub by_endpoint: Vec<EndpointStatus>,
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
    /// Connections that the agent before this one still carries there, after a takeover. They are in no other number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before: u64,
    /// Bytes that clients sent: of carried connections as they pass, of steered ones once they are closed.
    #[serde(default)]
    pub bytes_sent: u64,
    /// Bytes that clients received.
    #[serde(default)]
    pub bytes_received: u64,
    /// Endpoints that nothing is known against: none if the agent is of a release that does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<u32>,
    /// How fast its connections come and fail.
    #[serde(default)]
    pub rates: RatesStatus,
    /// The last connection that could not be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailureStatus>,
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

/// One endpoint, with the connections that were brought there, steered and carried ones, whichever destination they were decided
/// for. It begins at zero when it comes, also when it comes again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// Where it is.
    pub address: String,
    /// Connections begun to it. One that several endpoints were tried for is counted by each.
    pub opened: u64,
    /// Those of them that it did not take.
    pub failed: u64,
    /// Connections that are being opened or are open.
    pub active: u64,
    /// Why no connection can be served there, if something is known against it: `nobody listens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready: Option<String>,
    /// How fast its connections come and fail.
    #[serde(default)]
    pub rates: RatesStatus,
    /// The last connection that it did not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailureStatus>,
}

/// The agent before this one, which lets its connections end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BeforeStatus {
    /// `pid N`
    pub agent: String,
    /// Connections that it carries.
    pub active: u64,
}

/// How fast connections come and fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RatesStatus {
    /// New connections.
    pub opened: RateStatus,
    /// Those that could not be served.
    pub failed: RateStatus,
}

/// Connections a second. A count of the last minute is of its last 51 to 60 seconds, or of all there were since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateStatus {
    /// Over the last second.
    #[serde(rename = "over1s")]
    pub second: f64,
    /// Over the last ten.
    #[serde(rename = "over10s")]
    pub ten: f64,
    /// Over the last minute.
    #[serde(rename = "over60s")]
    pub minute: f64,
}

/// A failure, and when it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastFailureStatus {
    /// In UTC, as RFC 3339 writes it.
    pub at: String,
    /// How long ago that was.
    pub seconds_ago: u64,
    /// In words.
    pub reason: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
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
