//! Carries out admin's commands that wait for the loop, and answers them.

use super::App;
use super::change::Unchanged;
use super::down::with_names;
use crate::admin::api::{ApiFailure, ChangeReply, FailureReason};
use crate::admin::{AdminCommand, Reply};
use crate::handover::give;

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
            AdminCommand::Preview(request, reply) => drop(reply.send(self.preview(request).await)),
            // The front answers those.
            AdminCommand::Get(..)
            | AdminCommand::Watch(..)
            | AdminCommand::Status(_)
            | AdminCommand::Connections(..)
            | AdminCommand::Close(..) => {}
            // The first one is taken by whoever calls this; here it cannot be granted.
            AdminCommand::HandOver(stream) => {
                let reason = if self.draining { "it is ending" } else { "another one is taking over already" };
                tokio::spawn(give::refuse(stream, reason));
            }
        }
    }
}
