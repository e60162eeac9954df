//! The paths of the admin API, and which command each one is.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;

use super::exchange::{Api, Refusal};
use super::{Lasting, follow};
use crate::admin::Command;
use crate::admin::api::{ChangeReply, GetReply, GetRequest, Reason, StatusReply, WatchRequest};

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
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

async fn apply(State(api): State<Api>, request: Request) -> Result<Json<ChangeReply>, Refusal> {
    api.exchange(request, Command::Apply).await
}

async fn delete(State(api): State<Api>, request: Request) -> Result<Json<ChangeReply>, Refusal> {
    api.exchange(request, Command::Delete).await
}

async fn shift(State(api): State<Api>, request: Request) -> Result<Json<ChangeReply>, Refusal> {
    api.exchange(request, Command::Shift).await
}

async fn preview(State(api): State<Api>, request: Request) -> Result<Json<ChangeReply>, Refusal> {
    api.exchange(request, Command::Preview).await
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
) -> Result<Json<GetReply>, Refusal> {
    let (Path(kind), Query(Which { namespace, name })) = (kind.map_err(malformed)?, which.map_err(malformed)?);
    api.ask(|reply| Command::Get(GetRequest { kind, namespace, name }, reply)).await.map(Json)
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
) -> Result<Response, Refusal> {
    let (Path(kind), Query(which)) = (kind.map_err(malformed)?, which.map_err(malformed)?);
    let WhichSince { namespace, name, resource_version } = which;
    follow::answer(&api, &lasting, WatchRequest { kind, namespace, name, resource_version }).await
}

async fn status(State(api): State<Api>) -> Result<Json<StatusReply>, Refusal> {
    api.ask(Command::Status).await.map(Json)
}

async fn unknown(uri: Uri) -> Refusal {
    Refusal::new(
        Reason::NotFound,
        format!(
            "no {} here; there are /v1/apply, delete, shift, preview, objects/KIND, watch/KIND, status",
            uri.path()
        ),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(Reason::BadRequest, format!("{} does not take {method}", uri.path()))
}

fn malformed(rejection: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::BadRequest, rejection.to_string())
}
