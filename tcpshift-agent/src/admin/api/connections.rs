//! The words of live connections: which ones are meant, what is known of each, and what became of those that were to be ended.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Trouble;

/// `GET /v1/connections?route=…&namespace=…&destination=…&endpoint=…`: which live connections are meant. Those that fit all that is
/// given; what is given must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectionFilter {
    /// A route: its name as `status` has it, which is one rule, or `KIND/NAME` or `NAME` of an object, which are all its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Namespace of an object that is named without one. Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A destination: `host:port/subset` as `status` has it, or as much of it as `subset`, `host/subset`, `host` or `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// An endpoint: its address and port, its address alone, or `unix://PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

impl ConnectionFilter {
    /// Whether every connection fits.
    pub fn is_empty(&self) -> bool {
        let Self { route, namespace: _, destination, endpoint } = self;
        route.is_none() && destination.is_none() && endpoint.is_none()
    }
}

/// Live connections, as they were when the agent looked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionsReply {
    /// How many there are; more than are listed if the list is cut.
    pub total: u64,
    /// By route, destination and endpoint.
    pub connections: Vec<ConnectionStatus>,
    /// What is not listed, and why.
    pub notes: Vec<String>,
}

/// One live connection. Names that many have are shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// Where the client is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// As of `status`; none if no plan has it any more and nobody noted its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// As of `status`; none as with the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Arc<str>>,
    /// Where it is carried or steered to; none before an endpoint is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Arc<str>>,
    /// How it reaches its endpoint.
    pub datapath: Cow<'static, str>,
    /// `dialling`, `open`, `half-closed` (one side has ended its stream) or `closing` (the agent is ending it).
    pub stage: Cow<'static, str>,
    /// How long it has been there; none of one that is steered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_milliseconds: Option<u64>,
    /// How long no byte has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_milliseconds: Option<u64>,
    /// Bytes that the client sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Bytes that the client received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
}

/// `POST /v1/connections/close`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CloseRequest {
    /// Which ones.
    #[serde(default)]
    pub filter: ConnectionFilter,
    /// Needed to end all of them, by a filter that every connection fits.
    #[serde(default)]
    pub all: bool,
    /// Answer with what would be ended, end nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of connections that were to be ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseReply {
    /// Those that are carried: each is ended at its next quiet moment, or reset within 10 s.
    pub carried: u64,
    /// Those that were steered: each was reset at once.
    pub steered: u64,
    /// Why others could not be ended, and how many.
    pub left: Vec<Trouble>,
    /// As of a list.
    #[serde(default)]
    pub notes: Vec<String>,
}
