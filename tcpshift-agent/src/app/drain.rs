//! How an agent ends: connections have time to end, and questions are answered meanwhile.

mod pace;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use self::pace::Pace;
use super::App;
use super::signals::{Asked, Signals};
use crate::admin::AdminCommand;
use crate::connections::LiveFilter;

impl App {
    /// Lets connections end, answers questions meanwhile, and closes what is left after the timeout or a
    /// second signal. Where a rate is given, so many are ended each second, and the timeout begins when each has been told to
    /// end. Programs go on steering until the agent is gone: nobody else would serve their clients.
    pub(super) async fn drain(
        &mut self,
        timeout: Duration,
        signals: &mut Signals,
        commands: &mut mpsc::Receiver<AdminCommand>,
    ) {
        self.draining = true;
        self.show();
        // After a hand-over this has been done, and finds nothing.
        self.proxy.drain().await;
        let connections = Arc::clone(&self.connections);
        let mut pace = self.drain_rate.map(|rate| Pace::new(rate, Instant::now()));
        match (connections.active(), self.drain_rate) {
            (0, _) => {}
            (active, None) => log::info!("waiting up to {timeout:?} for connections to end: {active}"),
            (active, Some(rate)) => log::info!("ending {rate} connections a second: {active}"),
        }
        let mut until = Instant::now() + timeout;
        loop {
            let next = pace.as_ref().map_or(until, Pace::next);
            tokio::select! {
                () = connections.ended() => break,
                () = sleep_until(next), if pace.is_some() => {
                    let due = pace.as_mut().map_or(0, |pace| pace.due(Instant::now()));
                    if self.proxy.close(&LiveFilter::default(), due).await < due {
                        // Each of those that are left is being ended.
                        pace = None;
                        until = Instant::now() + timeout;
                    }
                }
                () = sleep_until(until), if pace.is_none() => {
                    log::warn!("connections that have not ended are reset: {}", connections.active());
                    break;
                }
                asked = signals.next() => {
                    if let Asked::End(signal) = asked {
                        log::warn!("{signal} again: connections are reset: {}", connections.active());
                        break;
                    }
                }
                Some(command) = commands.recv() => self.answer(command).await,
            }
        }
        self.proxy.reset().await;
    }
}
