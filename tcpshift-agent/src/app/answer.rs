//! What admin's commands are answered with.

use std::sync::Arc;

use super::change::Unchanged;
use super::down::with_names;
use super::{App, request};
use crate::admin::api::{
    ApiFailure, ChangeReply, FailureReason, GetReply, GetRequest, Item, StatusReply, Trouble, WatchFilter, WatchReply,
    WatchRequest,
};
use crate::admin::status;
use crate::admin::{AdminCommand, Reply};
use crate::handover::give;
use crate::logging;
use crate::route::object::Object;
use crate::route::store::Refusal;

/// Answers a change. Who has a port that it needs is looked up beside the loop.
fn tell(reply: Reply<ChangeReply>, done: Result<ChangeReply, Unchanged>) {
    match done {
        Ok(done) => drop(reply.send(Ok(done))),
        Err(Unchanged::Failed(failure)) => drop(reply.send(Err(failure))),
        Err(Unchanged::Taken(failures)) => drop(tokio::spawn(async move {
            let reasons: Vec<_> = with_names(failures).await.iter().map(ToString::to_string).collect();
            let failure = ApiFailure::new(FailureReason::Failed, format!("{}; nothing is changed", reasons.join("; ")));
            drop(reply.send(Err(failure)));
        })),
    }
}

impl App {
    /// Carries out a command. Who does not wait for the answer any more does not get it.
    pub(super) async fn answer(&mut self, command: AdminCommand) {
        match command {
            // Whoever gave up before it was begun does not expect it to happen any more.
            command if command.is_abandoned() => {}
            AdminCommand::Apply(request, reply) => tell(reply, self.apply(request).await),
            AdminCommand::Delete(request, reply) => tell(reply, self.delete(request).await),
            AdminCommand::Shift(request, reply) => tell(reply, self.shift(request).await),
            AdminCommand::Preview(request, reply) => drop(reply.send(self.preview(request))),
            AdminCommand::Get(request, reply) => drop(reply.send(self.get(&request))),
            AdminCommand::Watch(request, reply) => drop(reply.send(self.watch(request))),
            AdminCommand::Status(reply) => drop(reply.send(Ok(self.status()))),
            // The first one is taken by whoever calls this; here it cannot be granted.
            AdminCommand::HandOver(stream) => {
                let reason = if self.draining { "it is ending" } else { "it is handing over to another one already" };
                tokio::spawn(give::refuse(stream, reason));
            }
        }
    }

    fn get(&self, request: &GetRequest) -> Result<GetReply, ApiFailure> {
        let objects = self.select(&request.kind, request.namespace.as_deref(), request.name.as_deref())?;
        let items =
            objects.into_iter().map(|object| Item { object: object.document(), origin: object.origin.to_string() });
        Ok(GetReply { items: items.collect(), resource_version: self.store.version().to_string() })
    }

    fn select(&self, kind: &str, namespace: Option<&str>, name: Option<&str>) -> Result<Vec<&Arc<Object>>, ApiFailure> {
        let kinds = request::kinds(kind)?;
        let objects = kinds.iter().flat_map(|kind| self.store.of_kind(*kind)).filter(|object| {
            namespace.is_none_or(|namespace| object.key.namespace == namespace)
                && name.is_none_or(|name| object.key.name == name)
        });
        let objects: Vec<_> = objects.collect();
        match name {
            Some(name) if objects.is_empty() => {
                let namespace = namespace.unwrap_or_default().to_owned();
                let key = crate::route::object::Key { kind: kinds[0], namespace, name: name.to_owned() };
                Err(ApiFailure::new(FailureReason::NotFound, Refusal::NotFound(key).to_string()))
            }
            _ => Ok(objects),
        }
    }

    fn watch(&self, request: WatchRequest) -> Result<WatchReply, ApiFailure> {
        let WatchRequest { kind, namespace, name, resource_version } = request;
        let kinds = request::kinds(&kind)?;
        let [kind] = kinds[..] else {
            let words: Vec<_> = kinds.iter().map(|kind| kind.qualified()).collect();
            return Err(ApiFailure::new(
                FailureReason::BadRequest,
                format!("say which kind is meant: {}", words.join(" or ")),
            ));
        };
        let present = self.store.of_kind(kind);
        let filter = WatchFilter { kind: kind.qualified(), namespace, name };
        self.watchers.start(filter, resource_version.as_deref(), &present, self.store.version())
    }

    fn status(&self) -> StatusReply {
        let plan = self.plan.borrow();
        let connections = &self.connections;
        let retired = self.memory.register.destinations.retired();
        let mut notes = plan.notes.clone();
        notes.extend(self.files.errors().map(ToString::to_string));
        notes.extend(self.store.hidden());
        notes.extend(self.missing.notes());
        StatusReply {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            generation: plan.generation,
            seed: plan.seed,
            datapath: status::datapaths(&plan),
            assignment: self.assignment.status(connections, &plan),
            draining: self.draining,
            labels: self.identity.labels.clone(),
            objects: self.store.len() as u64,
            listeners: status::listeners(&plan, connections, &self.down.reasons()),
            retired_active: retired.map(|number| connections.active_of(number)).sum(),
            trouble: connections
                .troubles()
                .chain([("lines of the agent's log lost, since nobody reads its standard error", logging::lost())])
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| Trouble { reason: reason.to_owned(), count })
                .collect(),
            notes,
        }
    }
}
