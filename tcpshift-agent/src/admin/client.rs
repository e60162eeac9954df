//! The client of the admin API, which the command line uses. One connection a request.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::api::{
    ApiFailure, ApplyRequest, ChangeReply, CloseReply, CloseRequest, ConnectionFilter, ConnectionsReply, DeleteRequest,
    FailureReason, GetReply, GetRequest, PreviewRequest, ShiftRequest, StatusReply, WatchEvent, WatchRequest,
};
use super::server::MAX_BODY;
use crate::trust::peer;

/// Time for a whole answer, unless [`Client::within`] sets another. An agent that works answers within 30 s: with a failure, if
/// the request takes longer.
pub const ANSWER: Duration = Duration::from_secs(40);

/// How often a client that finds the queue of the socket full tries again.
const QUEUE_ROUND: Duration = Duration::from_millis(50);

/// Stands for an agent that has not let this client in yet, and whose process id is not known.
const NOT_IN: i32 = -1;
/// The one request with a body that changes nothing.
const PREVIEW: &str = "/v1/preview";

/// Bytes of one line of a watch, at most.
const LINE: usize = 2 * MAX_BODY;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No process listens at the socket.
    #[error(
        "no agent answers at {0}: start one with `sudo tcpshift-agent run`, or name its socket by --admin unix:PATH or TCPSHIFT_ADMIN"
    )]
    NoAgent(PathBuf),
    /// The socket is another user's.
    #[error("permission denied at {0}: the agent runs as another user; use sudo")]
    Denied(PathBuf),
    /// The agent did not answer in time.
    #[error("no answer from the agent at {}{} within {:?}", .0.path.display(), .0.who(), .0.within)]
    Silent(Box<Silence>),
    /// The socket belongs to a user that is not trusted. In words.
    #[error("{0}")]
    Stranger(String),
    /// The agent refuses the request.
    #[error("{}", .0.message)]
    Failure(ApiFailure),
    /// The answer is none that the API has, or incomplete. In words.
    #[error("{0}")]
    Broken(String),
}

/// An agent that does not answer.
#[derive(Clone, Debug)]
pub struct Silence {
    /// Its socket.
    pub path: PathBuf,
    /// Its process id; none if it has not accepted the connection, or is in a pid namespace that is not visible here.
    pub pid: Option<i32>,
    /// Whether it accepted the connection; if not, the queue of the socket is full.
    pub is_in: bool,
    /// How long the client waited.
    pub within: Duration,
    /// Whether a change was asked for.
    pub is_change: bool,
}

impl Silence {
    fn who(&self) -> String {
        self.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    }

    /// What the silence means for the request; none if that is clear.
    pub fn consequence(&self) -> Option<&'static str> {
        match self {
            Self { is_in: false, .. } => Some("the queue of its socket is full; nothing was asked"),
            Self { is_change: true, .. } => Some("the change may still come into force"),
            _ => None,
        }
    }
}

/// A client of the agent at a socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
    within: Duration,
}

