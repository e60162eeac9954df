//! Server and client against an app that answers by heart, and against clients that behave badly.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::admin::AdminCommand;
use crate::admin::api::*;
use crate::admin::client::{Client, ClientError};

/// A served socket with an app that answers by heart.
struct World {
    folder: TempDir,
    client: Client,
    events: broadcast::Sender<Arc<WatchEvent>>,
    end: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

fn quick() -> Limits {
    Limits {
        connections: 8,
        watches: 2,
        header_time: Duration::from_millis(300),
        body_time: Duration::from_millis(500),
        reply_time: Duration::from_millis(500),
        whole_time: Duration::from_secs(2),
        farewell_time: Duration::from_millis(500),
        ..Limits::default()
    }
}

async fn world(limits: Limits) -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/admin.sock");
    let listener = bind(&path).unwrap();
    let socket = listener.listen().unwrap();
    let (commands, inbox) = mpsc::channel(8);
    let events = broadcast::Sender::new(4);
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(app(inbox, events.clone()));
    let served = tokio::spawn(serve_within(
        limits,
        ((listener, socket), mpsc::channel(1).1),
        commands,
        async { drop(ended.await) },
        oneshot::channel().0,
    ));
    while std::os::unix::net::UnixStream::connect(&path).is_err() {
        sleep(Duration::from_millis(5)).await;
    }
    World { folder, client: Client::new(path), events, end: Some(end), served }
}

impl World {
    fn path(&self) -> PathBuf {
        self.folder.path().join("run/admin.sock")
    }

    /// Sends bytes, half-closes if asked to, and reads what comes until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.path()).await.unwrap();
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn failure(&self, request: &str) -> (String, ApiFailure) {
        let answer = self.raw(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        (head.split(' ').nth(1).unwrap().to_owned(), serde_json::from_str(body).unwrap())
    }

    async fn is_well(&self) -> bool {
        self.client.status().await.is_ok()
    }

    async fn end(mut self) {
        self.end.take().unwrap().send(()).unwrap();
        let path = self.path();
        self.served.await.unwrap();
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(self.folder.path().join("run")).unwrap().count(), 0, "something is left behind");
    }
}

async fn app(mut inbox: mpsc::Receiver<AdminCommand>, events: broadcast::Sender<Arc<WatchEvent>>) {
    let change = |object: &str, action| ChangeReply {
        results: vec![ChangeResult {
            object: object.to_owned(),
            namespace: "default".to_owned(),
            action,
            resource_version: None,
        }],
        warnings: Vec::new(),
        diff: None,
        shifted: None,
        generation: 7,
    };
    while let Some(command) = inbox.recv().await {
        match command {
            AdminCommand::Apply(request, reply) if request.documents.is_empty() => {
                drop(reply.send(Err(ApiFailure::new(FailureReason::Invalid, "nothing to apply"))));
            }
            AdminCommand::Apply(request, reply) => {
                drop(reply.send(Ok(change(&request.documents[0].name, Action::Created))));
            }
            // Never answered.
            AdminCommand::Delete(_, reply) => {
                tokio::spawn(async move {
                    sleep(Duration::from_secs(5)).await;
                    drop(reply);
                });
            }
            AdminCommand::Preview(request, reply) => {
                drop(reply.send(Ok(change(&request.documents[0].text, Action::Configured))));
            }
            AdminCommand::HandOver(stream) => drop(stream),
            AdminCommand::Shift(request, reply) => {
                drop(reply.send(Ok(change(&request.object.name, Action::Configured))));
            }
            AdminCommand::Get(request, reply) => drop(reply.send(match request.name.as_deref() {
                Some("missing") => Err(ApiFailure::new(FailureReason::NotFound, "not found")),
                name => Ok(GetReply {
                    items: vec![Item {
                        object: json!({"kind": request.kind, "name": name, "namespace": request.namespace}),
                        origin: "applied".to_owned(),
                    }],
                    resource_version: "9".to_owned(),
                    digest: "d1".to_owned(),
                }),
            })),
            AdminCommand::Watch(request, reply) => drop(reply.send(Ok(WatchReply {
                backlog: vec![event("before")],
                events: events.subscribe(),
                filter: WatchFilter { kind: request.kind, namespace: request.namespace, name: request.name },
            }))),
            AdminCommand::Status(reply) => drop(reply.send(Ok(StatusReply {
                assignment: crate::admin::api::AssignmentStatus::default(),
                version: "0".to_owned(),
                pid: 1,
                uptime_seconds: 2,
                generation: 7,
                seed: u64::MAX,
                digest: "d1".to_owned(),
                sets: 5,
                datapath: "proxy".to_owned(),
                draining: false,
                labels: std::collections::BTreeMap::new(),
                objects: 0,
                listeners: Vec::new(),
                retired_active: 0,
                trouble: Vec::new(),
                notes: Vec::new(),
            }))),
        }
    }
}

