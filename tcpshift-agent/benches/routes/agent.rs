//! An agent that is measured.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tcpshift_agent::admin::client::Client;

use super::dns;

/// An agent with a folder of its own; it ends with the measurement.
pub(super) struct Agent(Child);

impl Agent {
    /// Run by root, it asks [`dns`] for names.
    pub(super) fn start(folder: &Path, assign: &str) -> Self {
        let agent = env!("CARGO_BIN_EXE_tcpshift-agent");
        let mut command = if rustix::process::geteuid().is_root() {
            let resolver = folder.join("resolv.conf");
            std::fs::write(&resolver, format!("nameserver {}\n", dns::ADDRESS)).unwrap();
            // What it pins goes with a mount of its own, however it ends.
            let mounts = "mount --bind \"$0\" /etc/resolv.conf && mount -t bpf bpf /sys/fs/bpf && exec \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["--mount", "--", "sh", "-c", mounts]).arg(resolver).arg(agent);
            command
        } else {
            Command::new(agent)
        };
        if assign == "agent" {
            command.args(["run", "--datapath", "proxy"]);
        } else {
            command.arg("run");
        }
        command
            .args(["--assign", assign, "--state-dir"])
            .arg(folder.join("state"))
            .env("RUST_LOG", "error")
            .stdin(Stdio::null());
        command.env("TCPSHIFT_ADMIN", format!("unix:{}", folder.join("admin.sock").display()));
        Self(command.spawn().unwrap())
    }

    /// Processor time of all its threads until now.
    pub(super) fn cost(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let nanoseconds = tasks.map(|task| {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Memory that it holds, in kilobytes.
    pub(super) fn kilobytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until an agent answers.
pub(super) async fn ready(client: &Client) {
    let begin = Instant::now();
    while client.status().await.is_err() {
        assert!(begin.elapsed() < Duration::from_mins(1), "the agent does not answer");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