impl Client {
    /// A client of the agent at a socket, which connects with the first request.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), within: ANSWER }
    }

    /// The same client with another limit of time for an answer. Once a watch has begun, its events have no limit.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores objects.
    pub async fn apply(&self, request: &ApplyRequest) -> Result<ChangeReply, ClientError> {
        self.post("/v1/apply", request).await
    }

    /// Removes objects.
    pub async fn delete(&self, request: &DeleteRequest) -> Result<ChangeReply, ClientError> {
        self.post("/v1/delete", request).await
    }

    /// Edits the weights of a route.
    pub async fn shift(&self, request: &ShiftRequest) -> Result<ChangeReply, ClientError> {
        self.post("/v1/shift", request).await
    }

    /// Asks what storing or removing objects would change.
    pub async fn preview(&self, request: &PreviewRequest) -> Result<ChangeReply, ClientError> {
        self.post(PREVIEW, request).await
    }

    /// Reads objects.
    pub async fn get(&self, request: &GetRequest) -> Result<GetReply, ClientError> {
        let GetRequest { kind, namespace, name } = request;
        let query = [("namespace", namespace), ("name", name)];
        self.whole(Method::GET, &target(&format!("objects/{}", escaped(kind)), &query), Bytes::new()).await
    }

    /// Reads the plan in force.
    pub async fn status(&self) -> Result<StatusReply, ClientError> {
        self.whole(Method::GET, "/v1/status", Bytes::new()).await
    }

    /// Lists live connections.
    pub async fn connections(&self, filter: &ConnectionFilter) -> Result<ConnectionsReply, ClientError> {
        let ConnectionFilter { route, namespace, destination, endpoint } = filter;
        let query = [("route", route), ("namespace", namespace), ("destination", destination), ("endpoint", endpoint)];
        self.whole(Method::GET, &target("connections", &query), Bytes::new()).await
    }

    /// Ends live connections.
    pub async fn close(&self, request: &CloseRequest) -> Result<CloseReply, ClientError> {
        self.post("/v1/connections/close", request).await
    }

    /// Follows objects.
    pub async fn watch(&self, request: &WatchRequest) -> Result<WatchStream, ClientError> {
        let WatchRequest { kind, namespace, name, resource_version } = request;
        let query = [("namespace", namespace), ("name", name), ("resourceVersion", resource_version)];
        let path = target(&format!("watch/{}", escaped(kind)), &query);
        self.in_time(Method::GET, &path, Bytes::new(), async |response, connection| {
            Ok(WatchStream { body: response.into_body(), read: Vec::new(), connection })
        })
        .await
    }

    async fn post<Q: Serialize, R: DeserializeOwned>(&self, path: &str, request: &Q) -> Result<R, ClientError> {
        let body = serde_json::to_vec(request).map_err(|error| ClientError::Broken(error.to_string()))?;
        if body.len() > MAX_BODY {
            let message = format!("this is more than an agent takes at once ({} MiB): split it", MAX_BODY >> 20);
            return Err(ClientError::Failure(ApiFailure::new(FailureReason::TooLarge, message)));
        }
        self.whole(Method::POST, path, body.into()).await
    }

    async fn whole<R: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<R, ClientError> {
        self.in_time(method, path, body, async |response, _connection| {
            let bytes = response.into_body().collect().await.map_err(broken)?.to_bytes();
            serde_json::from_slice(&bytes).map_err(|error| {
                ClientError::Broken(format!(
                    "the agent's answer is not understood ({error}): are agent and client of one version?"
                ))
            })
        })
        .await
    }

    /// Sends a request, and reads an answer of 2xx, within the limit of time.
    async fn in_time<T>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        read: impl AsyncFnOnce(Response<Incoming>, Connection) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let is_change = method == Method::POST && path != PREVIEW;
        let agent = AtomicI32::new(NOT_IN);
        let exchange = async {
            let (response, connection) = self.send(method, path, body, &agent).await?;
            if !response.status().is_success() {
                return Err(refusal(response).await);
            }
            read(response, connection).await
        };
        timeout(self.within, exchange).await.map_err(|_| {
            let pid = agent.load(Relaxed);
            ClientError::Silent(Box::new(Silence {
                path: self.path.clone(),
                pid: Some(pid).filter(|pid| *pid > 0),
                is_in: pid != NOT_IN,
                within: self.within,
                is_change,
            }))
        })?
    }

    /// `agent` gets the process id of the agent that accepts, or 0 if it is not visible here.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        agent: &AtomicI32,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        let stream = self.connect().await?;
        agent.store(stream.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default(), Relaxed);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = Connection(tokio::spawn(connection).abort_handle());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "tcpshift")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((response, connection))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        loop {
            let error = match UnixStream::connect(&self.path).await {
                Ok(stream) => {
                    peer::check(&stream, &self.path).map_err(ClientError::Stranger)?;
                    return Ok(stream);
                }
                Err(error) => error,
            };
            return Err(match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NoAgent(self.path.clone()),
                ErrorKind::PermissionDenied => ClientError::Denied(self.path.clone()),
                // The queue of a unix socket is full, and connect does not wait.
                ErrorKind::WouldBlock => {
                    sleep(QUEUE_ROUND).await;
                    continue;
                }
                _ => ClientError::Broken(format!("cannot connect to {}: {error}", self.path.display())),
            });
        }
    }
}

/// Ends the connection with its user.
#[derive(Debug)]
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A watch under way.
#[derive(Debug)]
pub struct WatchStream {
    body: Incoming,
    read: Vec<u8>,
    #[expect(dead_code, reason = "held for its end")]
    connection: Connection,
}

impl WatchStream {
    /// The next event, without a limit of time; none if the agent closed the connection without a reason.
    pub async fn next(&mut self) -> Result<Option<WatchEvent>, ClientError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return match serde_json::from_slice(&line) {
                    Ok(event) => Ok(Some(event)),
                    Err(error) => Err(serde_json::from_slice(&line).map_or_else(
                        |_| ClientError::Broken(format!("the agent's event is not understood: {error}")),
                        ClientError::Failure,
                    )),
                };
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(chunk) = frame.map_err(broken)?.into_data() {
                        self.read.extend_from_slice(&chunk);
                    }
                }
            }
            if self.read.len() > LINE {
                return Err(ClientError::Broken("the agent sends a line without end".to_owned()));
            }
        }
    }
}

/// The failure in an answer that is not 2xx.
async fn refusal(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    match response.into_body().collect().await {
        Ok(body) => serde_json::from_slice(&body.to_bytes()).map_or_else(
            |_| ClientError::Broken(format!("the agent answers {status} without a reason")),
            ClientError::Failure,
        ),
        Err(error) => broken(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: hyper::Error) -> ClientError {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
    ClientError::Broken(match cause {
        Some(cause) => format!("the agent broke off: {cause}"),
        None => format!("the agent broke off: {error}"),
    })
}

/// `/v1/WHAT?NAME=VALUE&…`
fn target(what: &str, query: &[(&str, &Option<String>)]) -> String {
    let mut target = format!("/v1/{what}");
    let mut mark = '?';
    for (name, value) in query {
        if let Some(value) = value {
            target.push(mark);
            target.push_str(name);
            target.push('=');
            target.push_str(&escaped(value));
            mark = '&';
        }
    }
    target
}

/// Percent-encodes everything but unreserved characters (RFC 3986, 2.3).
fn escaped(text: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes everything");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        let query = [("namespace", &None), ("name", &Some("a b&c/ü".to_owned()))];
        assert_eq!(target("objects/vs", &query), "/v1/objects/vs?name=a%20b%26c%2F%C3%BC");
    }
}
