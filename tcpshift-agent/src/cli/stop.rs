//! How a command ends.

use crate::admin::client::ClientError;
use crate::route::problem::Problem;

/// The result of a command that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// All is well.
    Well,
    /// A part of it failed, and the error is printed.
    Failed,
    /// The input is invalid, and its problems are printed.
    Invalid,
    /// The printed findings have the level at which the command fails.
    Found,
    /// The command ran out of time, which is printed.
    Unfinished,
}

/// Why a command stopped before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The reader of standard output closed it. No error.
    ClosedPipe,
    /// The command line is wrong in a way that clap cannot see.
    Usage(String),
    /// A file cannot be read as objects.
    Invalid(Box<Problem>),
    /// Another error of this process.
    Failed(String),
    /// The agent refuses, or does not answer.
    Agent(ClientError),
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Agent(error)
    }
}
