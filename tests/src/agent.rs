//! The agent under test: the built binary, started in the world of the test, driven as a user drives it.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tcpshift_agent::admin::api::{DestinationStatus, StatusReply};

use crate::admin;
use crate::maps::{attached, pinned};
use crate::process::{Output, Process, built, command, grouped, run};
use crate::until::{patient, seconds, until_so};
use crate::world::World;

/// A running agent. It is killed and reaped when dropped.
#[derive(Debug)]
pub struct Agent<'a> {
    world: &'a World,
    name: String,
    arguments: Vec<OsString>,
    process: Process,
}

impl<'a> Agent<'a> {
    /// Starts `tcpshift-agent run ARGUMENTS` with a state folder and a socket in the world's folder, and waits
    /// until it answers.
    pub fn start<S: AsRef<OsStr>>(world: &'a World, arguments: &[S]) -> Self {
        Self::named(world, "agent", arguments)
    }

    /// As [`Agent::start`], for a second agent in the same world.
    pub fn named<S: AsRef<OsStr>>(world: &'a World, name: &str, arguments: &[S]) -> Self {
        let agent = Self::launch(world, name, command(built("tcpshift-agent")), arguments);
        agent.ready()
    }

    /// Starts an agent in the world's control group by `launcher`, a command to which the arguments of `run` are appended. Does
    /// not wait.
    pub fn launch<S: AsRef<OsStr>>(world: &'a World, name: &str, launcher: Command, arguments: &[S]) -> Self {
        Self::launch_as(world, name, name, launcher, Stdio::null(), arguments)
    }

    /// As [`Agent::launch`], with a standard input, and with a name for the process: several processes may have one state and
    /// socket, one after the other.
    pub fn launch_as<S: AsRef<OsStr>>(
        world: &'a World,
        name: &str,
        process: &str,
        mut launcher: Command,
        stdin: Stdio,
        arguments: &[S],
    ) -> Self {
        let arguments: Vec<OsString> = arguments.iter().map(|argument| argument.as_ref().to_owned()).collect();
        launcher.arg("run").arg("--state-dir").arg(world.path(&format!("{name}.state"))).args(&arguments);
        for (option, variable, usual) in CHOICES {
            launcher.args(choice(&arguments, option, variable, usual));
        }
        launcher.env("TCPSHIFT_ADMIN", socket_word(world, name)).env("RUST_BACKTRACE", "1");
        let process = Process::start_with(world, process, grouped(world.cgroup(), &launcher), stdin);
        Self { world, name: name.to_owned(), arguments, process }
    }

    /// Waits until the agent answers.
    pub fn ready(mut self) -> Self {
        let socket = self.socket();
        until_so("the agent's socket answers", seconds(20), || {
            if let Some(status) = self.process.ended() {
                panic!("the agent ended at start with {status}:\n{}", self.process.stderr());
            }
            admin::request(&socket, "GET", "/v1/status", None).is_ok_and(|answer| answer.status == 200)
        });
        self
    }

    /// Starts `run --takeover ARGUMENTS` with this agent's state and socket, and does not wait.
    pub fn successor<S: AsRef<OsStr>>(&self, process: &str, mut launcher: Command, arguments: &[S]) -> Self {
        let arguments = arguments.iter().map(AsRef::as_ref);
        let arguments: Vec<_> = std::iter::once(OsStr::new("--takeover")).chain(arguments).collect();
        launcher.env_remove("LISTEN_FDS");
        Self::launch_as(self.world, &self.name, process, launcher, Stdio::null(), &arguments)
    }

