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
mod rights;
mod shown;
mod succession;

use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::process::{built, command};
use tcpshift_tests::world::World;

/// What has the kernel assign, or nothing start.
const KERNEL: [&str; 2] = ["--assign", "kernel"];

/// Starts an agent with kernel assignment.
fn start(world: &World) -> Agent<'_> {
    Agent::start(world, &KERNEL)
}

/// Bytes of a stack so large that it is kept for no other thread, and that there is no room for one under the limit of
/// [`begin_no_thread`].
const STACK: u64 = 64 << 20;

/// Starts an agent with kernel assignment whose threads have such stacks.
fn start_with_large_stacks<'a>(world: &'a World, arguments: &[&str]) -> Agent<'a> {
    let mut program = command(built("tcpshift-agent"));
    program.env("RUST_MIN_STACK", STACK.to_string());
    Agent::launch(world, "agent", program, &[&KERNEL, arguments].concat()).ready()
}

/// Lets an agent begin no thread from now on.
fn begin_no_thread(agent: &Agent<'_>) {
    // Until the thread that takes away what the last plan left has ended.
    sleep(Duration::from_millis(500));
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.split_whitespace().next()).unwrap();
    let limit = Some(size.parse::<u64>().unwrap() * 1024 + STACK / 2);
    let pid = Pid::from_raw(agent.pid().cast_signed());
    prlimit(pid, Resource::As, Rlimit { current: limit, maximum: limit }).unwrap();
}

/// How many connections went as the kernel had decided, and for how many the agent decided.
#[track_caller]
fn assigned(agent: &Agent<'_>) -> (u64, u64) {
    let assignment = agent.status().assignment;
    assert_eq!(assignment.by, "kernel", "{}\n{}", assignment.reason, agent.log());
    (assignment.kernel, assignment.agent)
}
