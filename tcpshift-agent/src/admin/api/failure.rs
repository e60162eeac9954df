//! The words of a failure: the body of every answer that is not 2xx.

use serde::{Deserialize, Serialize};

use crate::route::problem::Problem;

/// Why a request failed. The JSON of every answer that is not 2xx.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiFailure {
    /// The kind of failure, for programs.
    pub reason: FailureReason,
    /// For people: what happened, and what to do.
    pub message: String,
    /// Each problem of an invalid request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl ApiFailure {
    /// A failure without single problems.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), problems: Vec::new() }
    }
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureReason {
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
    /// More new connections would be refused than now, and nobody said that this is meant. HTTP 412.
    Guarded,
    /// More than the agent takes at once. HTTP 413.
    TooLarge,
    /// Objects that are invalid by themselves. HTTP 422.
    Invalid,
    /// The change is valid and could not be carried out; nothing is stored. HTTP 500.
    Failed,
    /// The agent is ending. HTTP 503.
    Unavailable,
}
