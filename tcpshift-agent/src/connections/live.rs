//! Live connections as people see them, and which of them are meant.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::KeptDecision;

/// A live connection, as it was when somebody looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConnection {
    /// What was decided for it, in stable numbers.
    pub decided: KeptDecision,
    /// Where it comes from; none where only the kernel knows and does not tell.
    pub client: Option<SocketAddr>,
    /// Number of the endpoint that it is attached to; none before one is dialled.
    pub endpoint: Option<u32>,
    /// How far it has come.
    pub stage: LiveStage,
    /// How long it has been there; none where nobody noted it.
    pub age: Option<Duration>,
    /// How long no byte has passed; none where nobody noted it.
    pub idle: Option<Duration>,
    /// Bytes to the endpoint and to the client; none where nobody counts them.
    pub bytes: Option<[u64; 2]>,
}

/// How far a live connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveStage {
    /// Its endpoint has not answered yet.
    Dialling,
    /// Bytes go both ways.
    Open,
    /// One side has ended its stream.
    HalfClosed,
    /// It is being ended by the agent.
    Closing,
}

/// Which connections are meant: those that fit everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveFilter {
    /// Numbers of routes; any if none are given.
    pub routes: Option<BTreeSet<u32>>,
    /// Numbers of destinations.
    pub destinations: Option<BTreeSet<u32>>,
    /// Numbers of endpoints.
    pub endpoints: Option<BTreeSet<u32>>,
}

impl LiveFilter {
    /// Whether a connection is meant.
    pub fn fits(&self, decided: &KeptDecision, endpoint: Option<u32>) -> bool {
        let has = |wanted: &Option<BTreeSet<u32>>, number: Option<u32>| {
            wanted.as_ref().is_none_or(|wanted| number.is_some_and(|number| wanted.contains(&number)))
        };
        has(&self.routes, Some(decided.route))
            && has(&self.destinations, Some(decided.destination))
            && has(&self.endpoints, endpoint)
    }
}