fn event(name: &str) -> WatchEvent {
    WatchEvent {
        change: WatchChange::Added,
        kind: "gateway".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        object: json!({"name": name}),
        origin: "applied".to_owned(),
        resource_version: "1".to_owned(),
    }
}

fn document(name: &str) -> ApplyRequest {
    let document = Document { name: name.to_owned(), text: "kind: Gateway".to_owned() };
    ApplyRequest { documents: vec![document], namespace: None, dry_run: false, force: false }
}

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
    let nothing = ApplyRequest { documents: Vec::new(), namespace: None, dry_run: false, force: false };
    assert!(matches!(client.apply(&nothing).await, Err(ClientError::Failure(f)) if f.reason == FailureReason::Invalid));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&world.path()), mode(world.path().parent().unwrap())), (0o600, 0o700));
    world.end().await;
}

#[tokio::test]
async fn an_app_that_does_not_answer_is_not_waited_for() {
    let world = world(quick()).await;
    let request = DeleteRequest { documents: vec![], objects: vec![], namespace: None, ignore_not_found: false };
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

#[tokio::test]
async fn a_watch_goes_on_until_the_agent_ends() {
    let mut world = world(Limits { whole_time: Duration::from_millis(500), ..quick() }).await;
    let request =
        WatchRequest { kind: "gateway".into(), namespace: None, name: None, resource_version: Some("3".into()) };
    let mut watch = world.client.watch(&request).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().name, "before");
    sleep(Duration::from_millis(800)).await;
    let other = WatchEvent { kind: "service".to_owned(), ..event("other") };
    world.events.send(Arc::new(other)).unwrap();
    world.events.send(Arc::new(event("after"))).unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().name, "after");
    // Watches are fewer than connections, and their room comes back.
    let second = world.client.watch(&request).await.unwrap();
    assert!(
        matches!(world.client.watch(&request).await, Err(ClientError::Failure(f)) if f.reason == FailureReason::Unavailable)
    );
    drop(second);
    let mut again = world.client.watch(&request).await;
    for _ in 0..100 {
        if again.is_ok() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
        again = world.client.watch(&request).await;
    }
    assert!(again.is_ok(), "{again:?}");
    world.end.take().unwrap().send(()).unwrap();
    assert!(matches!(watch.next().await, Err(ClientError::Failure(f)) if f.reason == FailureReason::Unavailable));
    world.served.await.unwrap();
}

#[tokio::test]
async fn a_watch_that_lost_events_says_so() {
    let world = world(quick()).await;
    let request = WatchRequest { kind: "gateway".into(), namespace: None, name: None, resource_version: None };
    let mut watch = world.client.watch(&request).await.unwrap();
    watch.next().await.unwrap();
    for _ in 0..100 {
        world.events.send(Arc::new(event("many"))).unwrap();
    }
    let last = loop {
        if let Err(error) = watch.next().await.map(Option::unwrap) {
            break error;
        }
    };
    assert!(matches!(last, ClientError::Failure(f) if f.reason == FailureReason::Gone));
    world.end().await;
}

#[tokio::test]
async fn nobody_is_let_in_before_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let client = Client::new(&path);
    assert!(matches!(client.status().await, Err(ClientError::NoAgent(_))));
    let listener = bind(&path).unwrap();
    assert!(matches!(client.status().await, Err(ClientError::NoAgent(_))));
    let error = bind(&path).unwrap_err().to_string();
    assert!(error.starts_with("another agent answers at "), "{error}");
    drop(listener);
    assert!(!path.exists());
    drop(bind(&path).unwrap());
}

#[test]
fn a_dead_socket_is_replaced_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // As a killed agent leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    std::fs::write(folder.path().join("admin.sock.lock"), "").unwrap();
    assert!(path.exists());
    drop(bind(&path).unwrap());
    let alive = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(bind(&path).unwrap_err().to_string().starts_with("another agent answers at "));
    drop(alive);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(bind(&path).unwrap_err().to_string().contains("is no socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let long = folder.path().join("x".repeat(200));
    assert!(format!("{:#}", bind(&long).unwrap_err()).contains("107 bytes"));
}

#[test]
fn a_socket_that_is_not_ours_any_more_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another's").unwrap();
    drop(listener);
    assert!(path.exists());
}

#[test]
fn of_many_that_start_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    for _ in 0..50 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(4);
        let start = || {
            barrier.wait();
            bind(&path).ok()
        };
        let winners = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(winners.len(), 1);
    }
}
