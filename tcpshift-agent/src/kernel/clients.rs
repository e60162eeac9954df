//! The programs in connect(2) and getpeername(2) of clients, and the cgroup that they are attached to.
//!
//! The cgroup may be removed and made again while the agent runs, as systemd does with that of a unit at each restart.
//! The kernel detaches programs from a cgroup that goes (`cgroup_bpf_release`, 6.18), so they are attached to the new
//! one.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::cgroup::Cgroup;
use super::load::{At, LoadedPrograms, PROGRAMS, ProgramRow};

/// Programs of clients, and where they are attached, if they are.
#[derive(Debug)]
pub(super) struct Clients {
    /// By the names that they are pinned under; none if they are not attached.
    pub(super) links: Vec<(String, OwnedFd)>,
    /// The folder of the cgroup.
    pub(super) folder: PathBuf,
    /// Its number when they were attached, which no later cgroup has.
    number: u64,
}

impl Clients {
    /// Those of a cgroup, not attached.
    pub(super) fn new(cgroup: &Cgroup) -> Self {
        Self { links: Vec::new(), folder: cgroup.path.clone(), number: cgroup.number }
    }

    /// Attaches the programs to the cgroup that has the folder now.
    pub(super) fn attach(&mut self, programs: &LoadedPrograms) -> Result<()> {
        let cgroup = Cgroup::open(&self.folder)?;
        self.links = attach(programs, &cgroup)?;
        self.number = cgroup.number;
        Ok(())
    }

    /// Attaches the programs anew if they are attached and another cgroup has the folder by now. Returns the names of the links
    /// that are of no use any more. The error says what clients miss.
    pub(super) fn look(&mut self, programs: &LoadedPrograms) -> Result<Vec<String>> {
        if self.links.is_empty() {
            return Ok(Vec::new());
        }
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
        let links = attach(programs, &cgroup).context("no client is steered")?;
        let old = std::mem::replace(&mut self.links, links);
        self.number = cgroup.number;
        log::info!("{} was made again: its programs are steered", cgroup.named());
        Ok(old.into_iter().map(|(name, _)| name).collect())
    }
}

fn attach(programs: &LoadedPrograms, cgroup: &Cgroup) -> Result<Vec<(String, OwnedFd)>> {
    let of_clients = PROGRAMS.iter().filter(|row| matches!(row.at, At::Clients(_)));
    let attach = |row: &ProgramRow| {
        let link = row.attach(programs, cgroup.as_fd(), &cgroup.named())?;
        Ok((format!("{}-{}", row.name, cgroup.number), link))
    };
    of_clients.map(attach).collect()
}
