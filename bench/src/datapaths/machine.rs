//! Where a run was made: date, machine, kernel, and the versions of all contenders.

use std::process::Command;

use anyhow::{Context, Result};

use super::namespace::CONGESTION_CONTROL;

/// What a figure means nothing without.
#[derive(Debug)]
pub(super) struct MeasuredMachine {
    /// Day, in UTC.
    pub(super) date: String,
    /// Model of the processor.
    pub(super) processor: String,
    /// How many there are.
    pub(super) processors: usize,
    /// Those that were measured on.
    pub(super) cores: Vec<usize>,
    /// Release of the kernel.
    pub(super) kernel: String,
    /// Contenders and their versions.
    pub(super) versions: Vec<(String, String)>,
}

impl MeasuredMachine {
    /// Reads what this machine is.
    pub(super) fn read(cores: &[usize]) -> Result<Self> {
        let text = std::fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
        let uname = rustix::system::uname();
        let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().context("cannot run `date`")?;
        Ok(Self {
            date: String::from_utf8_lossy(&date.stdout).trim().to_owned(),
            processor: field(&text, "model name").unwrap_or(uname.machine().to_string_lossy().as_ref()).to_owned(),
            processors: text.lines().filter(|line| line.starts_with("processor")).count(),
            cores: cores.to_vec(),
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), version(&uname.release().to_string_lossy())),
            versions: Vec::new(),
        })
    }

    /// The pinning, in words.
    pub(super) fn pinned(&self) -> String {
        let cores: Vec<String> = self.cores.iter().map(ToString::to_string).collect();
        let (noun, cores) = (if self.cores.len() == 1 { "core" } else { "cores" }, cores.join(" and "));
        format!("client, balancer and server together on {noun} {cores}; congestion control {CONGESTION_CONTROL}")
    }

    /// All of it, for the terminal.
    pub(super) fn text(&self) -> String {
        let Self { date, processor, processors, kernel, .. } = self;
        let versions: Vec<String> = self.versions.iter().map(|(name, version)| format!("{name} ({version})")).collect();
        format!("{date}, {processors} x {processor}, {kernel}\n{}\n{}", self.pinned(), versions.join(", "))
    }
}

/// A kernel's release without what its builder called it.
fn version(release: &str) -> &str {
    release.split('-').next().unwrap_or(release)
}

/// A field of `/proc/cpuinfo`, of the first processor.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found() {
        let text = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: A: fast one\nprocessor\t: 1\n";
        assert_eq!(field(text, "model name"), Some("A: fast one"));
        assert_eq!(field(text, "cache"), None);
    }
}
