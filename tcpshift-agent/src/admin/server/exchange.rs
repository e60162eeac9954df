//! One request and its answer: reads the body within limits, asks app, and answers errors as the API does.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot, watch};
use tokio::time::timeout;

use super::Limits;
use crate::admin::api::{ApiFailure, FailureReason};
use crate::admin::{AdminCommand, Commands, Reply};

/// What the handlers of requests share.
#[derive(Clone, Debug)]
pub(super) struct Api {
    commands: Commands,
    limits: Limits,
    /// Bytes that bodies may still take.
    bodies: Arc<Semaphore>,
    /// Watches that may still begin.
    pub(super) watches: Arc<Semaphore>,
    /// True once the agent ends.
    pub(super) ended: watch::Receiver<bool>,
}

/// A failure as an answer.
#[derive(Debug)]
pub(super) struct RefusedRequest(pub(super) ApiFailure);

impl RefusedRequest {
    pub(super) fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self(ApiFailure::new(reason, message))
    }
}

impl IntoResponse for RefusedRequest {
    fn into_response(self) -> Response {
        let status = match self.0.reason {
            FailureReason::BadRequest => StatusCode::BAD_REQUEST,
            FailureReason::Forbidden => StatusCode::FORBIDDEN,
            FailureReason::NotFound => StatusCode::NOT_FOUND,
            FailureReason::Conflict => StatusCode::CONFLICT,
            FailureReason::Gone => StatusCode::GONE,
            FailureReason::Guarded => StatusCode::PRECONDITION_FAILED,
            FailureReason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            FailureReason::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            FailureReason::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            FailureReason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, axum::Json(self.0)).into_response()
    }
}

impl Api {
    pub(super) fn new(commands: Commands, limits: Limits, ended: watch::Receiver<bool>) -> Self {
        let bodies = Arc::new(Semaphore::new(limits.bodies));
        let watches = Arc::new(Semaphore::new(limits.watches));
        Self { commands, limits, bodies, watches, ended }
    }

    /// Asks app.
    pub(super) async fn ask<R>(&self, command: impl FnOnce(Reply<R>) -> AdminCommand) -> Result<R, RefusedRequest> {
        let ending = || RefusedRequest::new(FailureReason::Unavailable, "the agent is ending");
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.commands.send(command(reply)).await.map_err(|_| ending())?;
            answer.await.map_err(|_| ending())?.map_err(RefusedRequest)
        };
        timeout(self.limits.reply_time, exchange).await.unwrap_or_else(|_| {
            let message = format!(
                "the agent has not answered within {:?}; a change may still come into force: see `tcpshift-agent status`",
                self.limits.reply_time
            );
            Err(RefusedRequest::new(FailureReason::Unavailable, message))
        })
    }

    /// Leaves a stream to app.
    pub(super) async fn hand_over(&self, stream: UnixStream) {
        // An agent that ends closes it.
        self.commands.send(AdminCommand::HandOver(stream)).await.ok();
    }

    /// Reads a request's body, asks app, answers.
    pub(super) async fn exchange<Q: DeserializeOwned, R: Serialize>(
        &self,
        request: Request,
        command: fn(Q, Reply<R>) -> AdminCommand,
    ) -> Result<axum::Json<R>, RefusedRequest> {
        // The permits are held until app has answered, since the parsed body needs as much memory.
        let (question, _held) = {
            let (bytes, held) = timeout(self.limits.body_time, self.body(request)).await.unwrap_or_else(|_| {
                let message = format!("the request's body was not complete within {:?}", self.limits.body_time);
                Err(RefusedRequest::new(FailureReason::BadRequest, message))
            })?;
            let question = serde_json::from_slice(&bytes).map_err(|error| {
                RefusedRequest::new(FailureReason::BadRequest, format!("the request's body: {error}"))
            })?;
            (question, held)
        };
        self.ask(|reply| command(question, reply)).await.map(axum::Json)
    }

    /// The whole body. A body that is too large is read to its end and dropped, since a client may read the answer only after
    /// it has written everything.
    async fn body(&self, request: Request) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), RefusedRequest> {
        let limit = self.limits.body;
        let too_large =
            || RefusedRequest::new(FailureReason::TooLarge, format!("a request has {} MiB at most", limit >> 20));
        let busy = || {
            RefusedRequest::new(FailureReason::Unavailable, "the agent is busy with other large requests; try again")
        };
        // The client asked by `Expect: 100-continue`, so it need not send the body.
        let asks = request.headers().contains_key(header::EXPECT);
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if asks && announced.is_some_and(|length: u64| length > limit as u64) {
            return Err(too_large());
        }
        let mut refusal = None;
        let mut held: Option<SemaphorePermit<'_>> = None;
        let mut bytes = Vec::new();
        let mut body: Body = request.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                RefusedRequest::new(FailureReason::BadRequest, format!("the request's body broke off: {error}"))
            })?;
            let Some(chunk) = frame.data_ref().filter(|_| refusal.is_none()) else { continue };
            let size = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            if bytes.len() + chunk.len() > limit {
                refusal = Some(too_large());
            } else if let Ok(more) = self.bodies.try_acquire_many(size) {
                match &mut held {
                    Some(held) => held.merge(more),
                    None => held = Some(more),
                }
                bytes.extend_from_slice(chunk);
            } else {
                refusal = Some(busy());
            }
            if refusal.is_some() {
                (bytes, held) = (Vec::new(), None);
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok((bytes, held)),
        }
    }
}
