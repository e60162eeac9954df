//! How an agent takes over in the kernel from the one before it, and how it leaves.
//!
//! After `kill -9` the programs of the agent before go on steering by its last plan. So all that may fail comes first,
//! and touches nothing of the other's: [`Kernel::reserve`], then [`Kernel::prepare`]. [`Kernel::seize`],
//! [`Kernel::publish`] and [`Kernel::settle`] follow, in this order.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::load::{Ability, PROGRAMS, ProgramRow};
use super::need::Need;
use super::pins::{self, Pins};
use super::{Kernel, PreparedPlan, load, steering, sys};

impl Kernel {
    /// Locks what is pinned for this agent, and attaches `assign` to the cgroup of this process to try it with a connection,
    /// for which it waits so long. What an agent before this one has pinned stays as it is. Fails if an agent runs that has it,
    /// or if the program does not decide; may be called again.
    pub fn reserve(&mut self, within: Duration) -> Result<()> {
        if self.pins.is_some() {
            return Ok(());
        }
        let pins = Pins::take()?;
        self.trial = Some(Self::attach(&mut self.ebpf, &self.cgroup)?);
        if let Err(error) = self.try_out(within) {
            self.trial = None;
            return Err(error);
        }
        self.pins = Some(pins);
        Ok(())
    }

    /// Puts `assign` into the links that an agent before this one has pinned, and takes note of its programs that steer,
    /// which go on until [`Kernel::settle`].
    pub fn seize(&mut self) -> Result<()> {
        let pinned = self.pins.as_ref().map(Pins::links).transpose()?.unwrap_or_default();
        if pinned.iter().any(|path| !is_assign(path)) {
            // Nobody else serves clients. Without `lookup` connections can be carried.
            self.can_take_the_place_of(&pinned, &[Ability::Connect])?;
            // Its clients go on asking for the names of their peers, and what it counted ends.
            self.needed.inherits = true;
            self.attach_needed(Need { connect: true, ..Need::default() })?;
        }
        let pins = self.pins.as_ref().context("what is pinned is not this agent's")?;
        let program = load::assign(&mut self.ebpf)?.fd().context("`assign` is not loaded")?.as_fd();
        let opened: Vec<_> = pinned
            .into_iter()
            .map(|path| {
                let refused = || format!("cannot take over {} (`tcpshift-agent unload` removes it)", path.display());
                let link = sys::pinned(&path).with_context(refused)?;
                let is_assign = is_assign(&path);
                // A cgroup that is gone has no number.
                let cgroup = is_assign.then(|| sys::link_cgroup(link.as_fd()).with_context(refused)).transpose()?;
                Ok((path, link, cgroup))
            })
            .collect::<Result<_>>()?;
        let (mut is_attached, mut links, mut left) = (false, Vec::new(), Vec::new());
        for (path, link, cgroup) in opened {
            let Some(cgroup) = cgroup else {
                left.push((path, link));
                continue;
            };
            // A socket that is handed over stays with the cgroup of the process that made it.
            match sys::replace(link.as_fd(), program) {
                Ok(()) => {
                    is_attached |= cgroup == self.cgroup.number;
                    links.push(link);
                }
                Err(error) => {
                    log::debug!("{}: {error}; it is removed", path.display());
                    pins::remove(&path)?;
                }
            }
        }
        // Once the link of the agent before has the program, the one that it was tried by would run it twice.
        if !is_attached {
            let trial = match &self.trial {
                Some(trial) => trial,
                // It was pinned already, and its name was removed since.
                None => &*self.trial.insert(Self::attach(&mut self.ebpf, &self.cgroup)?),
            };
            pins.pin_link(&format!("assign-{}", self.cgroup.number), trial.as_fd())?;
        }
        links.extend(self.trial.take().filter(|_| !is_attached));
        (self.links, self.left, self.is_seized) = (links, left, true);
        Ok(())
    }

    /// Fails if the agent that runs steers in a way that this one is asked for and cannot.
    pub fn can_follow(&self) -> Result<()> {
        self.can_take_the_place_of(&Pins::links_of_another(), &[Ability::Connect, Ability::Lookup])
    }

