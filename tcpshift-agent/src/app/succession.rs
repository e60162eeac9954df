//! How one agent follows another: app's part of a hand-over, on both sides.
//!
//! The old one keeps answering questions and carrying connections while the new one makes itself ready, and changes
//! nothing: from the moment its state is lent until nothing came of it, it is as if it only read. When one agent may follow
//! another, [`policy`] says; who says what and when is `handover`'s. What an agent that was killed leaves behind is taken
//! over elsewhere: programs and pins by `kernel/seizure`, files by `route/source/state`, the admin socket by
//! `admin/server/claim`.

mod counts;
mod policy;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

pub(super) use self::counts::CountReport;
use self::policy::{Hindrance, Standing};
use super::{App, Signals};
use crate::admin::server::{self, AdminListener, Claim};
use crate::admin::{AdminCommand, Commands};
use crate::handover::give::{self, Estate, HandoverTerms};
use crate::handover::take::Taken;
use crate::handover::{Channel, ListeningSocket, take};
use crate::observe::ledger::{Index, Ledger};
use crate::plan::Route;
use crate::plan::sets::states::ResolvedNames;
use crate::proxy::{ListenFailure, Proxy};
use crate::route::source::state::StateFolder;

/// How long an agent that was just killed may keep its locks and its sockets: the kernel takes its time to free all
/// it had.
pub(super) const DEATH_TIME: Duration = Duration::from_secs(2);

/// How often is tried meanwhile what cannot be done yet.
const DEATH_ROUND: Duration = Duration::from_millis(20);

/// How long the admin server may take to let nobody in any more.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// What an agent says to whoever wants a change meanwhile.
pub(super) const HANDING_OVER: &str =
    "another agent is taking over and nothing is changed meanwhile; try again in a moment";

/// The admin server at work.
#[derive(Debug)]
pub(super) struct Desk {
    /// None once it is another agent's.
    claim: Option<Claim>,
    /// For a socket that takes the place of one that somebody removed.
    renewed: mpsc::Sender<server::AdminSocket>,
    task: tokio::task::JoinHandle<()>,
    end: Option<oneshot::Sender<()>>,
    left: Option<oneshot::Receiver<()>>,
}

/// An admin server that lets nobody in yet, and has all it needs to.
#[derive(Debug)]
pub(super) struct Prepared {
    listener: AdminListener,
    socket: UnixListener,
    claim: Claim,
}

impl Desk {
    /// All that can fail.
    pub(super) fn prepare(listener: AdminListener) -> anyhow::Result<Prepared> {
        let claim = listener.claim().context("cannot copy the admin socket")?;
        let socket = listener.listen()?;
        Ok(Prepared { listener, socket, claim })
    }

    /// Lets clients in.
    pub(super) fn open(prepared: Prepared, commands: Commands) -> Self {
        let Prepared { listener, socket, claim } = prepared;
        let ((end, ended), (leave, left)) = (oneshot::channel::<()>(), oneshot::channel());
        let shutdown = async {
            ended.await.ok();
        };
        let (renewed, renewals) = mpsc::channel(1);
        let task = tokio::spawn(server::serve((listener, socket), renewals, commands, shutdown, leave));
        Self { claim: Some(claim), renewed, task, end: Some(end), left: Some(left) }
    }

    /// Makes the admin socket again if somebody removed it. The error says why no command reaches this agent.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        let Some(listener) = self.claim.as_ref().map(Claim::renew).transpose()?.flatten() else { return Ok(()) };
        let (claim, socket) = (listener.claim()?, listener.listen()?);
        log::warn!("somebody removed the admin socket {}; it is there again", listener.path().display());
        self.renewed.try_send((listener, socket)).map_err(|_| anyhow::anyhow!("the admin server has ended"))?;
        self.claim = Some(claim);
        Ok(())
    }

    /// Has the server let nobody in any more.
    fn shut(&mut self) {
        if let Some(end) = self.end.take() {
            // The server may have ended by itself.
            end.send(()).ok();
        }
    }

    /// Lets nobody in any more. Exchanges that are under way go on for a moment.
    async fn close(&mut self) {
        self.shut();
        if let Some(left) = self.left.take() {
            tokio::time::timeout(CLOSE_TIME, left).await.ok();
        }
    }
}

/// The agent that there is already, if this one is to take over and there is one. It is waited for so long.
pub(super) async fn predecessor(takeover: bool, admin: &Path, within: Duration) -> anyhow::Result<Option<Taken>> {
    if !takeover {
        return Ok(None);
    }
    let taken = take::take(admin, within).await?;
    match &taken {
        Some(taken) => {
            let peer = taken.peer().map_or_else(|| "gone by now".to_owned(), |peer| peer.to_string());
            log::info!("taking over {} sockets from the running agent ({peer})", taken.sockets.len());
        }
        None => log::info!("no agent answers at {}, so there is none to take over: starting as usual", admin.display()),
    }
    Ok(taken)
}

