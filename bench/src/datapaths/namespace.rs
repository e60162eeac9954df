//! A network namespace that lives as long as this value and the processes in it: it has no name, so that nothing is
//! left behind whatever ends this program. Its processes are in the cgroup of its contender.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

use super::cgroup::BenchCgroup;

/// What is set in every namespace, the same for all contenders.
const SETTINGS: [(&str, &str); 4] = [
    // Each connection that a client or a balancer closes keeps its port for a minute; more than a second it need not be
    // one of its own.
    ("net/ipv4/tcp_tw_reuse", "1"),
    ("net/ipv4/ip_local_port_range", "10000 65535"),
    ("net/ipv4/tcp_no_metrics_save", "1"),
    ("net/ipv4/ip_forward", "1"),
];

/// How every connection of the measurement is congested.
pub(super) const CONGESTION_CONTROL: &str = "cubic";

/// Does something while the congestion control may be chosen in namespaces; the machine's list is as before then.
fn allowed(work: impl FnOnce() -> Result<()>) -> Result<()> {
    const LIST: &str = "net/ipv4/tcp_allowed_congestion_control";
    let path = format!("/proc/sys/{LIST}");
    let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    if before.split_whitespace().any(|name| name == CONGESTION_CONTROL) {
        return work();
    }
    set(LIST, &format!("{} {CONGESTION_CONTROL}", before.trim()))?;
    let done = work();
    set(LIST, before.trim())?;
    done
}

/// Sets what sysctl calls a key.
fn set(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    std::fs::write(&path, value).with_context(|| format!("cannot write {value:?} to {path}"))
}

/// A network namespace.
pub(super) struct Namespace {
    there: File,
    home: File,
    door: PathBuf,
}

impl Namespace {
    /// Makes one, with its loopback interface up.
    pub(super) fn new(cgroup: &BenchCgroup) -> Result<Self> {
        let current = || File::open("/proc/thread-self/ns/net").context("cannot open the network namespace");
        let home = current()?;
        unshare(CloneFlags::CLONE_NEWNET)
            .context("cannot make a network namespace: root needs CAP_SYS_ADMIN here (in a container: privileged)")?;
        let there = current();
        setns(&home, CloneFlags::CLONE_NEWNET).context("cannot return to the namespace of this program")?;
        let made = Self { there: there?, home, door: cgroup.door() };
        made.ip("link set lo up")?;
        made.inside(|| SETTINGS.iter().try_for_each(|(name, value)| set(name, value)))?;
        allowed(|| made.inside(|| set("net/ipv4/tcp_congestion_control", CONGESTION_CONTROL)))?;
        Ok(made)
    }

    /// Does something in it, as starting a process that then is there.
    pub(super) fn inside<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        setns(&self.there, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
        let done = work();
        setns(&self.home, CloneFlags::CLONE_NEWNET).context("cannot return to the namespace of this program")?;
        done
    }

    /// The file that takes the number of a process that is to be in the contender's cgroup.
    pub(super) fn door(&self) -> &Path {
        &self.door
    }

    /// Sets what sysctl calls a key, in it.
    pub(super) fn set(&self, name: &str, value: &str) -> Result<()> {
        self.inside(|| set(name, value))
    }

    /// Runs `ip WORDS` in it.
    pub(super) fn ip(&self, words: &str) -> Result<()> {
        self.run("ip", &words.split(' ').collect::<Vec<_>>(), None)
    }

    /// Runs a program in it to its end, with standard input if there is some.
    pub(super) fn run(&self, program: &str, words: &[&str], input: Option<&str>) -> Result<()> {
        use std::io::Write;
        use std::process::Stdio;
        let shown = format!("{program} {}", words.join(" "));
        self.inside(|| {
            let mut command = Command::new(program);
            command.args(words).stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
            let mut child = command
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot run `{shown}`"))?;
            if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
                pipe.write_all(text.as_bytes()).with_context(|| format!("cannot write to `{shown}`"))?;
            }
            let output = child.wait_with_output().with_context(|| format!("cannot wait for `{shown}`"))?;
            if !output.status.success() {
                bail!("`{shown}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(())
        })
    }

    /// Joins it to another by a pair of interfaces, each with its address and the length of its subnet.
    pub(super) fn join(
        &self,
        name: &str,
        address: &str,
        other: &Self,
        other_name: &str,
        other_address: &str,
    ) -> Result<()> {
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.there.as_raw_fd());
        self.ip(&format!("link add {name} type veth peer name {other_name} netns {path}"))?;
        for (space, name, address) in [(self, name, address), (other, other_name, other_address)] {
            space.ip(&format!("address add {address} dev {name}"))?;
            space.ip(&format!("link set {name} up"))?;
        }
        Ok(())
    }
}
