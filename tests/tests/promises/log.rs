//! The log: an agent whose standard error is not read works on, and lost lines are counted.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::pipe::fcntl_setpipe_size;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::objects::{Objects, service_entry};
use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until, until_so};
use tcpshift_tests::world::World;

/// A named pipe in the world's folder. Only [`Pipe::read`] reads from it.
struct Pipe {
    path: PathBuf,
    end: File,
}

impl Pipe {
    /// One that holds 4 KiB.
    fn new(world: &World, end: &mut OpenOptions) -> Self {
        let path = world.path("log");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let end = end.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&path).unwrap();
        fcntl_setpipe_size(&end, 4096).unwrap();
        Self { path, end }
    }

    /// Fills it to the last byte.
    fn fill(&mut self) {
        while self.end.write(b"x").is_ok() {}
    }

    /// All that is in it, and nothing if it is empty.
    fn read(&mut self) -> String {
        let mut bytes = vec![0; 4096];
        let count = self.end.read(&mut bytes).unwrap_or_default();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    /// The agent's program, with this pipe as its standard error.
    fn of_agent(&self) -> Command {
        let mut shell = command("sh");
        shell.args(["-c", r#"exec "$0" "$@" 2>"$LOG""#]).arg(built("tcpshift-agent")).env("LOG", &self.path);
        shell
    }
}

fn all() -> Objects {
    base() + route(&[("v1", 1)])
}

/// How many lines of the log are lost, as `status` says.
fn lost(agent: &Agent<'_>) -> u64 {
    let lines = |reason: &str| reason.contains("lines of the agent's log lost");
    agent.status().trouble.iter().find(|trouble| lines(&trouble.reason)).map_or(0, |trouble| trouble.count)
}

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_says_what_is_missing() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    // Each of its 3,000 errors is a line, each time that it is read.
    let bad = service_entry("bad").set("spec.hosts", vec!["a b"; 3_000]);
    let bad = world.write("bad.yaml", bad.to_string());
    let mut pipe = Pipe::new(&world, OpenOptions::new().read(true).write(true));
    pipe.fill();
    let mut agent = Agent::launch(&world, "agent", pipe.of_agent(), &[bad]).ready();
    agent.apply(all());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    assert_eq!(lost(&agent), 0, "there is room for some thousand lines");
    let lost = until("lines are lost", seconds(20), || {
        agent.reload();
        Some(lost(&agent)).filter(|lost| *lost > 0)
    });
    agent.cli(&["shift", "vs/tcp-echo", "v1=100"]).expect(0);
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    // The log has the lines before the gap, in order, and then the number of lost lines.
    let mut text = String::new();
    until_so("the gap is said", seconds(20), || {
        text.push_str(&pipe.read());
        text.contains("of the log lost here: standard error was not read\n")
    });
    let (before, _) = text.split_once(" lines of the log lost here").unwrap();
    let (before, said) = before.rsplit_once("] ").unwrap();
    assert!(said.parse::<u64>().unwrap() >= lost, "{said} of {lost}");
    let fields = before.lines().filter_map(|line| line.split_once("spec.hosts[")?.1.split_once(']')?.0.parse().ok());
    let fields: Vec<usize> = fields.collect();
    assert!(fields.len() > 3_000, "{} lines", fields.len());
    assert!(fields.iter().enumerate().all(|(at, field)| *field == at % 3_000), "lines are out of order");
    // The agent also ends while the pipe is full.
    agent.reload();
    pipe.fill();
    let begin = Instant::now();
    agent.terminate();
    assert_eq!(agent.process().wait(seconds(15)).code(), Some(0), "after {:?}", begin.elapsed());
}

#[test]
fn a_log_that_nobody_can_read_any_more_stops_nothing() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let pipe = Pipe::new(&world, OpenOptions::new().read(true));
    let mut agent = Agent::launch::<&str>(&world, "agent", pipe.of_agent(), &[]).ready();
    drop(pipe);
    agent.apply(all());
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    until_so("the line that says which plan is in force is lost", seconds(10), || lost(&agent) > 0);
    agent.terminate();
    assert_eq!(agent.process().wait(seconds(15)).code(), Some(0));
}

#[test]
fn an_agent_that_cannot_start_ends_though_nobody_reads_why() {
    let world = World::new();
    let mut pipe = Pipe::new(&world, OpenOptions::new().read(true).write(true));
    pipe.fill();
    let mut launcher = pipe.of_agent();
    launcher.args(["run", "--state-dir"]).arg(world.path("state")).arg("/nonexistent");
    let mut process = Process::start(&world, "agent", launcher);
    assert_eq!(process.wait(seconds(15)).code(), Some(1));
}