/// The admin socket and the state directory, from the agent before if there is one.
pub(super) async fn belongings(
    takeover: bool,
    predecessor: Option<&mut Taken>,
    admin: &Path,
    state_dir: &Path,
) -> anyhow::Result<(AdminListener, StateFolder)> {
    // One that was there a moment ago may be dying.
    let patience = if takeover { DEATH_TIME } else { Duration::ZERO };
    let (desk, lock) = predecessor.map(|taken| (taken.admin.take(), taken.state.take())).unwrap_or_default();
    let listener = match desk {
        Some((socket, lock)) => server::adopt(admin, socket, lock)?,
        None => patiently(patience, || server::bind(admin)).await?,
    };
    let state = match lock {
        Some(lock) => StateFolder::open_as(state_dir, Some(lock))?,
        None => patiently(patience, || StateFolder::open(state_dir)).await?,
    };
    Ok((listener, state))
}

/// Tries something again for a while.
pub(super) async fn patiently<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(_) if began.elapsed() < patience => sleep(DEATH_ROUND).await,
            done => return done,
        }
    }
}

/// Gives the proxy all sockets that were open before this agent was. Returns where the agent before listens.
pub(super) fn furnish(
    proxy: &mut Proxy,
    predecessor: Option<&mut Taken>,
    activated: Vec<ListeningSocket>,
) -> HashSet<SocketAddr> {
    let mut served = HashSet::new();
    proxy.hold();
    if let Some(taken) = predecessor {
        served.extend(taken.sockets.iter().chain(&taken.activated).map(|(address, _)| *address));
        proxy.adopt(taken.sockets.drain(..));
        proxy.activate(taken.activated.drain(..));
    }
    proxy.activate(activated);
    served
}

impl App {
    /// Whether there are listeners, none of them can be served before another program lets go, and no client is steered
    /// without one.
    pub(super) fn serves_nothing(&self) -> bool {
        let plan = self.plan.borrow();
        // Services without rules are no reason to start: nobody has asked for them.
        let is_served = |route: &Arc<Route>| !route.is_own() && route.chosen.datapath.is_some();
        let standing = Standing {
            listeners: plan.listeners.len(),
            down: self.down.len(),
            is_passing: self.down.failures().any(ListenFailure::is_passing),
            has_clients: plan.mesh.iter().any(|listener| listener.routes.iter().any(is_served)),
        };
        standing.serves_nothing()
    }

