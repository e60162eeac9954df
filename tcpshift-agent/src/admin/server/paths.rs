//! The paths of the admin API, each with its command.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::exchange::{Api, RefusedRequest};
use super::{Lasting, follow};
use crate::admin::AdminCommand;
use crate::admin::api::{
    ChangeReply, CloseReply, ConnectionFilter, ConnectionsReply, FailureReason, GetReply, GetRequest, StatusReply,
    WatchRequest,
};
use crate::handover;

/// Everything under `/v1`.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/apply", post(apply))
        .route("/v1/delete", post(delete))
        .route("/v1/shift", post(shift))
        .route("/v1/preview", post(preview))
        .route("/v1/objects/{kind}", get(objects))
        .route("/v1/watch/{kind}", get(watch))
        .route("/v1/status", get(status))
        .route("/v1/connections", get(connections))
        .route("/v1/connections/close", post(close))
        .route(handover::PATH, post(hand_over))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

async fn apply(State(api): State<Api>, request: Request) -> Result<Json<ChangeReply>, RefusedRequest> {
    api.exchange(request, AdminCommand::Apply).await
}

async fn delete(State(api): State<Api>, request: Request) -> Result<Json<ChangeReply>, RefusedRequest> {
    api.exchange(request, AdminCommand::Delete).await
}

async fn shift(State(api): State<Api>, request: Request) -> Result<Json<ChangeReply>, RefusedRequest> {
    api.exchange(request, AdminCommand::Shift).await
}

async fn preview(State(api): State<Api>, request: Request) -> Result<Json<ChangeReply>, RefusedRequest> {
    api.exchange(request, AdminCommand::Preview).await
}

/// What may stand behind the question mark of `/v1/objects/KIND`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    namespace: Option<String>,
    name: Option<String>,
}

async fn objects(
    State(api): State<Api>,
    kind: Result<Path<String>, PathRejection>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<GetReply>, RefusedRequest> {
    let (Path(kind), Query(Which { namespace, name })) = (kind.map_err(malformed)?, which.map_err(malformed)?);
    api.ask(|reply| AdminCommand::Get(GetRequest { kind, namespace, name }, reply)).await.map(Json)
}

/// What may stand behind the question mark of `/v1/watch/KIND`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WhichSince {
    namespace: Option<String>,
    name: Option<String>,
    resource_version: Option<String>,
}

async fn watch(
    State(api): State<Api>,
    Extension(lasting): Extension<Lasting>,
    kind: Result<Path<String>, PathRejection>,
    which: Result<Query<WhichSince>, QueryRejection>,
) -> Result<Response, RefusedRequest> {
    let (Path(kind), Query(which)) = (kind.map_err(malformed)?, which.map_err(malformed)?);
    let WhichSince { namespace, name, resource_version } = which;
    follow::answer(&api, &lasting, WatchRequest { kind, namespace, name, resource_version }).await
}

async fn status(State(api): State<Api>) -> Result<Json<StatusReply>, RefusedRequest> {
    api.ask(AdminCommand::Status).await.map(Json)
}

async fn connections(
    State(api): State<Api>,
    which: Result<Query<ConnectionFilter>, QueryRejection>,
) -> Result<Json<ConnectionsReply>, RefusedRequest> {
    let Query(filter) = which.map_err(malformed)?;
    api.ask(|reply| AdminCommand::Connections(filter, reply)).await.map(Json)
}

async fn close(State(api): State<Api>, request: Request) -> Result<Json<CloseReply>, RefusedRequest> {
    api.exchange(request, AdminCommand::Close).await
}

/// Leaves HTTP, and leaves the stream to app.
async fn hand_over(State(api): State<Api>, mut request: Request) -> Result<Response, RefusedRequest> {
    let asked = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if asked != Some(handover::PROTOCOL) {
        let message = format!(
            "this is for an agent that takes over (`run --takeover`), and this one speaks {}, not {}",
            handover::PROTOCOL,
            asked.unwrap_or("plain HTTP")
        );
        return Err(RefusedRequest::new(FailureReason::BadRequest, message));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let stream = upgraded.await.ok().and_then(|upgraded| upgraded.downcast::<TokioIo<UnixStream>>().ok());
        match stream {
            // The other agent must wait for the first message of this one.
            Some(parts) if parts.read_buf.is_empty() => api.hand_over(parts.io.into_inner()).await,
            Some(parts) => {
                log::warn!("no takeover: the other agent speaks out of turn");
                handover::give::refuse(parts.io.into_inner(), "it was told something before its turn").await;
            }
            None => log::warn!("no takeover: the other agent is gone"),
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, handover::PROTOCOL)
        .body(Body::empty())
        .map_err(|error| RefusedRequest::new(FailureReason::Failed, error.to_string()))
}

async fn unknown(uri: Uri) -> RefusedRequest {
    RefusedRequest::new(
        FailureReason::NotFound,
        format!(
            "no {} here; there are /v1/apply, delete, shift, preview, objects/KIND, watch/KIND, status, \
             connections, connections/close",
            uri.path()
        ),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> RefusedRequest {
    RefusedRequest::new(FailureReason::BadRequest, format!("{} does not take {method}", uri.path()))
}

fn malformed(rejection: impl std::fmt::Display) -> RefusedRequest {
    RefusedRequest::new(FailureReason::BadRequest, rejection.to_string())
}
