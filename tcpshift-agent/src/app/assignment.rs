//! Who decides for new connections: kernel programs where they can, else the agent. What was asked for, what came of
//! it, and why.
//!
//! It carries plans to the kernel room as `change` carries them to the proxy; what is done when that fails, [`policy`] says.

mod again;
mod policy;
mod saying;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::thread::CapabilitySet;
use tokio::sync::Notify;
use tokio::time::interval;

use self::again::Again;
use self::policy::{Remedy, remedy};
use self::saying::say_left;
use super::succession;
use crate::admin::api::AssignmentStatus;
use crate::connections::Connections;
use crate::kernel::{self, EndpointListeners, Kernel, KernelOptions, PreparedPlan, Sockets, SteeredReader};
use crate::plan::{Plan, Sets};
use crate::proxy::limits;

/// How often programs are told that the agent is there.
const BEAT: Duration = Duration::from_secs(1);

/// How long the connection may take by which the program is tried again: whoever waits for an answer waits meanwhile.
const BRIEFLY: Duration = Duration::from_millis(200);

/// What stands before the reason where programs were asked for.
const ASKED: &str = "--assign kernel (`tcpshift-agent doctor` says more)";

pub(super) use self::policy::Prompt;

/// Who is to decide (`run --assign`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assign {
    /// Kernel programs where they can, else the agent.
    Auto,
    /// Kernel programs, or the agent does not start.
    Kernel,
    /// The agent.
    Agent,
}

/// Who decides.
#[derive(Debug)]
pub(super) struct Assigner {
    asked: Assign,
    kernel: Option<Kernel>,
    /// Programs decide by the plan in force.
    is_on: bool,
    /// The plan in force steers clients who connect to services: nobody else can serve them.
    has_clients: bool,
    /// Programs are loaded, and what is pinned could not be taken yet.
    lack: Option<Again>,
    /// Programs have what is pinned, and could not have the plan in force yet.
    behind: Option<Again>,
    /// Why what steers could not be pinned yet.
    unsettled: Option<String>,
    /// Why it is as it is.
    reason: String,
    /// Somebody listens who may not be known yet.
    news: Arc<Notify>,
}

/// Whether programs leave descriptors for connections.
fn room(workers: usize) -> Result<()> {
    limits::enough_for_programs(workers).map_err(anyhow::Error::msg)
}

impl Assigner {
    /// Loads what is needed, and changes nothing for anybody before [`Assigner::begin`] or [`Assigner::succeed`].
    ///
    /// To be called before there are other threads: what is not needed for life is dropped after.
    pub(super) fn load(asked: Assign, wanted: &KernelOptions, workers: usize) -> Result<Self> {
        let (kernel, reason) = match asked {
            Assign::Agent => (None, "asked for".to_owned()),
            Assign::Auto | Assign::Kernel => match room(workers).and_then(|()| load(wanted)) {
                Ok(kernel) => {
                    let reason = attached(&kernel);
                    (Some(kernel), reason)
                }
                Err(error) if asked == Assign::Auto => (None, format!("{error:#}")),
                Err(error) => return Err(error).context(ASKED),
            },
        };
        Ok(Self {
            asked,
            kernel,
            is_on: false,
            has_clients: false,
            lack: None,
            behind: None,
            unsettled: None,
            reason,
            news: Arc::default(),
        })
    }

    /// Counters for decisions, which programs share if they are there.
    pub(super) fn connections(&self) -> Result<Connections> {
        Ok(match &self.kernel {
            Some(kernel) => Connections::sharing(kernel.words()?),
            None => Connections::default(),
        })
    }

    /// The capabilities that this kernel wants of an agent for its maps, as long as it lives; none without maps.
    pub(super) fn needs_for_life(&self) -> std::io::Result<Option<CapabilitySet>> {
        self.kernel.as_ref().map(Kernel::needs_for_life).transpose()
    }

    /// Reads connections that programs steer; none if none does.
    pub(super) fn steered(&self) -> Option<SteeredReader> {
        self.kernel.as_ref().and_then(Kernel::steered)
    }

    /// The way to what programs decided.
    pub(super) fn sockets(&self) -> Option<Arc<Sockets>> {
        self.kernel.as_ref().map(Kernel::sockets)
    }

