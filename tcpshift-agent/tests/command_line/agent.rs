//! What the agent of these tests answers by heart.

use serde_json::{Value, json};
use tcpshift_agent::admin;
use tcpshift_agent::admin::api::*;
use tcpshift_agent::route::problem::{Problem, Severity};
use tokio::sync::{broadcast, mpsc};

fn problem(severity: Severity) -> Problem {
    Problem {
        severity,
        file: "a.yaml".to_owned(),
        line: 3,
        object: "VirtualService default/tcp-echo".to_owned(),
        field: "spec.tcp[0]".to_owned(),
        message: "something".to_owned(),
        cure: "mend it".to_owned(),
    }
}

fn result(object: &str, action: Action) -> ChangeResult {
    ChangeResult { object: object.to_owned(), namespace: "default".to_owned(), action, resource_version: None }
}

pub(super) fn route(name: &str, weight: u32) -> Value {
    let destination = |subset: &str, weight: u32| json!({"destination": {"host": "tcp-echo", "port": {"number": 9000}, "subset": subset}, "weight": weight});
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "hosts": ["*"],
            "gateways": ["tcp-echo-gateway"],
            "tcp": [{"route": [destination("v1", 100 - weight), destination("v2", weight)]}],
        },
    })
}

fn apply(request: &ApplyRequest) -> Result<ChangeReply, ApiFailure> {
    if request.documents.iter().any(|document| document.text.contains("HUGE")) {
        return Err(ApiFailure::new(FailureReason::TooLarge, "too large"));
    }
    if request.documents.iter().any(|document| document.text.contains("BROKEN")) {
        let message = "nothing is stored: 1 object is invalid".to_owned();
        return Err(ApiFailure { reason: FailureReason::Invalid, message, problems: vec![problem(Severity::Error)] });
    }
    Ok(ChangeReply {
        results: vec![
            result("gateway.networking.istio.io/tcp-echo-gateway", Action::Created),
            result("virtualservice.networking.istio.io/tcp-echo", Action::Unchanged),
            result("deployment.apps/tcp-echo-v1", Action::PassedOver),
        ],
        warnings: vec![problem(Severity::Warning)],
        generation: 3,
        ..ChangeReply::default()
    })
}

/// What a shift to a weight of v2 is answered with.
fn shifted(request: &ShiftRequest, before: u32, weight: u32) -> ChangeReply {
    let ObjectName { kind, name, .. } = &request.object;
    let destination = |subset: &str, before: u32, weight: u32| ShiftedDestination {
        name: format!("tcp-echo:9000/{subset}"),
        weight: weight.into(),
        slots: weight * 100,
        slots_before: Some(before * 100),
    };
    let destinations = vec![destination("v1", 100 - before, 100 - weight), destination("v2", before, weight)];
    let rule = request.rule.as_ref().map(|rule| format!("rules[{rule}]"));
    ChangeReply {
        // As the kind was asked for: none stands for either kind of route.
        results: vec![result(&format!("{kind}/{name}"), Action::Configured)],
        diff: request.dry_run.then(Diff::default),
        shifted: Some(Shifted { rule, destinations, object: route(name, weight) }),
        ..ChangeReply::default()
    }
}

