//! A process that a test starts: its output is kept, and it ends with the test whatever happens.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::until::{patient, seconds, until};
use crate::world::World;

/// As many lines of a process are shown if the test that started it fails.
const LAST_LINES: usize = 40;

/// A running process, known by its own process id alone.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a command said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code; -1 if a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The path of a program of this workspace: beside the program that runs, or above it, as tests are in
/// `target/PROFILE/deps` and programs in `target/PROFILE`.
pub fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let folder = program.parent().expect("a program is in a folder");
    let path = if folder.ends_with("deps") { folder.with_file_name(name) } else { folder.join(name) };
    assert!(
        path.exists(),
        "{} is not built; `cargo build --workspace`, or `cargo xtask test`, builds it",
        path.display()
    );
    path
}

/// A command whose process is killed at the latest when the thread that starts it ends (`PR_SET_PDEATHSIG`).
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The same command in a control group. The process enters the group before its program begins, since a socket stays in the
/// group in which it was made.
pub fn grouped(cgroup: &Path, command: &Command) -> Command {
    let mut grouped = Command::new("sh");
    grouped.args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#]).arg(cgroup);
    grouped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => grouped.env(name, value),
            None => grouped.env_remove(name),
        };
    }
    grouped
}

impl Process {
    /// Starts a command made by [`command`]; its output goes to files of the world named after `name`.
    pub fn start(world: &World, name: &str, command: Command) -> Self {
        Self::start_with(world, name, command, Stdio::null())
    }

    /// As [`Process::start`], with a standard input.
    pub fn start_with(world: &World, name: &str, mut command: Command, stdin: Stdio) -> Self {
        let (stdout, stderr) = (world.path(&format!("{name}.stdout")), world.path(&format!("{name}.stderr")));
        let create = |path: &PathBuf| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        command.stdin(stdin).stdout(create(&stdout)).stderr(create(&stderr));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.name))
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        until(&what, deadline, || self.ended())
    }

    /// Kills and reaps it.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
            self.wait(seconds(10));
        }
    }

    /// What it said on standard output until now.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it said on standard error until now.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Processor time that it has used, in user and kernel mode, in steps of 10 ms.
    pub fn processor_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        // The name of the program, in parentheses, may have spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: Vec<u64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
        // USER_HZ is 100 on every architecture that Linux still has.
        Duration::from_millis(ticks.iter().sum::<u64>() * 10)
    }

    /// A number of kilobytes from its `/proc/PID/status`, such as `VmRSS` or `VmHWM`.
    pub fn kilobytes(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
        number.unwrap_or_else(|| panic!("{path} has no {field}"))
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr, reason = "a test that fails shows it")]
    fn drop(&mut self) {
        // Not `Self::kill`: a test that already panics must not panic again.
        let _already_dead = self.child.kill().is_err() || self.child.wait().is_err();
        if std::thread::panicking() {
            let said = self.stderr();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines.len().saturating_sub(LAST_LINES);
            eprintln!("{} said last:\n{}", self.name, lines[last..].join("\n"));
        }
    }
}

fn text(path: &PathBuf) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Runs a command to its end and keeps its output. Kills it and panics after the deadline, which [`patient`] multiplies.
pub fn run(mut command: Command, input: &[u8], deadline: Duration) -> Output {
    let deadline = patient(deadline);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A process group of its own: at the deadline, the processes that a shell has started are killed with it.
    command.process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A command that does not read its input closes it.
            let _unread = stdin.is_some_and(|mut stdin| stdin.write_all(input).is_err());
        });
        let read = |pipe: Option<Box<dyn Read + Send>>| {
            let mut bytes = Vec::new();
            pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let stdout = stdout.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
        let stderr = stderr.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
        let stdout = scope.spawn(move || read(stdout));
        let stderr = scope.spawn(move || read(stderr));
        let begin = Instant::now();
        let status = loop {
            match child.try_wait().unwrap_or_else(|error| panic!("cannot wait for {command:?}: {error}")) {
                Some(status) => break status,
                None if begin.elapsed() > deadline => {
                    let killed = kill_process_group(Pid::from_child(&child), Signal::KILL);
                    let _already_dead = killed.is_err() || child.wait().is_err();
                    panic!("{command:?} did not end within {deadline:?}");
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        Output {
            status: status.code().unwrap_or(-1),
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
        }
    })
}

impl Output {
    /// Panics unless the exit code is the expected one; the output is in the panic.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "exit code; the command said\n{}{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless standard error has a text in it.
    #[track_caller]
    pub fn complains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected {text:?} on standard error:\n{}", self.stderr);
        self
    }
}
