//! The kernel part alone: what it decides, what an administrator sees of it, and what it needs.
//!
//! Every agent here is told who assigns, so `TCPSHIFT_ASSIGN` makes no difference to these tests, and the second round
//! of `cargo xtask test` leaves them out.

mod alike;
mod failing;
mod inputs;
mod killed;
mod many;
mod mended;
mod permitted;
mod shown;
mod succession;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::world::World;

/// What has the kernel assign, or nothing start.
const KERNEL: [&str; 2] = ["--assign", "kernel"];

/// Starts an agent with kernel assignment.
fn start(world: &World) -> Agent<'_> {
    Agent::start(world, &KERNEL)
}

/// How many connections went as the kernel had decided, and for how many the agent decided.
#[track_caller]
fn assigned(agent: &Agent<'_>) -> (u64, u64) {
    let assignment = agent.status().assignment;
    assert_eq!(assignment.by, "kernel", "{}\n{}", assignment.reason, agent.log());
    (assignment.kernel, assignment.agent)
}