    /// Logs what programs say, and tells them that the agent is there. Must be called within a runtime.
    pub(super) fn listen(&mut self) -> Result<()> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        kernel.listen(Arc::clone(&self.news))?;
        if let Some(heart) = kernel.heart() {
            heart.beat();
            tokio::spawn(async move {
                let mut rounds = interval(BEAT);
                loop {
                    rounds.tick().await;
                    heart.beat();
                }
            });
        }
        Ok(())
    }

    /// Waits until somebody listens at a port of an endpoint.
    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Numbers of endpoints that programs have rows for; any if there are no programs.
    pub(super) fn endpoints(&self) -> usize {
        self.kernel.as_ref().map_or(usize::MAX, |kernel| kernel.endpoints() as usize)
    }

    /// Waits until names of destinations can be shown.
    pub(super) fn names_made(&self) -> Arc<Notify> {
        self.kernel.as_ref().map(Kernel::names_made).unwrap_or_default()
    }

    /// Shows them.
    pub(super) fn show_names(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.show_names();
        }
    }

    /// Routes that there is room for if programs of this host can be pointed at endpoints; else 0.
    pub(super) fn routes(&self) -> u32 {
        self.kernel.as_ref().filter(|_| self.connects().is_ok()).map_or(0, Kernel::routes)
    }

    /// Why clients cannot be pointed at endpoints, if they cannot.
    pub(super) fn connects(&self) -> std::result::Result<(), &str> {
        self.at_work()?.connects()
    }

    /// Why connections cannot be handed to listening sockets, if they cannot.
    pub(super) fn hands_over(&self) -> std::result::Result<(), &str> {
        self.at_work()?.hands_over()
    }

    /// The programs, or why they cannot be used.
    fn at_work(&self) -> std::result::Result<&Kernel, &str> {
        match (&self.kernel, &self.lack) {
            (Some(_), Some(lack)) => Err(&lack.why),
            (Some(kernel), None) => Ok(kernel),
            (None, _) if self.asked == Assign::Agent => Err("--assign agent: programs decide nothing"),
            (None, _) => Err(&self.reason),
        }
    }

    /// Who listens at endpoints of this host, if connections can be handed over.
    pub(super) fn listening(&self) -> Option<&EndpointListeners> {
        self.kernel.as_ref().filter(|kernel| kernel.hands_over().is_ok()).map(|kernel| &kernel.listening)
    }

    /// As [`Assigner::listening`].
    pub(super) fn listening_mut(&mut self) -> Option<&mut EndpointListeners> {
        self.kernel.as_mut().filter(|kernel| kernel.hands_over().is_ok()).map(|kernel| &mut kernel.listening)
    }

    /// Has sockets kept that listen at endpoints of this host, if connections can be handed over.
    pub(super) fn want(&mut self, endpoints: BTreeSet<SocketAddr>) -> Result<bool> {
        let kernel = self.kernel.as_mut().filter(|kernel| kernel.hands_over().is_ok());
        kernel.map_or(Ok(false), |kernel| kernel.want(endpoints))
    }

    /// Makes the tables of a plan. Fails only where the request for it is to be refused.
    pub(super) fn prepare(&mut self, prompt: Prompt, plan: &Plan, sets: &Sets) -> Result<Option<PreparedPlan>> {
        if self.lack.is_some()
            && let Err(error) = self.take()
        {
            self.lack(&error);
            return Ok(None);
        }
        let Some(kernel) = self.kernel.as_mut().filter(|kernel| kernel.is_seized()) else { return Ok(None) };
        match kernel.prepare(plan, sets) {
            Ok(prepared) => {
                say_left(&prepared);
                Ok(Some(prepared))
            }
            Err(error) => match remedy(prompt, self.asked, self.is_on, self.has_clients) {
                Remedy::Refuse => Err(error),
                Remedy::FallBehind => {
                    self.fall_behind(&error);
                    Ok(None)
                }
                Remedy::StandAside => {
                    self.stand_aside(&error);
                    Ok(None)
                }
            },
        }
    }

    /// Puts a plan in force that was prepared.
    pub(super) fn publish(&mut self, prepared: Option<PreparedPlan>) {
        let (Some(kernel), Some(prepared)) = (self.kernel.as_mut(), prepared) else { return };
        self.has_clients = prepared.has_clients.unwrap_or(self.has_clients);
        match kernel.publish(prepared) {
            Ok(()) => {
                self.behind = None;
                if !std::mem::replace(&mut self.is_on, true) {
                    self.reason = attached(kernel);
                }
            }
            Err(error) => self.stand_aside(&error),
        }
    }

    /// Lets go of what an agent before has left, if a plan of this one is in force. What cannot be done is tried again, and
    /// [`Assigner::look_after`] says it.
    pub(super) fn settle(&mut self) {
        if let Some(kernel) = self.kernel.as_mut().filter(|kernel| self.is_on && !kernel.is_settled()) {
            self.unsettled = kernel.settle().err().map(|error| format!("what steers is not pinned: {error:#}"));
        }
    }

    /// Looks whether what is attached and pinned is there still. Returns what is not, for people.
    pub(super) fn look_after(&mut self) -> Vec<String> {
        let missing = self.kernel.as_mut().map(Kernel::look_after).unwrap_or_default();
        missing.into_iter().chain(self.unsettled.clone()).collect()
    }

    /// Before a takeover: fails if the agent that runs steers connections as this one is asked to and cannot. What works is not
    /// taken away.
    pub(super) fn can_follow(&self) -> Result<()> {
        self.kernel.as_ref().map_or(Ok(()), Kernel::can_follow).context("no takeover")
    }

    /// Takes note that no agent has what is pinned but this one, and that its program decides, which is tried. Nothing of an
    /// agent before is touched. Fails if programs were asked for. One that was killed a moment ago may still have the lock:
    /// it has `patience`.
    pub(super) async fn reserve(&mut self, patience: Duration) -> Result<()> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        let reserved = succession::patiently(patience, || kernel.reserve(kernel::TRIED)).await;
        self.unless_asked(reserved)
    }

    /// Puts the first plan in force, where there is no agent to take over from. Fails if programs were asked for: then what
    /// an agent before has left goes on.
    pub(super) fn begin(&mut self, plan: &Plan, sets: &Sets) -> Result<()> {
        if self.kernel.is_none() || self.lack.is_some() {
            return Ok(());
        }
        let begun = self.enforce(plan, sets).and_then(|()| if self.is_on { Ok(()) } else { bail!("{}", self.reason) });
        self.unless_asked(begun)
    }

    fn unless_asked(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if policy::starts_without(self.asked) => {
                self.lack(&error);
                Ok(())
            }
            done => done.context(ASKED),
        }
    }

    /// The agent before lets go: takes its links, and puts the plan in force. It has said so before it does, or may
    /// have been killed, so it has a moment. What cannot be done is said, and tried again.
    pub(super) async fn succeed(&mut self, plan: &Plan, sets: &Sets) {
        let Some(kernel) = &mut self.kernel else { return };
        let reserved = succession::patiently(succession::DEATH_TIME, || kernel.reserve(kernel::TRIED)).await;
        if let Err(error) = reserved.and_then(|()| self.enforce(plan, sets)) {
            self.lack(&error);
        }
    }

    /// Puts a plan in force in the place of whatever is in force. All that may fail comes before the other's is touched.
    fn enforce(&mut self, plan: &Plan, sets: &Sets) -> Result<()> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        kernel.reserve(BRIEFLY)?;
        let prepared = kernel.prepare(plan, sets)?;
        kernel.seize()?;
        self.lack = None;
        say_left(&prepared);
        self.publish(Some(prepared));
        Ok(())
    }

    fn take(&mut self) -> Result<()> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        kernel.reserve(BRIEFLY)?;
        kernel.seize()?;
        self.lack = None;
        Ok(())
    }

    /// Leaves what is pinned to the agent that takes over.
    pub(super) fn let_go(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.let_go();
        }
    }

    /// Detaches programs and removes what is pinned, unless another agent has it.
    pub(super) fn close(&mut self) {
        drop(self.kernel.take());
    }

    /// Who decides, and why; without counts.
    pub(super) fn status(&self) -> AssignmentStatus {
        let by = if self.is_on { "kernel" } else { "agent" };
        AssignmentStatus { by: by.to_owned(), reason: self.reason.clone(), ..AssignmentStatus::default() }
    }
}

fn load(wanted: &KernelOptions) -> Result<Kernel> {
    let kernel = Kernel::load(wanted)?;
    // Later there may be no right to it.
    kernel::see_to_bpffs()?;
    Ok(kernel)
}

/// Why programs decide.
fn attached(kernel: &Kernel) -> String {
    format!("`assign` is attached to the cgroup {}", kernel.cgroup().display())
}
