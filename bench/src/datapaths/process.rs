//! Processes of the measurement: pinned, in a namespace and a cgroup, and ended with it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::namespace::Namespace;

/// More urgent than what else may run on the machine, the same for all.
const NICE: &str = "-10";

/// What all processes of a run share.
pub(super) struct Setting {
    /// Processors they are pinned to.
    pub(super) cores: Vec<usize>,
    /// Where cargo builds.
    pub(super) target: PathBuf,
}

impl Setting {
    /// The last cores that this process may use: interrupts tend to be at the first.
    pub(super) fn new(cores: u8, target: &Path) -> Result<Self> {
        let allowed = sched_getaffinity(None).context("cannot read which processors there are")?;
        let mut all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        ensure!(all.len() >= usize::from(cores), "there are {} processors here, and {cores} are asked for", all.len());
        let target = target.canonicalize().with_context(|| format!("cannot find {}", target.display()))?;
        Ok(Self { cores: all.split_off(all.len() - usize::from(cores)), target })
    }

    /// The processors.
    pub(super) fn processors(&self) -> &[usize] {
        &self.cores
    }

    /// A program that cargo built for release.
    pub(super) fn built(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }
}

/// A process that is killed, with what it started, when this value goes, or this program.
pub(super) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says goes to a file.
    pub(super) fn start(
        setting: &Setting,
        namespace: &Namespace,
        command: &[&str],
        environment: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let twin = file.try_clone().context("cannot copy a descriptor")?;
        let mut command = pinned(namespace, command);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(file).stderr(twin);
        Self::spawn(setting, namespace, command, log)
    }

    fn spawn(setting: &Setting, namespace: &Namespace, mut command: Command, log: &Path) -> Result<Self> {
        let name = command.get_args().nth(9).unwrap_or_default().to_string_lossy().into_owned();
        let mut here = CpuSet::new();
        for core in &setting.cores {
            here.set(*core);
        }
        let child = namespace.inside(|| {
            // Inherited by the child; only this thread is pinned, and only meanwhile.
            let all = sched_getaffinity(None).context("cannot read the affinity")?;
            sched_setaffinity(None, &here).context("cannot set the affinity")?;
            let child = command.spawn().with_context(|| format!("cannot run {name} (by sh, setpriv and nice)"));
            sched_setaffinity(None, &all).context("cannot set the affinity")?;
            child
        })?;
        Ok(Self { child, name, log: log.to_owned() })
    }

    /// Its process and all that came from it.
    pub(super) fn family(&self) -> Vec<u32> {
        family(self.child.id())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until something is so. Fails if the process ends before, or after ten seconds.
    pub(super) fn until(&mut self, what: &str, mut so: impl FnMut() -> bool) -> Result<()> {
        let begin = Instant::now();
        while !so() {
            if let Some(status) = self.child.try_wait().context("cannot ask for a process")? {
                bail!("{} ended with {status}: {}", self.name, self.said());
            }
            ensure!(
                begin.elapsed() < Duration::from_secs(10),
                "{}: {what}, not within 10 s: {}",
                self.name,
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The end of what it said.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What it started is asked for while it still is its parent.
        for pid in self.family() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // One that has ended by itself is no matter.
                kill_process(pid, Signal::KILL).ok();
            }
        }
        drop(self.child.wait());
    }
}

/// A command whose process is in the cgroup of a namespace, and ends when this program does.
fn pinned(namespace: &Namespace, words: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(namespace.door());
    command.args(["setpriv", "--pdeathsig", "TERM", "nice", "-n", NICE]).args(words);
    command
}

/// A load that is run by hand: ready, go, report.
pub(super) struct LoadProcess {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl LoadProcess {
    /// Starts `tcpshift-bench load WORDS`, and waits until it is warm.
    pub(super) fn start(setting: &Setting, namespace: &Namespace, words: &[&str], log: &Path) -> Result<Self> {
        let program = setting.built("tcpshift-bench");
        let program = program.to_string_lossy();
        let file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = pinned(namespace, &[&[program.as_ref(), "load"], words].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut process = Process::spawn(setting, namespace, command, log)?;
        let input = process.child.stdin.take().context("standard input is no pipe")?;
        let output = BufReader::new(process.child.stdout.take().context("standard output is no pipe")?);
        let mut client = Self { process, input, output };
        let line = client.line()?;
        ensure!(line == "ready", "the load says {line:?} and not that it is ready");
        Ok(client)
    }

    /// Lets it count.
    pub(super) fn go(&mut self) -> Result<()> {
        self.input.write_all(b"go\n").context("cannot tell the load to start")
    }

    /// Waits for its report.
    pub(super) fn report(mut self) -> Result<crate::load::LoadReport> {
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| format!("the load reports {line:?}"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("cannot read from the load")?;
        if line.is_empty() {
            let status = self.process.child.wait().context("cannot wait for the load")?;
            let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
            bail!("the load ended by {how}: {}", self.process.said());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// A process and all that came from it.
fn family(first: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may be gone meanwhile.
        let Ok(text) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent(&text) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut family = vec![first];
    let mut at = 0;
    while at < family.len() {
        family.extend(children.remove(&family[at]).unwrap_or_default());
        at += 1;
    }
    family
}

/// The parent in a line of `/proc/PID/stat`; the name before it may hold anything.
fn parent(text: &str) -> Option<u32> {
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("17 (a b) c) S 5 17 17 0"), Some(5));
        assert_eq!(parent("17"), None);
    }

    #[test]
    fn this_process_is_of_the_family_of_its_parent() {
        let parent = std::os::unix::process::parent_id();
        assert!(family(parent).contains(&std::process::id()));
    }
}