    /// The last step of a start that takes nothing over: the plan in force is the kernel's too, and what waits is accepted.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        let plan = Arc::clone(&self.plan.borrow());
        self.assignment.begin(&plan, &self.sets)?;
        self.proxy.accept(plan, Arc::clone(&self.sets)).await;
        self.follow_abilities().await;
        self.settle();
        Ok(())
    }

    /// What was planned for the kernel is carried if the kernel could not be had. It may be had by the plan that follows from
    /// that, and then the next one is for the kernel again.
    async fn follow_abilities(&mut self) {
        for _ in 0..2 {
            if self.abilities_changed() {
                self.reassemble().await;
            }
        }
    }

    /// Waits a moment for the sockets of an agent that is dying, if nothing can be served without them.
    pub(super) async fn outlast(&mut self) {
        let began = Instant::now();
        while self.serves_nothing() && began.elapsed() < DEATH_TIME {
            sleep(DEATH_ROUND).await;
            self.open_again().await;
        }
    }

    /// The last step of a takeover: has the old agent let go, and begins to accept. `problems` are what is wrong
    /// with objects: the old agent may have their last valid versions, and this one has not. `served` is where the old
    /// one listens.
    pub(super) async fn succeed(
        &mut self,
        taken: &mut Taken,
        (problems, served): (usize, &HashSet<SocketAddr>),
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        let is_down = self.down.failures().any(|failure| served.contains(&failure.address));
        match policy::hindrance(taken.peer().is_some(), is_down, problems) {
            None => {}
            Some(Hindrance::Listener) => {
                self.down.name().await;
                let failure = self.down.failures().find(|failure| served.contains(&failure.address));
                bail!("{}; the running agent goes on serving", failure.map(ToString::to_string).unwrap_or_default());
            }
            Some(Hindrance::Problems(problems)) => bail!(
                "{problems} of the problems above are errors, and the running agent may still have what they cost this \
                 one: it goes on serving. Mend them, or stop it and start this one without --takeover"
            ),
        }
        let unwanted = self.proxy.close_unwanted(&self.plan.borrow());
        tokio::select! {
            biased;
            _ = signals.ended() => bail!("asked to end before the takeover: the running agent goes on serving"),
            () = std::future::ready(()) => {}
        }
        let plan = Arc::clone(&self.plan.borrow());
        let (index, sets) = (Arc::clone(&plan), Arc::clone(&self.sets));
        let index = self.beside.run(move || Index::new(&index, &sets)).await;
        taken.finish(unwanted, self.drain_rate).await?;
        // Before anything is counted here: sequences go on where they were.
        self.inherit(taken, &index);
        self.proxy.accept(Arc::clone(&plan), Arc::clone(&self.sets)).await;
        self.assignment.succeed(&plan, &self.sets).await;
        self.follow_abilities().await;
        self.settle();
        self.state.catch_up();
        if let Some(peer) = taken.peer() {
            log::info!("taken over; the agent before this one ({peer}) lets its connections end");
        }
        Ok(())
    }

    /// Says which sockets of systemd's nobody serves.
    pub(super) fn say_unserved(&self) {
        let unserved = self.proxy.unserved(&self.plan.borrow());
        let addresses: Vec<_> = unserved.iter().map(SocketAddr::to_string).collect();
        if !addresses.is_empty() {
            log::warn!(
                "systemd listens on {} and no route does: clients wait there until a Gateway has the address \
                 (a port without `bind` is served at [::], unless --listen-address says otherwise)",
                addresses.join(", ")
            );
        }
    }

    /// Hands everything over to the agent at the other end of a stream. Returns whether it did: then nothing is
    /// accepted here any more.
    pub(super) async fn hand_over(
        &mut self,
        stream: UnixStream,
        signals: &mut Signals,
        commands: &mut mpsc::Receiver<AdminCommand>,
    ) -> bool {
        let mut channel = match Channel::new(stream) {
            Ok(channel) => channel,
            Err(reason) => {
                log::warn!("no takeover: {reason}");
                return false;
            }
        };
        let peer = channel.peer();
        let estate = match self.estate() {
            Ok(estate) => estate,
            Err(error) => {
                let reason = format!("descriptors cannot be copied: {error}");
                give::give_up(&mut channel, &reason).await;
                log::error!("no takeover by the agent ({peer}): {reason}");
                return false;
            }
        };
        log::info!("another agent ({peer}) is taking over; changes have to wait");
        self.handing_over = true;
        let mut end = None;
        let mut ledger = Ledger::default();
        let mut given = {
            let mut lender = self.proxy.lender();
            let mut giving = pin!(give::give(&mut channel, estate, async |most| lender.next(most).await));
            loop {
                tokio::select! {
                    given = &mut giving => break given,
                    Some(command) = commands.recv() => self.answer(command).await,
                    // One that is asked to end while another takes its place ends either way, after that.
                    signal = signals.ended() => if end.replace(signal).is_some() {
                        break Err(format!("{signal} twice"));
                    }
                }
            }
        };
        if let Ok(wanted) = &given
            && let Err(reason) = self.release(&mut channel, wanted, &mut ledger).await
        {
            given = Err(reason);
        }
        let HandoverTerms { unwanted, drain_rate, .. } = match given {
            Ok(wanted) => wanted,
            Err(reason) => {
                give::give_up(&mut channel, &reason).await;
                self.handing_over = false;
                let onward = if end.is_some() { "Ending" } else { "Going on as before" };
                log::warn!("no takeover by the agent ({peer}): {reason}. {onward}");
                signals.again = end;
                return false;
            }
        };
        // From here on the other one serves, whatever becomes of this one.
        self.draining = true;
        self.show();
        self.assignment.let_go();
        if let Some(desk) = &mut self.desk {
            if let Some(claim) = desk.claim.take() {
                claim.hand_over();
            }
            desk.shut();
        }
        self.state.let_go();
        self.proxy.release(&unwanted).await;
        if let Some(desk) = &mut self.desk {
            desk.close().await;
        }
        self.drain_rate = drain_rate.or(self.drain_rate);
        self.heir = give::see_off(channel).await.map(|channel| self.report(channel, ledger));
        log::info!("the agent ({peer}) has taken over; no new connections are accepted here");
        true
    }

    fn estate(&self) -> std::io::Result<Estate> {
        let claim = self.desk.as_ref().and_then(|desk| desk.claim.as_ref());
        let claim = claim.ok_or_else(|| std::io::Error::other("there is no admin socket"))?;
        Ok(Estate {
            admin: claim.lend()?,
            state: self.state.lend()?,
            names: ResolvedNames::clone(self.planner.memory.states.answers()),
            activated: self.proxy.lend_activated()?,
        })
    }

    /// Closes the admin socket and answers those who are in already.
    pub(super) async fn close_desk(&mut self, commands: &mut mpsc::Receiver<AdminCommand>) -> anyhow::Result<()> {
        let Some(mut desk) = self.desk.take() else { return Ok(()) };
        desk.close().await;
        let mut task = pin!(desk.task);
        loop {
            tokio::select! {
                ended = &mut task => return ended.context("the admin server ended by a panic"),
                Some(command) = commands.recv() => self.answer(command).await,
            }
        }
    }
}
