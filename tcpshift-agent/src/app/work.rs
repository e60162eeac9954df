//! The loop: what an agent that serves waits for, and what it does then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::App;
use super::assignment::Assigner;
use super::beside::Lendable;
use super::health::GATHER;
use super::signals::{Asked, Signals};
use crate::admin::AdminCommand;
use crate::route::source::files::watch::{FilesWatch, SETTLE, SHORTEST_ROUND};

/// How often a listener that could not be opened is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often the host is looked at: its addresses, and who listens at them.
const TEND: Duration = Duration::from_secs(1);

/// How long the host is not looked at again, whatever is reported.
const TEND_REST: Duration = Duration::from_millis(50);

/// The longest time between two looks at the host, be it that they take long.
const LONGEST: Duration = Duration::from_secs(3);

/// A look at the files takes at most this part of the time between two looks.
const LOOK_SHARE: u32 = 50;
/// And this part where changes are reported.
const REPORTED_SHARE: u32 = 5;

impl App {
    /// Serves until it is told to end, or another agent serves in its place.
    pub(super) async fn work(
        &mut self,
        signals: &mut Signals,
        commands: &mut mpsc::Receiver<AdminCommand>,
        watch: &mut Lendable<FilesWatch>,
    ) {
        let mut look_at = tokio::time::Instant::now() + SHORTEST_ROUND;
        // Not before, whatever is reported: a folder that changes all the time must not take all the time.
        let mut rest_until = look_at;
        let mut open_at = tokio::time::Instant::now() + TRY_AGAIN;
        let mut tend_from = tokio::time::Instant::now();
        let mut tend_at = tend_from + TEND;
        let mut keep_at = tend_at;
        let mut failures_at = tend_from;
        let connections = Arc::clone(&self.connections);
        let (news, names) = (self.assignment.news(), self.assignment.names_made());
        loop {
            let some_down = self.down.len() > 0;
            tokio::select! {
                Some(command) = commands.recv() => match command {
                    AdminCommand::HandOver(stream) => if self.hand_over(stream, signals, commands).await {
                        return;
                    },
                    command => signals.during(self.answer(command)).await,
                },
                answers = self.resolver.changed() => {
                    signals.during(self.answered(answers)).await;
                }
                dialled = self.health.dialled() => signals.during(self.dialled(dialled)).await,
                () = sleep_until(failures_at) => {
                    self.look_for_failures();
                    failures_at = tokio::time::Instant::now() + self.next_look();
                    continue;
                }
                () = connections.untaken.notified() => {
                    failures_at = failures_at.min(tokio::time::Instant::now() + GATHER);
                    continue;
                }
                () = watch.changed() => {
                    look_at = look_at.min(rest_until.max(tokio::time::Instant::now() + SETTLE));
                }
                () = sleep_until(look_at) => {
                    let began = Instant::now();
                    watch.with(&self.beside, FilesWatch::renew).await;
                    let again = signals.during(self.look(false)).await;
                    let (now, took) = (tokio::time::Instant::now(), began.elapsed());
                    let round = SHORTEST_ROUND.max(took * LOOK_SHARE);
                    rest_until = now + took * REPORTED_SHARE;
                    look_at = (now + again.unwrap_or(round).min(round)).max(rest_until);
                }
                () = names.notified() => {
                    signals.during(self.assignment.with(&self.beside, Assigner::show_names)).await;
                    continue;
                }
                () = news.notified() => tend_at = tend_at.min(tend_from),
                () = sleep_until(tend_at) => {
                    let began = Instant::now();
                    signals.during(self.tend()).await;
                    // Whoever listens again and again must not take all the time.
                    let (now, took) = (tokio::time::Instant::now(), began.elapsed());
                    tend_from = now + TEND_REST.max(took * REPORTED_SHARE);
                    tend_at = now + TEND.max((took * LOOK_SHARE).min(LONGEST));
                }
                () = sleep_until(open_at), if some_down => {
                    signals.during(self.open_again()).await;
                    open_at = tokio::time::Instant::now() + TRY_AGAIN;
                }
                () = self.down.named() => {}
                () = sleep_until(keep_at) => {
                    signals.during(self.look_after()).await;
                    keep_at = tokio::time::Instant::now() + TEND;
                }
                asked = signals.next() => match asked {
                    Asked::Reload => {
                        log::info!("SIGHUP: reading the files again");
                        signals.during(self.look(true)).await;
                    }
                    Asked::End(signal) => {
                        log::info!("{signal}: nothing more is accepted here; what is steered goes on until the agent is gone");
                        return;
                    }
                },
            }
            self.show();
        }
    }
}
