//! What is said of who decides: once at the start, and where programs leave something.

use super::{Assign, Assigner};
use crate::kernel::{self, Kernel, PreparedPlan};

impl Assigner {
    /// Says who decides and why: in one line where the kernel takes no program, since then nothing is steered either.
    pub(in crate::app) fn say(&self) {
        const MORE: &str = "`tcpshift-agent doctor` says more";
        let Self { kernel, reason, lack, .. } = self;
        if kernel.is_none() && self.asked == Assign::Auto {
            log::info!("the agent decides for new connections, and none is steered: {reason}; {MORE}");
            return say_left_behind();
        }
        for lack in kernel.iter().flat_map(Kernel::lacks) {
            log::info!("this kernel has {lack}");
        }
        let who = if kernel.is_some() && lack.is_none() { "the kernel" } else { "the agent" };
        log::info!("{who} decides for new connections that are carried: {reason}");
        let more = if kernel.is_some() { format!("; {MORE}") } else { String::new() };
        match (self.connects(), self.hands_over()) {
            (Err(reason), Err(_)) => log::info!("no connection is steered: {reason}{more}"),
            (connects, hands_over) => {
                if connects.is_ok() {
                    let clients = kernel.as_ref().and_then(Kernel::clients).map(|path| path.display().to_string());
                    let clients = clients.unwrap_or_default();
                    log::info!("connections can be steered; clients are the programs of {clients}");
                }
                for (datapath, lack) in [("connect", connects.err()), ("lookup", hands_over.err())] {
                    if let Some(reason) = lack {
                        log::info!("no connection is steered by `{datapath}`: {reason}{more}");
                    }
                }
            }
        }
        if kernel.is_none() {
            say_left_behind();
        }
    }
}

/// Says that programs of an agent that is gone go on, if they do.
fn say_left_behind() {
    if kernel::is_left_behind() {
        log::warn!(
            "programs of an agent that is gone still steer connections by its last plan; `tcpshift-agent unload` \
             removes them"
        );
    }
}

/// Says which listeners have too many rules for programs.
pub(super) fn say_left(prepared: &PreparedPlan) {
    if !prepared.left.is_empty() {
        let left = prepared.left.join(", ");
        log::warn!("the agent decides at {left}: more than {} rules", tcpshift_common::layout::RULES);
    }
}
