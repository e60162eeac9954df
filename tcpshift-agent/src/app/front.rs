//! Front: takes admin's commands, answers those that only read, and hands the others on to the loop that changes things.
//!
//! It is a task of its own, which waits for nothing but commands: whoever asks what is in force is answered at once, also
//! while a plan is made or written to disk.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::view::Readers;
use crate::admin::{AdminCommand, Commands};

/// Commands that may wait for the loop. Admin lets no more than this in at a time.
const WAITING: usize = 64;

/// Starts the task, which ends when nobody is left to ask or to change. Returns where admin sends commands, and where those
/// that change something come out.
pub(super) fn open(readers: Readers) -> (Commands, mpsc::Receiver<AdminCommand>, JoinHandle<()>) {
    let (sender, mut asked) = mpsc::channel(WAITING);
    let (changes, receiver) = mpsc::channel(WAITING);
    let task = tokio::spawn(async move {
        while let Some(command) = asked.recv().await {
            match command {
                // Whoever gave up does not expect an answer any more.
                command if command.is_abandoned() => {}
                AdminCommand::Get(request, reply) => drop(reply.send(readers.get(&request))),
                AdminCommand::Watch(request, reply) => drop(reply.send(readers.watch(request))),
                AdminCommand::Connections(filter, reply) => {
                    let readers = readers.clone();
                    tokio::spawn(async move { reply.send(readers.connections(filter).await).ok() });
                }
                AdminCommand::Close(request, reply) => {
                    let readers = readers.clone();
                    tokio::spawn(async move { reply.send(readers.close(request).await).ok() });
                }
                AdminCommand::Status(reply) => drop(reply.send(Ok(readers.status()))),
                change => {
                    // A full queue must not keep readers waiting.
                    let Ok(place) = changes.clone().try_reserve_owned() else {
                        tokio::spawn(send(changes.clone(), change));
                        continue;
                    };
                    place.send(change);
                }
            }
        }
    });
    (sender, receiver, task)
}

async fn send(changes: mpsc::Sender<AdminCommand>, change: AdminCommand) {
    // The agent may have ended: then whoever asked sees that nobody answers.
    changes.send(change).await.ok();
}
