//! A watch: an answer of unlimited length, one event as JSON a line.
//!
//! It ends with a failure as its last line: `Gone` when the client reads so slowly that events were lost,
//! `Unavailable` when the agent ends. It ends at once when the client closes the connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::Lasting;
use super::exchange::{Api, RefusedRequest};
use crate::admin::AdminCommand;
use crate::admin::api::{ApiFailure, FailureReason, WatchReply, WatchRequest};

/// Lines on their way to the client.
const LINES: usize = 16;

/// Begins a watch.
pub(super) async fn answer(api: &Api, lasting: &Lasting, request: WatchRequest) -> Result<Response, RefusedRequest> {
    let room = Arc::clone(&api.watches).try_acquire_owned().map_err(|_| {
        RefusedRequest::new(FailureReason::Unavailable, "as many watches as the agent serves at once are open; end one")
    })?;
    let reply = api.ask(|reply| AdminCommand::Watch(request, reply)).await?;
    lasting.0.store(true, Ordering::Relaxed);
    let (lines, body) = mpsc::channel(LINES);
    tokio::spawn(follow(reply, lines, api.ended.clone(), room));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(Lines(body))).into_response())
}

/// Sends events until the client or the agent is gone.
async fn follow(
    reply: WatchReply,
    lines: mpsc::Sender<Bytes>,
    mut ended: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
) {
    let WatchReply { backlog, mut events, filter } = reply;
    for event in backlog {
        if lines.send(line(&event)).await.is_err() {
            return;
        }
    }
    let last = loop {
        let event = tokio::select! {
            () = lines.closed() => return,
            _ = ended.wait_for(|ended| *ended) => Err(RecvError::Closed),
            event = events.recv() => event,
        };
        match event {
            Ok(event) if filter.matches(&event) => {
                if lines.send(line(&*event)).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(RecvError::Lagged(lost)) => {
                let message = format!("{lost} events were lost because they were read too slowly; begin again");
                break ApiFailure::new(FailureReason::Gone, message);
            }
            Err(RecvError::Closed) => {
                break ApiFailure::new(
                    FailureReason::Unavailable,
                    "the agent is ending; run it again once one answers",
                );
            }
        }
    };
    // Sending fails only if the client has closed the connection.
    drop(lines.send(line(&last)).await);
}

fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).expect("the API's words are JSON");
    line.push(b'\n');
    line.into()
}

/// Lines as a body.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
