//! Clients in processes of their own (`tcp-ask`), in a control group or a network namespace that the test chooses.
//!
//! The kernel steers clients by their control group and namespace, and threads of the test cannot have a group of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{Process, built, command, grouped, run};
use crate::until::{seconds, until_so};
use crate::world::World;

/// Where a client runs.
#[derive(Clone, Copy, Debug)]
pub enum Location<'a> {
    /// In the group and namespace of the test.
    Here,
    /// In a control group.
    Group(&'a Path),
    /// In the network namespace of a process.
    Namespace(u32),
}

/// What clients saw, one connection after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who answered; or the kind of a failure, as `ConnectionRefused`.
    pub order: Vec<String>,
    /// The addresses that getpeername(2) gave the clients.
    pub peers: BTreeSet<String>,
}

impl Location<'_> {
    /// A command that runs there.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Here => command(program),
            Self::Group(group) => grouped(group, &command(program)),
            Self::Namespace(process) => {
                let mut command = command("nsenter");
                command.arg(format!("--net=/proc/{process}/ns/net")).arg("--").arg(program);
                command
            }
        }
    }

    /// Asks so many times, one after the other.
    #[track_caller]
    pub fn ask(&self, address: &str, count: usize) -> Seen {
        let mut command = self.command(built("tcp-ask"));
        command.args(["ask", address, &count.to_string()]);
        let said = run(command, b"", seconds(60)).expect(0).stdout;
        let said: Value = serde_json::from_str(&said).expect("tcp-ask prints JSON");
        let texts = |value: &Value| {
            let list = value.as_array().expect("a list").iter();
            list.map(|text| text.as_str().expect("a text").to_owned()).collect::<Vec<_>>()
        };
        Seen { order: texts(&said["order"]), peers: texts(&said["peers"]).into_iter().collect() }
    }

    /// Makes so many connections to a server of [`crate::streams`]; panics if a byte was not as it should be. Returns the
    /// bytes that were sent and received.
    #[track_caller]
    pub fn stream(&self, address: &str, rounds: u64) -> (u64, u64) {
        let mut command = self.command(built("tcp-ask"));
        command.args(["stream", address, &rounds.to_string()]);
        let said = run(command, b"", seconds(60)).expect(0).stdout;
        let said: Value = serde_json::from_str(&said).expect("tcp-ask prints JSON");
        assert_eq!(said["faults"], Value::Array(Vec::new()), "streams to {address}");
        let bytes = |name: &str| said[name].as_u64().expect("a number of bytes");
        (bytes("sent"), bytes("received"))
    }

    /// Asks so many times, and counts who answered.
    #[track_caller]
    pub fn tally(&self, address: &str, count: usize) -> BTreeMap<String, usize> {
        self.ask(address, count).tally()
    }
}

impl Seen {
    /// Counts who answered.
    pub fn tally(&self) -> BTreeMap<String, usize> {
        let mut tally = BTreeMap::new();
        for who in &self.order {
            *tally.entry(who.clone()).or_default() += 1;
        }
        tally
    }
}

/// Clients at work, until they are told to finish.
#[derive(Debug)]
pub struct Crowd {
    process: Process,
    until: PathBuf,
}

impl Crowd {
    /// So many clients, each of which connects, says a line, reads the answer and closes, again and again.
    pub fn rush(world: &World, name: &str, location: Location<'_>, address: &str, clients: usize) -> Self {
        let crowd = Self::start(world, name, location, &["rush", address, &clients.to_string()], &[]);
        crowd.reach(clients * 3);
        crowd
    }

    /// As [`Crowd::rush`], but each client pauses for so many milliseconds between two connections. On few processors, clients
    /// without a pause take the processor time of the agent under test.
    pub fn drip(world: &World, name: &str, location: Location<'_>, address: &str, clients: usize, pause: u64) -> Self {
        let words = ["rush", address, &clients.to_string()];
        let crowd = Self::start(world, name, location, &words, &[pause.to_string()]);
        crowd.reach(clients * 3);
        crowd
    }

    /// So many connections that stay open, each of which says something at the beginning and at the end, from
    /// several addresses by turns if they are given. Does not wait for them: see [`Crowd::reach`].
    pub fn hold(
        world: &World,
        name: &str,
        location: Location<'_>,
        address: &str,
        count: usize,
        sources: &[String],
    ) -> Self {
        Self::start(world, name, location, &["hold", address, &count.to_string()], sources)
    }

    /// So many connections that stay open. Each sends a line every 25 ms times their number, and the same server must answer
    /// every time. [`Crowd::made`] counts exchanges. Waits until each connection had one.
    pub fn talk(world: &World, name: &str, location: Location<'_>, address: &str, count: usize) -> Self {
        let crowd = Self::start(world, name, location, &["talk", address, &count.to_string()], &[]);
        crowd.reach(count);
        crowd
    }

    fn start(world: &World, name: &str, location: Location<'_>, words: &[&str], sources: &[String]) -> Self {
        let until = world.path(&format!("{name}.until"));
        let mut command = location.command(built("tcp-ask"));
        command.args(words).arg(&until).args(sources);
        Self { process: Process::start(world, name, command), until }
    }

    /// How many connections were made until now.
    pub fn made(&self) -> usize {
        let said = self.process.stdout();
        let last = said.lines().rev().find_map(|line| line.strip_prefix("made ")?.parse().ok());
        last.unwrap_or_default()
    }

    /// Waits until so many were made.
    #[track_caller]
    pub fn reach(&self, count: usize) {
        until_so("connections are made", seconds(120), || self.made() >= count);
    }

    /// Waits until so many more were made.
    #[track_caller]
    pub fn go_on(&self, more: usize) {
        self.reach(self.made() + more);
    }

    /// Ends the clients, and counts answers by server and failures by kind.
    #[track_caller]
    pub fn finish(mut self) -> BTreeMap<String, usize> {
        std::fs::write(&self.until, b"").unwrap_or_else(|error| panic!("{}: {error}", self.until.display()));
        let status = self.process.wait(seconds(60));
        let said = self.process.stdout();
        assert!(status.success(), "tcp-ask ended with {status}: {said}{}", self.process.stderr());
        let last = said.lines().last().expect("tcp-ask says something");
        serde_json::from_str(last).unwrap_or_else(|error| panic!("tcp-ask prints no tally: {error}\n{last}"))
    }
}