    /// Waits until its log has this.
    #[track_caller]
    pub fn says(&self, part: &str) {
        let begin = std::time::Instant::now();
        while !self.log().contains(part) {
            assert!(begin.elapsed() < patient(seconds(10)), "{part:?} is not in the log:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits until this process, and no other one, answers at the socket.
    pub fn answers(mut self) -> Self {
        let (socket, pid) = (self.socket(), u64::from(self.pid()));
        let begin = std::time::Instant::now();
        until_so("the new agent answers", seconds(40), || {
            assert!(begin.elapsed() < patient(seconds(30)), "it does not answer:\n{}", self.process.stderr());
            if let Some(status) = self.process.ended() {
                panic!("the agent ended at start with {status}:\n{}", self.process.stderr());
            }
            let answer = admin::request(&socket, "GET", "/v1/status", None);
            answer.is_ok_and(|answer| answer.status == 200 && answer.body["pid"] == pid)
        });
        self
    }

    /// Its admin socket.
    pub fn socket(&self) -> PathBuf {
        self.world.path(&format!("{}.sock", self.name))
    }

    /// Its state folder.
    pub fn state(&self) -> PathBuf {
        self.world.path(&format!("{}.state", self.name))
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process that keeps rights for it, if there is one.
    pub fn rights(&self) -> Option<u32> {
        let processes = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let (name, parent) = ("Name:\ttcpshift-rights\n", format!("\nPPid:\t{}\n", self.pid()));
        let is_it = |pid: &u32| {
            // It may have ended by now.
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.starts_with(name) && status.contains(&parent)
        };
        pids.into_iter().find(is_it)
    }

    /// Waits until a route's subsets v1 and v2 have an endpoint each, as when their names are resolved.
    #[track_caller]
    pub fn await_endpoints(&self, route: &str) {
        until_so("v1 and v2 have an endpoint each", seconds(5), || {
            ["v1", "v2"].iter().all(|subset| self.destination(route, subset).endpoints == 1)
        });
    }

    /// What it logged until now.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Memory it holds now, in megabytes.
    pub fn megabytes(&self) -> u64 {
        self.process.kilobytes("VmRSS") / 1024
    }

    /// The most memory it ever held, in megabytes.
    pub fn most_megabytes(&self) -> u64 {
        self.process.kilobytes("VmHWM") / 1024
    }

    /// Kills it as `kill -9` does, and starts it again with the same arguments.
    pub fn kill_and_restart(self) -> Self {
        let Self { world, name, arguments, mut process } = self;
        process.kill();
        Self::named(world, &name, &arguments)
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Asks it to read its files again, by SIGHUP.
    pub fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Ends the agent by SIGTERM: nothing of it may be pinned or attached then.
    #[track_caller]
    pub fn end_and_leave_nothing(&mut self) {
        self.terminate();
        assert_eq!(self.process().wait(seconds(20)).code(), Some(0), "{}", self.log());
        assert_eq!(pinned(self.world), [""; 0]);
        assert_eq!(attached(self.world).len(), 0);
    }

    /// Runs `tcpshift-agent WORDS` against this agent.
    pub fn cli<S: AsRef<OsStr>>(&self, words: &[S]) -> Output {
        self.cli_with(words, "")
    }

    /// Runs `tcpshift-agent WORDS` against this agent, with standard input.
    pub fn cli_with<S: AsRef<OsStr>>(&self, words: &[S], input: impl Display) -> Output {
        cli(&[("TCPSHIFT_ADMIN", &socket_word(self.world, &self.name))], words, input.to_string().as_bytes())
    }

    /// Applies YAML by the command line; it must succeed.
    #[track_caller]
    pub fn apply(&self, yaml: impl Display) -> Output {
        self.cli_with(&["apply", "-f", "-"], yaml).expect(0)
    }

    /// Applies a file by the command line; it must succeed.
    #[track_caller]
    pub fn apply_file(&self, path: &Path) -> Output {
        self.cli(&[Path::new("apply"), Path::new("-f"), path]).expect(0)
    }

    /// The agent's status, as the API answers it: tests poll it, and starting the command line each time would be
    /// most of their time on an emulated machine.
    #[track_caller]
    pub fn status(&self) -> StatusReply {
        let answer = self.request("GET", "/v1/status", None);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_value(answer.body.clone())
            .unwrap_or_else(|error| panic!("what /v1/status answers is not a status: {error}\n{}", answer.body))
    }

    /// The plan in force.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        self.status().generation
    }

    /// A destination of a route, by how their names begin and end: `destination("default/tcp-echo", "v2")`.
    #[track_caller]
    pub fn destination(&self, route: &str, subset: &str) -> DestinationStatus {
        destination(&self.status(), route, subset).clone()
    }

    /// Objects of a kind, as `get KIND -A -o json` prints them.
    #[track_caller]
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let output = self.cli(&["get", kind, "-A", "-o", "json"]).expect(0);
        let list: Value = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("get -o json is not JSON: {error}\n{}", output.stdout));
        match &list["items"] {
            Value::Array(items) => items.clone(),
            _ => panic!("get -o json is no list: {list}"),
        }
    }

    /// One request to the API, by hand.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> admin::Answer {
        admin::request(&self.socket(), method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    /// Applies YAML by the API itself, which is quicker than the command line; it must succeed.
    #[track_caller]
    pub fn post(&self, yaml: impl Display) {
        let answer = self.request("POST", "/v1/apply", Some(&admin::documents(yaml)));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Deletes the objects of some YAML by the API itself; those that are not there are no failure.
    #[track_caller]
    pub fn remove(&self, yaml: impl Display) {
        let mut body = admin::documents(yaml);
        body["ignoreNotFound"] = true.into();
        let answer = self.request("POST", "/v1/delete", Some(&body));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// A destination of a route in a status, by how their names begin and end.
#[track_caller]
pub fn destination<'a>(status: &'a StatusReply, route: &str, subset: &str) -> &'a DestinationStatus {
    let routes = status.listeners.iter().flat_map(|listener| &listener.routes).filter(|found| found.name == route);
    let found = routes.flat_map(|route| &route.destinations).find(|found| found.name.ends_with(subset));
    found.unwrap_or_else(|| panic!("no destination {subset} of {route} in {status:#?}"))
}

/// Option, environment variable and default, for tests that do not pass the option: `cargo xtask test` runs the promises with
/// several values of the variables.
const CHOICES: [(&str, &str, &str); 2] =
    [("--assign", "TCPSHIFT_ASSIGN", "kernel"), ("--datapath", "TCPSHIFT_DATAPATH", "proxy")];

fn choice(arguments: &[OsString], option: &str, variable: &str, usual: &str) -> Vec<OsString> {
    if arguments.iter().any(|argument| argument.to_string_lossy().starts_with(option)) {
        return Vec::new();
    }
    vec![option.into(), std::env::var_os(variable).unwrap_or_else(|| usual.into())]
}

/// Runs the agent's binary with some environment, to its end.
pub fn cli<S: AsRef<OsStr>>(environment: &[(&str, &str)], words: &[S], input: &[u8]) -> Output {
    let mut command = command(built("tcpshift-agent"));
    command.args(words).envs(environment.iter().copied());
    run(command, input, Duration::from_mins(1))
}

/// What `TCPSHIFT_ADMIN` is for an agent of a world.
pub fn socket_word(world: &World, name: &str) -> String {
    format!("unix:{}", world.path(&format!("{name}.sock")).display())
}