pub(super) async fn app(mut inbox: mpsc::Receiver<admin::AdminCommand>) {
    let mut weight = 20;
    while let Some(command) = inbox.recv().await {
        match command {
            admin::AdminCommand::Apply(request, reply) => drop(reply.send(apply(&request))),
            admin::AdminCommand::HandOver(stream) => drop(stream),
            // Promises have them of a whole agent.
            admin::AdminCommand::Connections(_, reply) => drop(reply),
            admin::AdminCommand::Close(_, reply) => drop(reply),
            admin::AdminCommand::Delete(request, reply) => {
                let known = |object: &ObjectName| object.name == "tcp-echo" || request.ignore_not_found;
                drop(reply.send(match request.objects.iter().find(|object| !known(object)) {
                    Some(object) => Err(ApiFailure::new(
                        FailureReason::NotFound,
                        format!("virtualservices.networking.istio.io {:?} not found", object.name),
                    )),
                    None => Ok(ChangeReply {
                        results: vec![
                            result("virtualservice.networking.istio.io/tcp-echo", Action::Deleted),
                            result("virtualservice.networking.istio.io/gone", Action::NotFound),
                        ],
                        ..ChangeReply::default()
                    }),
                }));
            }
            admin::AdminCommand::Shift(request, reply) if request.object.name == "from-file" => {
                let message = "virtualservice from-file comes from routes.yaml:1: edit it there";
                drop(reply.send(Err(ApiFailure::new(FailureReason::Forbidden, message))));
            }
            admin::AdminCommand::Shift(request, reply)
                if request.shares.iter().map(|one| one.slots).sum::<u32>() > 10_000 =>
            {
                drop(reply.send(Err(ApiFailure::new(FailureReason::BadRequest, "more than 100 %"))));
            }
            admin::AdminCommand::Shift(request, reply) => {
                let before = std::mem::replace(&mut weight, request.shares[0].slots / 100);
                drop(reply.send(Ok(shifted(&request, before, weight))));
            }
            admin::AdminCommand::Preview(request, reply) => {
                let document = ApplyRequest {
                    documents: request.documents,
                    namespace: None,
                    dry_run: true,
                    force: false,
                    strict: false,
                };
                let diff = request.delete.then(Diff::default);
                drop(reply.send(apply(&document).map(|reply| ChangeReply { diff, ..reply })));
            }
            admin::AdminCommand::Get(request, reply) => {
                let found = |items: &[&str]| {
                    let item = |name: &&str| Item { object: route(name, weight), origin: "applied".to_owned() };
                    Ok(GetReply {
                        items: items.iter().map(item).collect(),
                        resource_version: "5".to_owned(),
                        digest: "8c5f".to_owned(),
                    })
                };
                drop(reply.send(match (request.kind.split('.').next(), request.name.as_deref()) {
                    (Some("virtualservice"), Some(name @ ("tcp-echo" | "other"))) => found(&[name]),
                    (Some(kind), Some(name)) => {
                        let message = format!("{kind}s.networking.istio.io {name:?} not found");
                        Err(ApiFailure::new(FailureReason::NotFound, message))
                    }
                    (Some("virtualservice"), None) if request.namespace.as_deref() != Some("empty") => {
                        found(&["other", "tcp-echo"])
                    }
                    _ => found(&[]),
                }));
            }
            admin::AdminCommand::Watch(request, reply) => {
                let event = |object: Value, change| WatchEvent {
                    change,
                    kind: request.kind.clone(),
                    namespace: "default".to_owned(),
                    name: "tcp-echo".to_owned(),
                    object,
                    origin: "routes.yaml:7".to_owned(),
                    resource_version: "6".to_owned(),
                };
                drop(reply.send(Ok(WatchReply {
                    backlog: vec![event(route("tcp-echo", 50), WatchChange::Modified)],
                    // A sender that is gone ends the watch.
                    events: broadcast::Sender::new(1).subscribe(),
                    filter: WatchFilter { kind: request.kind.clone(), namespace: None, name: None },
                })));
            }
            admin::AdminCommand::Status(reply) => drop(reply.send(Ok(StatusReply {
                assignment: AssignmentStatus { by: "kernel".to_owned(), ..AssignmentStatus::default() },
                version: "0.1.0".to_owned(),
                pid: 1,
                uptime_seconds: 2,
                generation: 7,
                digest: "8c5f".to_owned(),
                sets: 3,
                seed: 1,
                datapath: "proxy".to_owned(),
                draining: false,
                labels: std::collections::BTreeMap::new(),
                objects: 0,
                listeners: Vec::new(),
                retired_active: 0,
                before: None,
                trouble: Vec::new(),
                notes: vec!["note\n".repeat(100_000)],
            }))),
        }
    }
}
