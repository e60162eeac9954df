//! What an agent gives up for good before it serves: all rights but those that a kernel or a file wants of it, each with
//! its reason in the log.

use anyhow::Context;
use rustix::thread::CapabilitySet;

use super::Options;
use super::assignment::Assigner;
use crate::rights::{self, Duty};
use crate::route::source::files::Files;
use crate::trust;

/// To be called before there are other threads: rights belong to a thread.
pub(super) fn give_up(options: &Options, assignment: &Assigner) -> anyhow::Result<()> {
    const DROPPED: &str = "cannot drop capabilities";
    let had = trust::rights::effective().context(DROPPED)?;
    let maps = assignment.needs_for_life().context(DROPPED)?;
    if maps.is_some_and(|kept| kept.contains(CapabilitySet::BPF)) {
        log::info!(
            "this kernel wants CAP_BPF for every call of bpf(2), as before Linux 5.19: the agent keeps it for life \
             (SECURITY.md)"
        );
    }
    let mut kept = maps.unwrap_or(CapabilitySet::empty());
    if had.contains(CapabilitySet::DAC_READ_SEARCH) {
        let reads_all = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE;
        let files = Files::new(options.paths.clone(), options.state_dir.clone()).trusting_all(options.trust_files);
        if let Some(path) = trust::rights::without(reads_all, || files.first_forbidden()).context(DROPPED)? {
            log::info!(
                "{} cannot be read without CAP_DAC_READ_SEARCH: the agent keeps it for life, and could read every file of \
                 the host (SECURITY.md)",
                trust::text::shown(&path)
            );
            kept |= CapabilitySet::DAC_READ_SEARCH;
        }
    }
    trust::rights::keep(kept).context(DROPPED)?;
    if maps.is_none_or(|kept| kept.contains(CapabilitySet::BPF)) {
        rights::release(Duty::Maps);
    }
    if assignment.hands_over().is_err() {
        rights::release(Duty::Sockets);
    }
    if assignment.hands_over().is_err() && assignment.connects().is_err() {
        rights::release(Duty::Closing);
    }
    Ok(())
}
