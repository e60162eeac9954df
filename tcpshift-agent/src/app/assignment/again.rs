//! What failed and is tried again, ever more seldom.

use std::time::{Duration, Instant};

use super::{Assigner, policy};
use crate::plan::{Plan, Sets};

/// What failed, why, and when it is tried again.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) why: String,
    at: Instant,
    pause: Duration,
}

impl Again {
    /// It failed for this reason, now, after it had failed as in `last`, if at all. Returns whether the reason is a new one too.
    pub(super) fn after(last: Option<Self>, error: &anyhow::Error) -> (Self, bool) {
        let why = format!("{error:#}");
        let is_new = last.as_ref().is_none_or(|last| last.why != why);
        let pause = policy::pause(last.map(|last| last.pause));
        (Self { why, at: Instant::now() + pause, pause }, is_new)
    }

    /// Whether it is time.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.at
    }
}

impl Assigner {
    /// Tries again what failed, if it is time: to take what is pinned, or to have programs decide by the plan in force.
    pub(in crate::app) fn retry(&mut self, plan: &Plan, sets: &Sets) {
        if self.lack.as_ref().is_some_and(Again::is_due) {
            if let Err(error) = self.enforce(plan, sets) {
                return self.lack(&error);
            }
        } else if self.lack.is_none() && self.behind.as_ref().is_some_and(Again::is_due) {
            let Some(kernel) = &mut self.kernel else { return };
            match kernel.prepare(plan, sets) {
                Ok(prepared) => self.publish(Some(prepared)),
                Err(error) if self.is_on => return self.fall_behind(&error),
                Err(error) => return self.stand_aside(&error),
            }
        } else {
            return;
        }
        if self.behind.is_none() {
            log::info!("the kernel decides for new connections from now on: {}", self.reason);
        }
    }

    /// Has the agent decide until what is pinned can be had. A reason is said once.
    pub(super) fn lack(&mut self, error: &anyhow::Error) {
        let (lack, is_new) = Again::after(self.lack.take(), error);
        if is_new {
            log::error!("the agent decides for new connections: {}; it is tried again", lack.why);
        }
        (self.is_on, self.reason) = (false, lack.why.clone());
        self.lack = Some(lack);
    }

    /// Has the agent decide until the plan in force can be had. A reason is said once.
    pub(super) fn stand_aside(&mut self, error: &anyhow::Error) {
        let (behind, is_new) = Again::after(self.behind.take(), error);
        if is_new {
            log::error!("the agent decides for new connections: {}; it is tried again", behind.why);
        }
        (self.is_on, self.reason) = (false, behind.why.clone());
        self.behind = Some(behind);
        if let Some(kernel) = &mut self.kernel {
            kernel.stand_aside();
        }
    }

    /// Has programs go on by the plan before until the one in force can be had: without them clients of services would reach
    /// nobody. A reason is said once.
    pub(super) fn fall_behind(&mut self, error: &anyhow::Error) {
        let (behind, is_new) = Again::after(self.behind.take(), error);
        if is_new {
            log::error!("the kernel goes on by the plan before: {}; it is tried again", behind.why);
        }
        self.behind = Some(behind);
    }
}
