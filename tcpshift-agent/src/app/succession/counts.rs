//! Counts go from one agent to the next: what was counted until the new one serves, and what the old one still counts of the
//! connections that it carries to their end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::super::view::ReadersView;
use super::App;
use crate::connections::Connections;
use crate::handover::give::{self, HandoverTerms};
use crate::handover::take::{Taken, Teller};
use crate::handover::{Channel, ToldCounts};
use crate::observe::Before;
use crate::observe::ledger::{Index, Ledger};
use crate::plan::{Plan, Sets};

/// How often the old agent tells what it has counted.
const ROUND: Duration = Duration::from_secs(1);

/// How long its last word may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// An old agent's task that tells the new one what is counted here.
#[derive(Debug)]
pub(in crate::app) struct CountReport {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl CountReport {
    /// Tells it the last time: nothing is carried any more.
    pub(in crate::app) async fn end(self) {
        // The new agent may have ended, and the task with it.
        self.end.send(()).ok();
        timeout(LAST_WORD, self.task).await.ok();
    }
}

impl App {
    /// Old: lets go, and tells an agent that listens what was counted. The error says why the other one cannot be told; all goes
    /// on as before then.
    pub(super) async fn release(
        &mut self,
        channel: &mut Channel,
        wanted: &HandoverTerms,
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        // Most of it before nothing is accepted for a moment.
        if wanted.listens {
            let rows = self.told(ledger).await;
            give::tell(channel, rows, self.connections.active()).await?;
        }
        // Nothing is closed before the other one is told, or with its death meanwhile nobody would serve.
        self.proxy.pause().await;
        let told = if wanted.listens {
            let rows = self.told(ledger).await;
            give::tell(channel, rows, self.connections.active()).await
        } else {
            Ok(())
        };
        let released = match told {
            Ok(()) => give::release(channel).await,
            Err(reason) => Err(reason),
        };
        if released.is_err() {
            self.proxy.resume().await;
        }
        released
    }

    async fn told(&self, ledger: &mut Ledger) -> ToldCounts {
        let mut lent = std::mem::take(ledger);
        let (plan, sets) = (Arc::clone(&self.plan.borrow()), Arc::clone(&self.sets));
        let connections = Arc::clone(&self.connections);
        let tell = move || {
            let rows = lent.tell(&plan, &sets, &connections);
            (lent, rows)
        };
        let rows;
        (*ledger, rows) = self.beside.run(tell).await;
        rows
    }

    /// Old: goes on telling, until it ends or the new agent does.
    pub(super) fn report(&self, channel: Channel, ledger: Ledger) -> CountReport {
        let (end, ended) = oneshot::channel();
        let counted = Counted {
            plan: Arc::clone(&self.plan.borrow()),
            sets: Arc::clone(&self.sets),
            connections: Arc::clone(&self.connections),
            before: self.before.subscribe(),
            ledger,
        };
        CountReport { end, task: tokio::spawn(counted.report(channel, ended)) }
    }

    /// New: goes on with what the agent before has counted.
    pub(super) fn inherit(&mut self, taken: &mut Taken, index: &Index) {
        let carried = index.add(&std::mem::take(&mut taken.counts), &self.connections);
        if let (Some(peer), true) = (taken.peer(), taken.active > 0) {
            let mut before = Before { peer: peer.to_string(), ..Before::default() };
            before.told(taken.active, carried);
            self.before.send_replace(Some(Arc::new(before)));
        }
    }

    /// New: lets the agent before end when it likes, and hears meanwhile what it counts.
    pub(in crate::app) async fn hear(&self, taken: Option<Taken>) {
        let teller = match taken {
            Some(taken) => taken.serving().await,
            None => None,
        };
        if let Some(teller) = teller {
            let (view, connections) = (self.view.subscribe(), Arc::clone(&self.connections));
            tokio::spawn(hear(teller, view, connections, self.before.clone()));
        } else {
            self.before.send_replace(None);
        }
    }
}

/// What an old agent tells.
struct Counted {
    plan: Arc<Plan>,
    sets: Arc<Sets>,
    connections: Arc<Connections>,
    /// It may have taken over itself from one that has not ended yet.
    before: watch::Receiver<Option<Arc<Before>>>,
    ledger: Ledger,
}

impl Counted {
    async fn report(mut self, mut channel: Channel, mut ended: oneshot::Receiver<()>) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = &mut ended => true,
                _ = rounds.tick() => false,
            };
            let rows = self.ledger.tell(&self.plan, &self.sets, &self.connections);
            let before = self.before.borrow().as_ref().map_or(0, |before| before.active);
            let told = give::tell(&mut channel, rows, self.connections.active() + before).await;
            if is_last || told.is_err() {
                return;
            }
        }
    }
}

/// Hears what the agent before counts, until it ends.
async fn hear(
    mut teller: Teller,
    view: watch::Receiver<Arc<ReadersView>>,
    connections: Arc<Connections>,
    before: watch::Sender<Option<Arc<Before>>>,
) {
    let mut known: Option<(Arc<Plan>, Arc<Sets>, Index)> = None;
    while let Some((rows, active)) = teller.next().await {
        let mut carried = Vec::new();
        if !rows.is_empty() {
            let (plan, sets) = view.borrow().in_force();
            let is_known = known
                .as_ref()
                .is_some_and(|(last, other, _)| Arc::ptr_eq(last, &plan) && other.version == sets.version);
            if !is_known {
                let index = Index::new(&plan, &sets);
                known = Some((plan, sets, index));
            }
            carried = known.iter().flat_map(|(_, _, index)| index.add(&rows, &connections)).collect();
        }
        before.send_modify(|before| {
            let mut now = before
                .as_deref()
                .cloned()
                .unwrap_or_else(|| Before { peer: teller.peer().to_string(), ..Before::default() });
            now.told(active, carried);
            *before = (active > 0).then(|| Arc::new(now));
        });
    }
    before.send_replace(None);
    log::info!("the agent before this one ({}) has ended", teller.peer());
}
