//! A served socket, and an app behind it that answers every request with the same words.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::super::*;
use crate::admin::AdminCommand;
use crate::admin::api::*;
use crate::admin::client::Client;

/// A served socket with an app that answers by heart.
pub(super) struct World {
    folder: TempDir,
    pub(super) client: Client,
    pub(super) events: broadcast::Sender<Arc<WatchEvent>>,
    pub(super) end: Option<oneshot::Sender<()>>,
    pub(super) served: JoinHandle<()>,
}

pub(super) fn quick() -> Limits {
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

pub(super) async fn world(limits: Limits) -> World {
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
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("run/admin.sock")
    }

    /// Sends bytes, half-closes if asked to, and reads what comes until the server closes.
    pub(super) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.path()).await.unwrap();
        drop(stream.write_all(bytes).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(super) async fn failure(&self, request: &str) -> (String, ApiFailure) {
        let answer = self.raw(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        (head.split(' ').nth(1).unwrap().to_owned(), serde_json::from_str(body).unwrap())
    }

    pub(super) async fn is_well(&self) -> bool {
        self.client.status().await.is_ok()
    }

    pub(super) async fn end(mut self) {
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
            AdminCommand::Connections(filter, reply) => {
                let notes = filter.route.into_iter().chain(filter.endpoint).collect();
                drop(reply.send(Ok(ConnectionsReply { total: 3, connections: Vec::new(), notes })));
            }
            AdminCommand::Close(request, reply) => {
                drop(reply.send(Ok(CloseReply { carried: u64::from(request.all), ..CloseReply::default() })));
            }
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
                before: None,
                trouble: Vec::new(),
                notes: Vec::new(),
            }))),
        }
    }
}

pub(super) fn event(name: &str) -> WatchEvent {
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

pub(super) fn document(name: &str) -> ApplyRequest {
    let document = Document { name: name.to_owned(), text: "kind: Gateway".to_owned() };
    ApplyRequest { documents: vec![document], namespace: None, dry_run: false, force: false, strict: false }
}
