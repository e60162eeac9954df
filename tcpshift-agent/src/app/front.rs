//! Front: takes admin's commands, answers those that only read, and hands the others on to the loop that changes things.
//!
//! It owns the history of counts too, and looks at them once a second. It is a task of its own, which waits for nothing but
//! commands and its clock: whoever asks what is in force is answered at once, also
//! while a plan is made or written to disk.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::view::Readers;
use crate::admin::{AdminCommand, Commands};
use crate::observe::History;

/// Commands that may wait for the loop. Admin lets no more than this in at a time.
const WAITING: usize = 64;

/// How often it is looked how counts have grown.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the task, which ends when nobody is left to ask or to change. Returns where admin sends commands, and where those
/// that change something come out.
pub(super) fn open(readers: Readers) -> (Commands, mpsc::Receiver<AdminCommand>, JoinHandle<()>) {
    let (sender, mut asked) = mpsc::channel(WAITING);
    let (changes, receiver) = mpsc::channel(WAITING);
    let task = tokio::spawn(async move {
        let mut history = History::default();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                asked = asked.recv() => match asked {
                    Some(command) => answer(command, &readers, &history, &changes),
                    None => return,
                },
                _ = looks.tick() => readers.look(&mut history),
            }
        }
    });
    (sender, receiver, task)
}

/// Answers who only reads, and hands a change on.
fn answer(command: AdminCommand, readers: &Readers, history: &History, changes: &mpsc::Sender<AdminCommand>) {
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
        AdminCommand::Status(reply) => drop(reply.send(Ok(readers.status(history)))),
        change => match changes.clone().try_reserve_owned() {
            Ok(place) => drop(place.send(change)),
            // A full queue must not keep readers waiting.
            Err(_) => drop(tokio::spawn(send(changes.clone(), change))),
        },
    }
}

async fn send(changes: mpsc::Sender<AdminCommand>, change: AdminCommand) {
    // The agent may have ended: then whoever asked sees that nobody answers.
    changes.send(change).await.ok();
}
