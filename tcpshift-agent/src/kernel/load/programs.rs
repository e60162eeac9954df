//! The programs of the object: how the kernel is made to take them.
//!
//! A new program is a row in [`PROGRAMS`]; ARCHITECTURE.md ("How to add") lists what else it takes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use aya::Ebpf;
use aya::programs::{Program, ProgramError, SchedClassifier, SkReuseport, SockOps};

use crate::kernel::sys::{self, hook};
use crate::kernel::verifier::ProgramRefusal;

/// The program that decides in the handshake.
pub(in crate::kernel) fn assign(ebpf: &mut Ebpf) -> Result<&mut SockOps> {
    program(ebpf, "assign")
}

/// The program that decides for a flow that is told.
pub(in crate::kernel) fn explain(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    program(ebpf, "explain")
}

/// What programs can do for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum Ability {
    /// Decide for connections that the agent carries.
    Assign,
    /// Point clients at endpoints.
    Connect,
    /// Hand connections to listening sockets.
    Lookup,
}

/// Where a program is attached, and at which of [`hook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum At {
    /// To the cgroup of the agent.
    Own(u32),
    /// To the cgroup of clients.
    Clients(u32),
    /// To the root of all cgroups.
    Root(u32),
    /// To the network namespace.
    Netns(u32),
    /// To a group of listening sockets.
    Group,
    /// It is run by hand.
    Nowhere,
}

/// A program of the object.
#[derive(Debug)]
pub(in crate::kernel) struct ProgramRow {
    pub(in crate::kernel) name: &'static str,
    /// Its type, as `bpftool` has it.
    pub(in crate::kernel) kind: &'static str,
    pub(in crate::kernel) at: At,
    /// What cannot be done without it.
    pub(in crate::kernel) serves: &'static [Ability],
}

impl ProgramRow {
    const fn new(name: &'static str, kind: &'static str, at: At, serves: &'static [Ability]) -> Self {
        Self { name, kind, at, serves }
    }

    /// Attaches it, which the kernel has, for as long as the link lives.
    pub(in crate::kernel) fn attach(
        &self,
        programs: &LoadedPrograms,
        to: BorrowedFd<'_>,
        named: &str,
    ) -> Result<OwnedFd> {
        let failed = || format!("cannot attach `{}` to {named}", self.name);
        let (At::Own(hook) | At::Clients(hook) | At::Root(hook) | At::Netns(hook)) = self.at else {
            bail!("{}: it has no link", failed());
        };
        sys::attach(programs.get(self.name)?, to, hook).with_context(failed)
    }

    /// Whether an ability needs it.
    pub(in crate::kernel) fn is_for(&self, ability: Ability) -> bool {
        self.serves.contains(&ability)
    }
}

/// All programs, in the order in which they are tried.
pub(in crate::kernel) const PROGRAMS: [ProgramRow; 9] = {
    use Ability::{Assign, Connect, Lookup};
    [
        ProgramRow::new("assign", "sock_ops", At::Own(hook::SOCK_OPS), &[Assign]),
        ProgramRow::new("explain", "sched_cls", At::Nowhere, &[Assign]),
        ProgramRow::new("connect4", "cgroup_sock_addr", At::Clients(hook::CONNECT4), &[Connect]),
        ProgramRow::new("connect6", "cgroup_sock_addr", At::Clients(hook::CONNECT6), &[Connect]),
        ProgramRow::new("getpeername4", "cgroup_sock_addr", At::Clients(hook::GETPEERNAME4), &[Connect]),
        ProgramRow::new("getpeername6", "cgroup_sock_addr", At::Clients(hook::GETPEERNAME6), &[Connect]),
        ProgramRow::new("lookup", "sk_lookup", At::Netns(hook::SK_LOOKUP), &[Lookup]),
        ProgramRow::new("record", "sock_ops", At::Root(hook::SOCK_OPS), &[Connect, Lookup]),
        ProgramRow::new("refuse", "sk_reuseport", At::Group, &[Lookup]),
    ]
};

/// Programs that the kernel has, by name.
#[derive(Debug, Default)]
pub(in crate::kernel) struct LoadedPrograms(Vec<(&'static str, OwnedFd)>);

impl LoadedPrograms {
    /// Adds a program.
    pub(in crate::kernel) fn add(&mut self, name: &'static str, program: OwnedFd) {
        self.0.push((name, program));
    }

    /// A program. Fails if the kernel does not have it.
    pub(in crate::kernel) fn get(&self, name: &str) -> Result<BorrowedFd<'_>> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        Ok(found.with_context(|| format!("the kernel does not have `{name}`"))?.1.as_fd())
    }
}

/// Has the kernel take a program, unless it has it. The error is a [`ProgramRefusal`] where the kernel refuses.
pub(in crate::kernel) fn take(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd> {
    let found = ebpf.program_mut(name).with_context(|| format!("the object has no program `{name}`"))?;
    let is_taken = found.fd().is_ok();
    let loaded = match found {
        _ if is_taken => Ok(()),
        Program::SockOps(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::SkLookup(program) => program.load(),
        Program::SkReuseport(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        _ => bail!("the program `{name}` is of another type"),
    };
    loaded.map_err(|error| match ProgramRefusal::of(name, &error) {
        Some(refusal) => anyhow::Error::new(refusal),
        None => anyhow::Error::new(error).context(format!("the program `{name}` cannot be loaded")),
    })?;
    Ok(found.fd()?.as_fd().try_clone_to_owned()?)
}

/// How many instructions the verifier followed in a program that the kernel has; None if the kernel does not say (before
/// Linux 5.16).
pub(in crate::kernel) fn verified(ebpf: &Ebpf, name: &str) -> Result<Option<u32>> {
    let program = ebpf.program(name).with_context(|| format!("the object has no program `{name}`"))?;
    let info = program.info().with_context(|| format!("the program `{name}` says nothing of itself"))?;
    Ok(info.verified_instruction_count())
}

/// Attaches the program `refuse`, which the kernel has, to the group of a socket that others may share the port with.
pub(in crate::kernel) fn attach_refuse(ebpf: &mut Ebpf, socket: BorrowedFd<'_>) -> Result<()> {
    let program: &mut SkReuseport = program(ebpf, "refuse")?;
    program.attach(socket).context("cannot attach `refuse` to a socket of the agent")
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).with_context(|| format!("the object has no program `{name}`"))?;
    program.try_into().with_context(|| format!("the program `{name}` is of another type"))
}
