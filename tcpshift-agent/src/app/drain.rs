//! How an agent ends: connections have time to end, and questions are answered meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::App;
use super::signals::{Asked, Signals};
use crate::admin::AdminCommand;

impl App {
    /// Lets connections end, answers questions meanwhile, and closes what is left after the timeout or a
    /// second signal. Programs go on steering until the agent is gone: nobody else would serve their clients.
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
        if connections.active() > 0 {
            log::info!("waiting up to {timeout:?} for connections to end: {}", connections.active());
        }
        let until = tokio::time::Instant::now() + timeout;
        loop {
            tokio::select! {
                () = connections.ended() => break,
                () = sleep_until(until) => {
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