    /// Fails if an agent before does something by programs, one of these, that this one is asked for and cannot do: what steers goes
    /// on then.
    fn can_take_the_place_of(&self, pinned: &[PathBuf], abilities: &[Ability]) -> Result<()> {
        for ability in abilities.iter().filter(|_| self.heart.is_some()) {
            let is_there =
                |row: &&ProgramRow| row.serves == [*ability] && pinned.iter().any(|path| is_of(path, row.name));
            if let (Err(why), Some(row)) = (self.can(*ability), PROGRAMS.iter().find(is_there)) {
                let program = row.name;
                bail!("`{program}` of the agent before steers, and goes on: this agent cannot take its place: {why}");
            }
        }
        Ok(())
    }

    /// Puts a plan in force by one write. Connections that are new from then on are decided by it. If it
    /// fails, nothing has changed.
    pub fn publish(&mut self, prepared: PreparedPlan) -> Result<()> {
        if let Some(pins) = self.pins.as_ref().filter(|_| !self.is_shown) {
            pins.clear()?;
            for (name, map) in self.maps.named() {
                pins.pin(name, map)?;
            }
            self.is_shown = true;
        }
        if let Some(need) = prepared.need {
            self.needed.by_plan = need;
        }
        self.publisher.publish(prepared, self.pins.as_ref());
        Ok(())
    }

    /// Whether a plan is in force and what steers is pinned. Until then an agent before this one, if it has left something,
    /// steers too.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Pins what steers by the plan in force, and then detaches what an agent before has left, so that something is pinned
    /// at any time.
    pub fn settle(&mut self) -> Result<()> {
        let Some(pins) = &self.pins else { return Ok(()) };
        let own = match &self.steering {
            Ok(steering) => steering.pin(pins)?,
            // This agent does not steer.
            Err(_) => Vec::new(),
        };
        for (path, link) in std::mem::take(&mut self.left) {
            steering::detach(&path, &link);
            if !own.contains(&path)
                && let Err(error) = pins::remove(&path)
            {
                log::warn!("{error:#}");
            }
        }
        self.is_settled = true;
        Ok(())
    }

    /// Leaves everything that is pinned to another agent.
    pub fn let_go(&mut self) {
        self.links.clear();
        self.left.clear();
        (self.pins, self.is_seized) = (None, false);
        // What is attached by now is the other one's to detach.
        self.steering = Err("another agent steers".to_owned());
    }

    /// Whether `assign` is attached for good, and what is pinned is this agent's.
    pub fn is_seized(&self) -> bool {
        self.is_seized
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let Some(pins) = self.pins.take() else { return };
        // No plan of this agent was in force, or that of an agent before is too: what the other left goes on.
        if !self.is_shown || !self.is_settled && !self.left.is_empty() {
            pins.give_back();
            return;
        }
        if let Err(error) = pins.remove() {
            log::warn!("{error:#}; `tcpshift-agent unload` removes what is left");
        }
    }
}

/// Whether a link is of the program `assign`.
fn is_assign(link: &Path) -> bool {
    is_of(link, "assign")
}

/// Whether a link is of a program, by its name.
fn is_of(link: &Path, program: &str) -> bool {
    let name = link.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_prefix(program)).is_some_and(|rest| rest.starts_with('-'))
}

/// They need root, as all tests of the kernel do.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::KernelOptions;

    #[test]
    fn what_steers_is_not_taken_from_an_agent_before_by_one_that_cannot() {
        let mut kernel = Kernel::load(&KernelOptions::of_this_cgroup().unwrap()).unwrap();
        let pinned = |names: &[&str]| names.iter().map(|name| PathBuf::from("/links").join(name)).collect::<Vec<_>>();
        let clients = pinned(&["assign-7", "record-1", "connect4-7", "connect6-7"]);
        let can = |kernel: &Kernel, pinned: &[PathBuf]| {
            kernel.can_take_the_place_of(pinned, &[Ability::Connect, Ability::Lookup])
        };
        can(&kernel, &clients).unwrap();
        kernel.steering.as_mut().unwrap().connect = Err("it is refused".to_owned());
        let error = can(&kernel, &clients).unwrap_err().to_string();
        assert!(error.contains("`connect4` of the agent before") && error.ends_with("it is refused"), "{error}");
        can(&kernel, &pinned(&["assign-7", "record-1", "lookup-4026531840"])).unwrap();
        // One that is told not to steer takes away what does.
        let reason = "--datapath proxy".to_owned();
        let kernel = Kernel::load(&KernelOptions { max_routes: 1, steering: Err(reason) }).unwrap();
        can(&kernel, &clients).unwrap();
    }
}
