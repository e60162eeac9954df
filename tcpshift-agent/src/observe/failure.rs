//! When something failed last, and why, whoever was to serve it.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::connections::{ConnectionFailure, LastFailure};

/// Why a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureCause {
    /// The agent was to carry it.
    Carried(ConnectionFailure),
    /// A program found no endpoint for it.
    Refused,
    /// A program steered it, and its handshake was never completed.
    NotEstablished,
}

/// A failure, and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatedFailure {
    /// When. Of failures that only programs count, when it was found.
    pub at: SystemTime,
    /// Why.
    pub cause: FailureCause,
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carried(reason) => reason.fmt(f),
            Self::Refused => f.write_str("refused: no endpoint for it"),
            Self::NotEstablished => f.write_str("steered, and never established"),
        }
    }
}

impl DatedFailure {
    /// Of now.
    pub(super) fn now(cause: FailureCause) -> Self {
        Self { at: SystemTime::now(), cause }
    }

    /// What the agent noted of connections that it carried.
    pub(super) fn noted(last: &LastFailure) -> Option<Self> {
        last.get().map(|(at, reason)| Self { at, cause: FailureCause::Carried(reason) })
    }

    /// Milliseconds since 1970.
    pub(super) fn milliseconds(self) -> u64 {
        self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
    }
}
