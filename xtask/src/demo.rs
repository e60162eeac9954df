//! `cargo xtask demo`: the whole task for a newcomer, with the very commands a person would type.
//!
//! Needs no root, touches nothing outside a folder of its own, listens on 127.0.0.1 alone, and takes other
//! ports where the usual ones are taken. [`children`] starts and stops the programs, [`ports`] finds ports,
//! [`split`] measures.

mod children;
mod ports;
mod split;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::cargo::{cargo, run, target, workspace};
use crate::{build_ebpf, setup, step};
use children::Child;
use ports::Ports;
use split::{Split, ask};

/// The example's files, in the order in which they are applied.
const FILES: [&str; 4] = ["services.yaml", "workload-entries.yaml", "all-v1.yaml", "20-v2.yaml"];

/// What v2 is to get, as the last file says.
const ASKED: f64 = 0.2;

/// How the demonstration is run.
#[derive(Args)]
pub(crate) struct Demo {
    /// Connections to measure the split by
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    connections: u32,
}

impl Demo {
    /// Runs it. Fails if a step does, or if the split is one that chance cannot explain.
    pub(crate) fn run(&self) -> Result<()> {
        setup::setup(&setup::BUILD)?;
        if let Err(error) = setup::kernel().and_then(|()| build_ebpf::build_ebpf()) {
            println!("{error:#}\n\nThis goes on without the kernel's programs: the agent's proxy carries everything.");
            build_ebpf::remove_stale()?;
        }
        step("build");
        cargo(&["build", "--release", "--package", "tcpshift-agent", "--package", "tcpshift-tests", "--bins"], &[])?;
        let folder =
            tempfile::Builder::new().prefix("tcpshift-demo-").tempdir().context("cannot make a temporary folder")?;
        let stage = Stage::new(folder.path())?;

        step("two versions of a service, and the agent");
        // Not the socket of an agent that may already run here.
        println!("$ export TCPSHIFT_ADMIN={}", stage.admin);
        let ports = stage.ports;
        let servers = [
            stage.start("tcp-echo", &[&format!("{},{}", ports.v1[0], ports.v1[1]), "one", "--bind", "127.0.0.1"])?,
            stage.start("tcp-echo", &[&format!("{},{}", ports.v2[0], ports.v2[1]), "two", "--bind", "127.0.0.1"])?,
        ];
        let kept = folder.path().join("state").display().to_string();
        let mut agent =
            stage.start("tcpshift-agent", &["run", "--listen-address", "127.0.0.1", "--state-dir", &kept])?;
        stage.await_agent(&mut agent)?;

        step("every connection to v1");
        for file in &FILES[..3] {
            stage.agent(&["apply", "-f", &stage.route_file(file)])?;
        }
        println!("$ for i in $(seq 10); do {}; done", stage.client());
        for _ in 0..10 {
            let answer = stage.ask()?;
            println!("{answer}");
            ensure!(answer.starts_with("one "), "only v1 should answer now");
        }

        step("a fifth of the new connections to v2");
        stage.agent(&["apply", "-f", &stage.route_file(FILES[3])])?;
        stage.agent(&["get", "virtualservice", "tcp-echo", "-o", "yaml"])?;
        println!("$ for i in $(seq {}); do {}; done | sort | uniq -c", self.connections, stage.client());
        let split = Split::measure(ports.gateway, self.connections)?;
        stage.agent(&["status"])?;
        print!("\n{}", split.table(ASKED));

        step("away with it");
        for file in FILES[..3].iter().rev() {
            stage.agent(&["delete", "-f", &stage.route_file(file)])?;
        }
        match ask(ports.gateway) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                println!("$ {}\nport {}: {error}", stage.client(), ports.gateway);
            }
            Err(error) => bail!("port {} should refuse, and: {error}", ports.gateway),
            Ok(answer) => bail!("port {} should refuse, and answers: {answer}", ports.gateway),
        }
        agent.stop()?;
        for mut server in servers {
            server.stop()?;
        }
        ensure!(
            split.within(ASKED, 5.0),
            "a share of {:.3} is further from {ASKED} than chance explains (5 sigma)",
            split.share()
        );
        println!("\nDone. The README shows how to do the same by hand, and with services of your own.");
        Ok(())
    }
}

/// Where the demonstration happens: programs, ports, route files and the agent's socket.
struct Stage {
    folder: PathBuf,
    binaries: PathBuf,
    ports: Ports,
    admin: String,
}

impl Stage {
    fn new(folder: &Path) -> Result<Self> {
        let ports = Ports::find()?;
        if ports != Ports::USUAL {
            step("some usual ports are taken here; the route files are copied with others");
            for file in FILES {
                let from = workspace().join("examples/tcp-echo").join(file);
                let text = std::fs::read_to_string(&from).with_context(|| format!("cannot read {}", from.display()))?;
                let to = folder.join(file);
                std::fs::write(&to, ports.edit(&text)).with_context(|| format!("cannot write {}", to.display()))?;
                println!("{}", to.display());
            }
        }
        let admin = format!("unix:{}", folder.join("admin.sock").display());
        Ok(Self { folder: folder.to_owned(), binaries: target().join("release"), ports, admin })
    }

    /// A program as a person in the workspace's folder names it.
    fn shown(&self, program: &str, words: &[&str]) -> String {
        let path = self.binaries.join(program);
        let path = path.strip_prefix(workspace()).unwrap_or(&path);
        [&[path.to_string_lossy().as_ref()], words].concat().join(" ")
    }

    /// A program, in the environment that leads it to the demonstration's agent.
    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.args(words).env("TCPSHIFT_ADMIN", &self.admin).current_dir(workspace());
        command
    }

    fn start(&self, program: &str, words: &[&str]) -> Result<Child> {
        let shown = self.shown(program, words);
        println!("$ {shown} &");
        let log = self.folder.join(format!("{program}-{}.log", words[1].trim_start_matches('-')));
        Child::start(&shown, self.command(program, words), &log)
    }

    fn await_agent(&self, agent: &mut Child) -> Result<()> {
        let begin = Instant::now();
        loop {
            let output =
                self.command("tcpshift-agent", &["status"]).output().context("cannot run the agent's binary")?;
            if output.status.success() {
                println!("the agent answers");
                return Ok(());
            }
            agent.check()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(begin.elapsed() < Duration::from_secs(10), "the agent does not answer: {}{}", said, agent.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a command of the agent, shown as a person would type it.
    fn agent(&self, words: &[&str]) -> Result<()> {
        run(&mut self.command("tcpshift-agent", words), &self.shown("tcpshift-agent", words))
    }

    /// One of the route files, or its copy.
    fn route_file(&self, name: &str) -> String {
        if self.ports == Ports::USUAL {
            format!("examples/tcp-echo/{name}")
        } else {
            self.folder.join(name).display().to_string()
        }
    }

    /// What a person types to send one connection.
    fn client(&self) -> String {
        format!("echo hello | nc -N 127.0.0.1 {}", self.ports.gateway)
    }

    fn ask(&self) -> Result<String> {
        ask(self.ports.gateway).with_context(|| format!("no answer on port {}", self.ports.gateway))
    }
}
