//! What an agent has in the kernel is looked at again: others may take away a cgroup, or names in the bpf filesystem.
//!
//! What is attached goes on without its name, but would end with the agent.

use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};

use super::pins::{self, Pins};
use super::steering::Steering;
use super::{Kernel, sys};

impl Kernel {
    /// Looks whether all is there that this agent has attached and pinned, and makes again what is not. Returns what cannot
    /// be made again, for people.
    pub fn look_after(&mut self) -> Vec<String> {
        self.detach_needless();
        self.publisher.tidy(self.pins.as_ref());
        [self.attach_again(), self.look_after_clients(), self.look_after_pins()]
            .into_iter()
            .filter_map(Result::err)
            .map(|error| format!("{error:#}"))
            .chain(self.listening.trouble())
            .collect()
    }

    fn look_after_clients(&mut self) -> Result<()> {
        let Ok(steering) = &mut self.steering else { return Ok(()) };
        let old = steering.look_after_clients()?;
        let Some(pins) = self.pins.as_ref().filter(|_| self.is_settled && !old.is_empty()) else { return Ok(()) };
        steering.pin(pins)?;
        for name in old {
            // It may have gone with the folder.
            pins::remove(&pins.link(&name)).ok();
        }
        Ok(())
    }

    fn look_after_pins(&mut self) -> Result<()> {
        let Some(pins) = self.pins.as_ref().filter(|_| self.is_settled) else { return Ok(()) };
        if self.are_pinned(pins) {
            return Ok(());
        }
        let lost = "what steers is not pinned, and a kill -9 of this agent would end it";
        if !pins::is_bpffs()? {
            bail!("{lost}: the bpf filesystem is not mounted; `mount -t bpf bpf {}`", pins::BPFFS);
        }
        if !pins.is_there() {
            self.pins = Some(Pins::take().context(lost)?);
        }
        self.pin_again().context(lost)?;
        log::warn!("somebody removed what was pinned of this agent; it is pinned again");
        Ok(())
    }

    /// Whether every name leads to something.
    fn are_pinned(&self, pins: &Pins) -> bool {
        let links = self.steering.iter().flat_map(Steering::links);
        let mut paths =
            links.map(|(name, _)| pins.link(name)).chain(self.maps.named().map(|(name, _)| pins.path(name)));
        pins.is_there() && paths.all(|path| std::fs::symlink_metadata(path).is_ok())
    }

    fn pin_again(&mut self) -> Result<()> {
        let Some(pins) = &self.pins else { return Ok(()) };
        for link in &self.links {
            // Of a cgroup that is gone there is nothing to be pinned.
            if let Ok(cgroup) = sys::link_cgroup(link.as_fd()) {
                pins.pin_link(&format!("assign-{cgroup}"), link.as_fd())?;
            }
        }
        if let Ok(steering) = &self.steering {
            steering.pin(pins)?;
        }
        for (name, map) in self.maps.named() {
            pins.pin(name, map)?;
        }
        self.publisher.show(pins);
        Ok(())
    }
}
