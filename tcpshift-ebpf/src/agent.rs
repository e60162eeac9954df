//! The agent that these programs belong to: whether it is there, and which sockets are its own.

use core::ptr::read_volatile;

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use tcpshift_common::layout::{AgentRow, loss};

use crate::maps::AGENT;

/// The network namespace of the agent. Addresses mean something else in any other.
#[unsafe(no_mangle)]
static NETNS: Global<u64> = Global::new(0);

/// Sets this agent apart from those before it, whose numbers for destinations mean something else. Theirs is less.
#[unsafe(no_mangle)]
static AGENT_ID: Global<u64> = Global::new(0);

/// How long an agent may be silent, in nanoseconds, before its process number may be another one's. It beats every second.
const ALIVE: u64 = 3_000_000_000;

/// Which agent this is.
#[inline(always)]
pub(crate) fn id() -> u64 {
    AGENT_ID.load()
}

/// Whether a network namespace is the agent's, by its cookie.
#[inline(always)]
pub(crate) fn is_here(netns: u64) -> bool {
    netns == NETNS.load()
}

/// The monotonic clock, in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: It has no conditions.
    unsafe { bpf_ktime_get_ns() }
}

/// What holds, one of [`loss`]: nothing changes as long as the agent is there.
#[inline(always)]
pub(crate) fn loss() -> u32 {
    let Some(row) = AGENT.get_ptr(0) else { return loss::KEEP };
    // SAFETY: Aligned words of a map's row, which the agent writes whole.
    let on_loss = unsafe { read_volatile(&raw const (*row).on_loss) };
    // SAFETY: As above.
    if on_loss != loss::KEEP && unsafe { is_silent(row, read_volatile(&raw const (*row).patience)) } {
        on_loss
    } else {
        loss::KEEP
    }
}

/// Whether the process that runs is the agent. One that has its number after its death is not.
#[inline(always)]
pub(crate) fn is_running() -> bool {
    let Some(row) = AGENT.get_ptr(0) else { return false };
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: As above.
    unsafe { process == read_volatile(&raw const (*row).process) && !is_silent(row, ALIVE) }
}

/// # Safety
///
/// The pointer must be a row of a map.
#[inline(always)]
unsafe fn is_silent(row: *const AgentRow, patience: u64) -> bool {
    // SAFETY: An aligned word of a map's row, which the agent writes whole.
    now().saturating_sub(unsafe { read_volatile(&raw const (*row).beat) }) > patience
}
