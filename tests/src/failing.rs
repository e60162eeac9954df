//! Calls of bpf(2) that fail, by strace.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::agent::Agent;
use crate::process::{Process, built, command};
use crate::until::{seconds, until_so};
use crate::world::World;

/// An agent whose threads each have one call fail, the one with this number from now on; and the process that makes maps for it
/// likewise.
#[derive(Debug)]
pub struct Failing {
    strace: Process,
    trace: PathBuf,
}

impl Failing {
    /// Has calls fail of all threads that an agent has and begins.
    #[track_caller]
    pub fn at(world: &World, agent: &Agent<'_>, call: usize) -> Self {
        let trace = world.path("trace");
        let mut strace = command("strace");
        strace.args(["-f", "-e", "trace=bpf", "-e", &injection(call), "-o"]);
        strace.arg(&trace).args(processes(agent).flat_map(|pid| ["-p".to_owned(), pid.to_string()]));
        let strace = Process::start(world, &format!("strace-{call}"), strace);
        until_so("every thread is traced", seconds(10), || threads(agent).all(|thread| is_traced(&thread)));
        Self { strace, trace }
    }

    /// As [`Failing::at`], for an agent that was launched by [`waiting`], which goes on then.
    #[track_caller]
    pub fn from_start(world: &World, agent: &mut Agent<'_>, call: usize) -> Self {
        let is_stopped = |status: &String| status.lines().any(|line| line.starts_with("State:\tT"));
        until_so("it waits", seconds(10), || threads(agent).all(|thread| is_stopped(&thread)));
        let failing = Self::at(world, agent, call);
        agent.process().signal(Signal::CONT);
        failing
    }

    /// Lets all calls succeed again. Returns whether one was made to fail.
    #[track_caller]
    pub fn stop(mut self, agent: &Agent<'_>) -> bool {
        self.strace.signal(Signal::INT);
        self.strace.wait(seconds(10));
        until_so("no thread is traced", seconds(10), || !threads(agent).any(|thread| is_traced(&thread)));
        has_failed(&self.trace)
    }

    /// As [`Failing::stop`], where the agent has ended.
    #[track_caller]
    pub fn ended(mut self) -> bool {
        self.strace.wait(seconds(10));
        has_failed(&self.trace)
    }
}

/// The word by which strace has the call with this number fail, of each thread.
pub fn injection(call: usize) -> String {
    format!("inject=bpf:error=ENOMEM:when={call}")
}

/// Whether a trace has a call that was made to fail.
pub fn has_failed(trace: &Path) -> bool {
    std::fs::read_to_string(trace).unwrap_or_else(|error| panic!("{}: {error}", trace.display())).contains("(INJECTED)")
}

/// The agent, which waits before its first instruction until it is traced.
pub fn waiting() -> std::process::Command {
    let mut program = command("sh");
    program.args(["-c", r#"kill -STOP $$; exec "$0" "$@""#]).arg(built("tcpshift-agent"));
    program
}

/// How many descriptors an agent has of what the kernel calls maps, programs and links.
pub fn descriptors(agent: &Agent<'_>) -> usize {
    let path = format!("/proc/{}/fd", agent.pid());
    let open = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).flatten();
    let kinds = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    kinds.filter(|kind| kind.to_string_lossy().starts_with("anon_inode:bpf")).count()
}

/// The agent, and the process that makes maps for it, if it has begun.
fn processes(agent: &Agent<'_>) -> impl Iterator<Item = u32> {
    [Some(agent.pid()), agent.rights()].into_iter().flatten()
}

fn threads(agent: &Agent<'_>) -> impl Iterator<Item = String> {
    let tasks = processes(agent).flat_map(|pid| {
        let path = format!("/proc/{pid}/task");
        std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).flatten()
    });
    // A thread may end meanwhile.
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok())
}

fn is_traced(status: &str) -> bool {
    !status.lines().any(|line| line.split_whitespace().eq(["TracerPid:", "0"]))
}
