//! The admin room: the agent's API, HTTP and JSON under `/v1` on a unix socket, and its client.
//!
//! [`server`] turns requests into [`AdminCommand`]s for app, and sends app's answers back. The command line uses [`client`]. Both
//! speak the words of [`api`].

pub mod api;
pub mod client;
pub mod connections;
pub mod server;
pub mod status;
pub mod watch;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use api::{
    ApiFailure, ApplyRequest, ChangeReply, CloseReply, CloseRequest, ConnectionFilter, ConnectionsReply, DeleteRequest,
    GetReply, GetRequest, PreviewRequest, ShiftRequest, StatusReply, WatchReply, WatchRequest,
};

/// The channel for an answer of app.
pub type Reply<T> = oneshot::Sender<Result<T, ApiFailure>>;

/// A request to app. The answer comes when the change is in force.
#[derive(Debug)]
pub enum AdminCommand {
    /// Store objects, all or none.
    Apply(ApplyRequest, Reply<ChangeReply>),
    /// Remove objects, all or none.
    Delete(DeleteRequest, Reply<ChangeReply>),
    /// Edit the weights of a stored route.
    Shift(ShiftRequest, Reply<ChangeReply>),
    /// Say what storing or removing objects would change.
    Preview(PreviewRequest, Reply<ChangeReply>),
    /// Read objects.
    Get(GetRequest, Reply<GetReply>),
    /// Follow objects.
    Watch(WatchRequest, Reply<WatchReply>),
    /// Read the plan in force and what became of it.
    Status(Reply<StatusReply>),
    /// List live connections.
    Connections(ConnectionFilter, Reply<ConnectionsReply>),
    /// End live connections.
    Close(CloseRequest, Reply<CloseReply>),
    /// Hand everything over to the agent at the other end of a stream, which is no longer HTTP.
    HandOver(UnixStream),
}

impl AdminCommand {
    /// Whether the client has given up waiting for the answer.
    pub fn is_abandoned(&self) -> bool {
        match self {
            Self::Apply(_, reply) | Self::Delete(_, reply) | Self::Shift(_, reply) | Self::Preview(_, reply) => {
                reply.is_closed()
            }
            Self::Get(_, reply) => reply.is_closed(),
            Self::Watch(_, reply) => reply.is_closed(),
            Self::Status(reply) => reply.is_closed(),
            Self::Connections(_, reply) => reply.is_closed(),
            Self::Close(_, reply) => reply.is_closed(),
            Self::HandOver(_) => false,
        }
    }
}

/// Sends requests to app.
pub type Commands = mpsc::Sender<AdminCommand>;
