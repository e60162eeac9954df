//! The admin API as a stranger's client speaks it: plain HTTP over the unix socket.
//!
//! Written apart from the agent's own client, so that the API is tried and not only the pair of them.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::until::patient;

/// What the agent answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; null if it is not JSON.
    pub body: Value,
}

/// Connects, with deadlines for reading and writing.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patient(Duration::from_secs(20))))?;
    stream.set_write_timeout(Some(patient(Duration::from_secs(20))))?;
    Ok(stream)
}

/// Sends one request and reads the answer. Fails if the agent does not answer in HTTP.
pub fn request(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
    let body = body.map(Value::to_string).unwrap_or_default();
    send(socket, method, path, body.as_bytes())
}

/// Sends one request whose body is any bytes.
pub fn send(socket: &Path, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
    let mut stream = connect(socket)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // An agent that refuses a body may answer before it has all of it.
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    parse(&answer).ok_or_else(|| match (sent, read) {
        (Err(error), _) | (_, Err(error)) => error,
        _ => io::Error::other(format!("no HTTP answer: {:?}", String::from_utf8_lossy(&answer))),
    })
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let body = serde_json::from_slice(&answer[end + 4..]).unwrap_or(Value::Null);
    Some(Answer { status, body })
}

/// The body of an apply.
pub fn documents(yaml: impl Display) -> Value {
    json!({ "documents": [{ "name": "test.yaml", "text": yaml.to_string() }] })
}
