//! The signals that an agent obeys: SIGHUP to read the files again, SIGTERM and SIGINT to end.

use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that an agent obeys.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// One that was taken when it could not be obeyed.
    pub(super) again: Option<&'static str>,
}

impl Signals {
    /// Fails if the host gives no way to hear of them.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            again: None,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Asked {
        let Self { terminate, interrupt, hangup, again } = self;
        tokio::select! {
            signal = Self::end(terminate, interrupt, again) => Asked::End(signal),
            _ = hangup.recv() => Asked::Reload,
        }
    }

    /// Waits until the agent is to end, and says by which signal. A SIGHUP is kept for later.
    pub(super) async fn ended(&mut self) -> &'static str {
        Self::end(&mut self.terminate, &mut self.interrupt, &mut self.again).await
    }

    /// Waits until work is done. A signal to end is answered meanwhile, and obeyed after.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let Self { terminate, interrupt, again, .. } = self;
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                signal = first(terminate, interrupt), if again.is_none() => {
                    log::info!("{signal}: the agent ends once the change that is under way is made");
                    *again = Some(signal);
                }
            }
        }
    }

    async fn end(terminate: &mut Signal, interrupt: &mut Signal, again: &mut Option<&'static str>) -> &'static str {
        if let Some(signal) = again.take() {
            return signal;
        }
        first(terminate, interrupt).await
    }
}

/// The next of the two that comes.
async fn first(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// What a signal asks for.
pub(super) enum Asked {
    /// To read the files again.
    Reload,
    /// To end; by which signal.
    End(&'static str),
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_to_end_that_comes_during_a_change_is_kept() {
        let mut signals = Signals::new().unwrap();
        let change = async {
            kill_process(getpid(), Signal::TERM).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            "made"
        };
        assert_eq!(signals.during(change).await, "made");
        assert_eq!(signals.again, Some("SIGTERM"));
        assert!(matches!(signals.next().await, Asked::End("SIGTERM")));
    }
}
