//! Server and client against an app that always answers the same, and against clients that misbehave.

mod claims;
mod watches;
mod world;

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use self::world::{document, quick, world};
use super::*;
use crate::admin::api::*;
use crate::admin::client::ClientError;

#[tokio::test]
async fn requests_reach_app_and_come_back() {
    let world = world(quick()).await;
    let client = &world.client;
    let reply = client.apply(&document("a.yaml")).await.unwrap();
    assert_eq!((reply.results[0].object.as_str(), reply.generation), ("a.yaml", 7));
    assert_eq!(client.status().await.unwrap().seed, u64::MAX);
    let name =
        |name: &str| GetRequest { kind: "vs x/ü".into(), namespace: Some("a&b".into()), name: Some(name.into()) };
    let reply = client.get(&name("é ?#")).await.unwrap();
    let expected: Value = json!({"kind": "vs x/ü", "name": "é ?#", "namespace": "a&b"});
    assert_eq!(reply.items[0].object, expected);
    assert!(
        matches!(client.get(&name("missing")).await, Err(ClientError::Failure(f)) if f.reason == FailureReason::NotFound)
    );
    let nothing = ApplyRequest { documents: Vec::new(), namespace: None, dry_run: false, force: false, strict: false };
    assert!(matches!(client.apply(&nothing).await, Err(ClientError::Failure(f)) if f.reason == FailureReason::Invalid));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&world.path()), mode(world.path().parent().unwrap())), (0o600, 0o700));
    world.end().await;
}

#[tokio::test]
async fn connections_are_asked_for_as_a_person_names_them() {
    let world = world(quick()).await;
    let named = |name: &str| Some(name.to_owned());
    let filter = ConnectionFilter { route: named("a/b#1 &é"), endpoint: named("[::1]:9000"), ..Default::default() };
    let reply = world.client.connections(&filter).await.unwrap();
    assert_eq!((reply.total, reply.notes), (3, vec!["a/b#1 &é".to_owned(), "[::1]:9000".to_owned()]));
    let all = CloseRequest { all: true, ..CloseRequest::default() };
    assert_eq!(world.client.close(&all).await.unwrap().carried, 1);
    let slip = "GET /v1/connections?rout=a HTTP/1.1\r\nhost: x\r\n\r\n";
    let (status, failure) = world.failure(slip).await;
    assert_eq!((status.as_str(), failure.reason), ("400", FailureReason::BadRequest));
    world.end().await;
}

#[tokio::test]
async fn an_app_that_does_not_answer_is_not_waited_for() {
    let world = world(quick()).await;
    let request =
        DeleteRequest { documents: vec![], objects: vec![], namespace: None, ignore_not_found: false, force: false };
    assert!(
        matches!(world.client.delete(&request).await, Err(ClientError::Failure(f)) if f.reason == FailureReason::Unavailable)
    );
    world.end().await;
}

#[tokio::test]
async fn a_refusal_is_always_a_failure() {
    let world = world(quick()).await;
    let post = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let cases = [
        (post("/v1/apply", "{"), "400", FailureReason::BadRequest),
        (post("/v1/apply", "{\"documents\": [], \"more\": 1}"), "400", FailureReason::BadRequest),
        (post("/v1/apply", &"[".repeat(100_000)), "400", FailureReason::BadRequest),
        (post("/v1/apply", "{\"documents\": []}"), "422", FailureReason::Invalid),
        (post("/v1/status", ""), "400", FailureReason::BadRequest),
        (post("/v2/apply", ""), "404", FailureReason::NotFound),
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "404", FailureReason::NotFound),
        ("GET /v1/objects/vs?name=missing HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "404", FailureReason::NotFound),
        ("GET /v1/objects/vs?nmae=x HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "400", FailureReason::BadRequest),
        ("GET /v1/objects/%ff HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "400", FailureReason::BadRequest),
        ("DELETE /v1/apply HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "400", FailureReason::BadRequest),
        (
            "POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{".to_owned(),
            "400",
            FailureReason::BadRequest,
        ),
    ];
    for (request, status, reason) in cases {
        let (answered, failure) = world.failure(&request).await;
        assert_eq!((answered.as_str(), failure.reason), (status, reason), "{failure:?}");
        assert!(!failure.message.is_empty());
    }
    world.end().await;
}

#[tokio::test]
async fn a_huge_body_is_refused_and_not_kept() {
    let limits =
        Limits { body: 1 << 20, body_time: Duration::from_secs(20), whole_time: Duration::from_secs(30), ..quick() };
    let world = world(limits).await;
    let huge = "x".repeat(8 << 20);
    let request = format!("POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{huge}", huge.len());
    let (status, failure) = world.failure(&request).await;
    assert_eq!((status.as_str(), failure.reason), ("413", FailureReason::TooLarge));
    let asking = "POST /v1/apply HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(world.failure(asking).await.1.reason, FailureReason::TooLarge);
    let mut large = document("a");
    large.documents[0].text = "x".repeat(MAX_BODY);
    assert!(
        matches!(world.client.apply(&large).await, Err(ClientError::Failure(f)) if f.reason == FailureReason::TooLarge)
    );
    assert!(world.is_well().await);
    world.end().await;
}

#[tokio::test]
async fn bodies_together_are_bounded() {
    let world = world(Limits { bodies: 1000, ..quick() }).await;
    let mut large = document("a");
    large.documents[0].text = "x".repeat(1000);
    assert!(
        matches!(world.client.apply(&large).await, Err(ClientError::Failure(f)) if f.reason == FailureReason::Unavailable)
    );
    for _ in 0..30 {
        assert!(world.client.apply(&document("a")).await.is_ok(), "what was taken is given back");
    }
    world.end().await;
}

#[tokio::test]
async fn rubbish_and_silence_cost_nothing() {
    let world = world(quick()).await;
    assert!(world.raw(b"\x16\x03\x01\x02\x00rubbish\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert!(world.raw(&vec![b'a'; 1 << 20]).await.starts_with("HTTP/1.1 4"));
    let slow = std::time::Instant::now();
    world.raw(b"").await;
    world.raw(b"GET /v1/status HTTP/1.1\r\nhost").await;
    assert!(slow.elapsed() < Duration::from_secs(2), "{:?}", slow.elapsed());
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(UnixStream::connect(world.path()).await.unwrap());
    }
    // Eight at once, 0.3 s each: the 41st gets its turn.
    assert!(world.is_well().await);
    drop(silent);
    world.end().await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let world = world(Limits { connections: 1, whole_time: Duration::from_millis(400), ..quick() }).await;
    let mut trickle = UnixStream::connect(world.path()).await.unwrap();
    trickle.write_all(b"POST /v1/delete HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{}").await.unwrap();
    assert!(world.is_well().await);
    world.end().await;
}
