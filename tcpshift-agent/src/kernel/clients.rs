//! The programs in connect(2) and getpeername(2) of clients, and the cgroup that they are attached to.
//!
//! The cgroup may be removed and made again while the agent runs, as systemd does with that of a unit at each restart.
//! The kernel detaches programs from a cgroup that goes (`cgroup_bpf_release`, 6.18), so they are attached to the new
//! one.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::Ebpf;

use super::cgroup::Cgroup;
use super::load;
use super::sys::{self, hook};

/// Programs by name, and where they are attached.
const HOOKS: [(&str, u32); 4] = [
    ("connect4", hook::CONNECT4),
    ("connect6", hook::CONNECT6),
    ("getpeername4", hook::GETPEERNAME4),
    ("getpeername6", hook::GETPEERNAME6),
];

/// Programs of clients, attached.
#[derive(Debug)]
pub(super) struct Clients {
    programs: Vec<(&'static str, u32, OwnedFd)>,
    /// By the names that they are pinned under.
    pub(super) links: Vec<(String, OwnedFd)>,
    /// The folder of the cgroup.
    pub(super) folder: PathBuf,
    /// Its number, which no later cgroup has.
    number: u64,
}

impl Clients {
    /// Has the kernel take the programs, and attaches them to a cgroup.
    pub(super) fn attach(ebpf: &mut Ebpf, cgroup: &Cgroup) -> Result<Self> {
        let take = |(name, hook)| Ok((name, hook, load::take(ebpf, name)?));
        let programs: Vec<_> = HOOKS.into_iter().map(take).collect::<Result<_>>()?;
        let links = attach(&programs, cgroup)?;
        Ok(Self { programs, links, folder: cgroup.path.clone(), number: cgroup.number })
    }

    /// Attaches the programs anew if another cgroup has the folder by now. Returns the names of the links that are of no use
    /// any more. The error says what clients miss.
    pub(super) fn look(&mut self) -> Result<Vec<String>> {
        let shown = self.folder.display();
        match std::fs::metadata(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                anyhow::bail!("no client is steered: the cgroup {shown} is gone; it is steered again once it is there");
            }
            _ => {}
        }
        let cgroup = Cgroup::open(&self.folder).with_context(|| format!("cannot tell who is a client in {shown}"))?;
        if cgroup.number == self.number {
            return Ok(Vec::new());
        }
        let links = attach(&self.programs, &cgroup).context("no client is steered")?;
        let old = std::mem::replace(&mut self.links, links);
        self.number = cgroup.number;
        log::info!("{} was made again: its programs are steered", cgroup.named());
        Ok(old.into_iter().map(|(name, _)| name).collect())
    }
}

fn attach(programs: &[(&'static str, u32, OwnedFd)], cgroup: &Cgroup) -> Result<Vec<(String, OwnedFd)>> {
    let attach = |(name, hook, program): &(&'static str, u32, OwnedFd)| {
        let link = sys::attach(program.as_fd(), cgroup.as_fd(), *hook)
            .with_context(|| format!("cannot attach `{name}` to {}", cgroup.named()))?;
        Ok((format!("{name}-{}", cgroup.number), link))
    };
    programs.iter().map(attach).collect()
}
