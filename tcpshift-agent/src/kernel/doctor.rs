//! Whether this machine's kernel can decide: found by trying it, on maps of its own, with nothing pinned.
//!
//! Programs are attached for a moment, by links that go with this process. Their maps name no listener and no endpoint of
//! anybody else, so they leave the sockets and packets of others alone, and an agent that runs is not disturbed.

mod logs;
mod machine;
#[cfg(test)]
mod tests;
mod tries;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde::Serialize;

pub use self::logs::Logs;
use super::verifier::{ProgramRefusal, cut};

/// Why programs are not tried any more, and what to do then.
const UP: &str = "the time was up";
const REFUSED: &str = "is refused";
const FAILS: &str = "fails";
const AGAIN: &str = "try again when this machine is less busy, or with more time (--within)";

/// What is to be tried.
#[derive(Debug, Default)]
pub struct Request {
    /// The object of another build, whose programs are loaded and not run; else those that are built in are.
    pub object: Option<Vec<u8>>,
    /// Where the verifier's logs are kept. Then every program is tried by itself.
    pub logs: Option<Logs>,
    /// How long programs are tried; none: as long as it takes.
    pub within: Option<Duration>,
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorReport {
    /// Whether the kernel can decide for new connections; of another build, whether it takes all programs.
    pub works: bool,
    /// False if the time was up before all programs were tried.
    pub finished: bool,
    /// What the machine has.
    pub machine: Vec<MachineFinding>,
    /// What became of each program.
    pub programs: Vec<ProgramReport>,
    /// How connections can be carried.
    pub datapaths: Vec<DatapathVerdict>,
    /// Who can decide for new ones.
    pub assignment: Vec<DatapathVerdict>,
}

/// One thing of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineFinding {
    /// What was looked at.
    pub what: &'static str,
    /// Whether it is as it is needed.
    pub state: FindingState,
    /// What was found.
    pub found: String,
    /// What can be done; empty if nothing has to be.
    pub cure: String,
}

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingState {
    /// As it is needed.
    Ok,
    /// No hindrance, and good to know.
    Note,
    /// The kernel cannot decide so.
    Missing,
}

/// How far a program has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProgramOutcome {
    /// The kernel took it, and it did what it is for.
    Works,
    /// The kernel took it, and it was not run.
    Loaded,
    /// It did not do what it is for, or could not be tried.
    Fails,
    /// The kernel refuses it.
    Refused,
    /// The kernel was checking it when the time was up.
    Checking,
    /// Another was refused before it, or something is missing that all need.
    NotTried,
}

/// One program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramReport {
    /// Its name in the object, and for `bpftool`.
    pub name: String,
    /// Its type, as `bpftool` says it.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How far it has come.
    pub state: ProgramOutcome,
    /// Whether the kernel took it.
    pub loaded: bool,
    /// How many instructions the verifier followed, if it says so; of one that is refused, until then.
    pub verified: Option<u32>,
    /// Whether it did what it is for.
    pub works: bool,
    /// What it did, or why not.
    pub found: String,
    /// Name of the error by which the kernel refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// Why the kernel refuses it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What can be done about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// What the verifier said last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<String>,
}

impl ProgramReport {
    fn new(name: &str, kind: &'static str) -> Self {
        Self {
            name: cut(name, 64),
            kind,
            state: ProgramOutcome::NotTried,
            loaded: false,
            verified: None,
            works: false,
            found: String::new(),
            errno: None,
            reason: None,
            cure: None,
            said: Vec::new(),
        }
    }

    fn load(&mut self, verified: Option<u32>) {
        (self.state, self.loaded, self.verified) = (ProgramOutcome::Loaded, true, verified);
        "the kernel takes it".clone_into(&mut self.found);
    }

    /// Says why one that the kernel takes is not run.
    fn leave(&mut self, why: &str) {
        self.found = format!("taken by the kernel, and not run: {why}");
    }

    fn work(&mut self, did: String) {
        (self.state, self.works, self.found) = (ProgramOutcome::Works, true, did);
    }

    fn fail(&mut self, why: String) {
        (self.state, self.found) = (ProgramOutcome::Fails, why);
    }

    fn refuse(&mut self, refusal: &ProgramRefusal) {
        self.state = ProgramOutcome::Refused;
        self.found = refusal.to_string();
        self.verified = refusal.processed;
        self.errno = Some(refusal.errno.clone());
        self.reason = Some(refusal.reason.to_string());
        self.cure = Some(refusal.cure());
        self.said.clone_from(&refusal.said);
    }
}

/// Whether something can be had.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatapathVerdict {
    /// As `run` has it: `proxy`, or `kernel`.
    pub name: &'static str,
    /// Whether it works here.
    pub works: bool,
    /// False if the time was up before that was known.
    pub known: bool,
    /// Why, or why not.
    pub why: String,
    /// What can be done; empty if it works.
    pub cure: String,
}

/// Looks at the machine, and tries everything. `told` is called with each program that has come to its end.
///
/// Programs are tried in a thread: once the time is up there is an answer without it. A verifier ends with the process
/// (`fatal_signal_pending` in `do_check`, 5.10 to 6.18). Errors: the object of another build is none, or a log
/// cannot be written.
pub fn look(request: Request, told: impl FnMut(&ProgramReport)) -> Result<DoctorReport> {
    let machine = machine::findings();
    let Request { object, logs, within } = request;
    let is_other = object.is_some();
    let (programs, finished) = run_within(within, told, move |tell| match object {
        Some(object) => tries::other(&object, logs.as_ref(), tell),
        None => tries::built_in(logs.as_ref(), tell),
    })?;
    if is_other {
        let works = finished && programs.iter().all(|program| program.loaded);
        return Ok(DoctorReport { works, finished, machine, programs, datapaths: Vec::new(), assignment: Vec::new() });
    }
    Ok(report(machine, programs, finished))
}

/// Runs in a thread what tells of programs, and waits for its end, no longer than a limit if there is one. Returns what was told
/// last, and whether it came to its end.
fn run_within(
    limit: Option<Duration>,
    mut told: impl FnMut(&ProgramReport),
    run: impl FnOnce(tries::Tell<'_>) -> Result<()> + Send + 'static,
) -> Result<(Vec<ProgramReport>, bool)> {
    let (sender, receiver) = mpsc::channel::<Vec<ProgramReport>>();
    // Once the time is up the receiver is gone, and sending fails.
    let thread = thread::spawn(move || run(&|programs| drop(sender.send(programs.to_vec()))));
    let mut programs: Vec<ProgramReport> = Vec::new();
    let begin = Instant::now();
    loop {
        let left = limit.map_or(Duration::MAX, |limit| limit.saturating_sub(begin.elapsed()));
        match receiver.recv_timeout(left) {
            Ok(next) => {
                let is_over = |program: &ProgramReport| {
                    !matches!(program.state, ProgramOutcome::Checking | ProgramOutcome::NotTried)
                };
                let had = |at: usize| programs.get(at).is_some_and(is_over);
                next.iter()
                    .enumerate()
                    .filter(|(at, program)| is_over(program) && !had(*at))
                    .for_each(|(_, one)| told(one));
                programs = next;
            }
            Err(RecvTimeoutError::Disconnected) => {
                thread.join().map_err(|_| anyhow!("trying programs came to an unexpected end; please report it"))??;
                return Ok((programs, true));
            }
            Err(RecvTimeoutError::Timeout) => {
                let still = format!("still being checked by the kernel after {} s", begin.elapsed().as_secs());
                for program in &mut programs {
                    match program.state {
                        ProgramOutcome::Checking => program.found.clone_from(&still),
                        ProgramOutcome::NotTried if program.found.is_empty() => {
                            program.found = format!("not tried: {UP}");
                        }
                        ProgramOutcome::Loaded => program.leave(UP),
                        _ => {}
                    }
                }
                return Ok((programs, false));
            }
        }
    }
}

fn report(machine: Vec<MachineFinding>, programs: Vec<ProgramReport>, finished: bool) -> DoctorReport {
    let proxy = DatapathVerdict {
        name: "proxy",
        works: true,
        known: true,
        why: "the agent accepts, dials and relays; it needs nothing of the kernel's programs".to_owned(),
        cure: String::new(),
    };
    let of = |names: &[&str]| -> Vec<ProgramReport> {
        programs.iter().filter(|program| names.contains(&&*program.name)).cloned().collect()
    };
    let decides = "programs load, attach, and decide as a plan says";
    let kernel = verdict("kernel", decides, &machine, &of(&["assign", "explain"]));
    let clients = ["connect4", "connect6", "getpeername4", "getpeername6", "record"];
    let connect = verdict("connect", "a client was pointed at an endpoint", &machine, &of(&clients));
    let lookup = verdict("lookup", "a connection was handed to an endpoint", &machine, &of(&["lookup", "record"]));
    let agent = DatapathVerdict {
        name: "agent",
        works: true,
        known: true,
        why: "always: what --assign auto falls back to".to_owned(),
        cure: String::new(),
    };
    DoctorReport {
        works: kernel.works,
        finished,
        machine,
        programs,
        datapaths: vec![proxy, connect, lookup],
        assignment: vec![kernel, agent],
    }
}

/// The first hindrance that the machine shows has a cure; else what became of the programs says why.
fn verdict(name: &'static str, works: &str, machine: &[MachineFinding], programs: &[ProgramReport]) -> DatapathVerdict {
    if let Some(finding) = machine.iter().find(|finding| finding.state == FindingState::Missing) {
        let MachineFinding { what, found, cure, .. } = finding;
        return DatapathVerdict {
            name,
            works: false,
            known: true,
            why: format!("{what}: {found}"),
            cure: cure.clone(),
        };
    }
    match programs.iter().find(|program| !program.works) {
        None => DatapathVerdict { name, works: true, known: true, why: works.to_owned(), cure: String::new() },
        Some(program) => {
            let why = match (&program.reason, program.state) {
                (Some(reason), _) => format!("`{}` is refused: {reason}", program.name),
                (None, ProgramOutcome::NotTried | ProgramOutcome::Checking | ProgramOutcome::Loaded) => {
                    format!("`{}` is {}", program.name, program.found)
                }
                (None, _) => format!("`{}`: {}", program.name, program.found),
            };
            let cure = match program.state {
                ProgramOutcome::Checking => AGAIN.to_owned(),
                ProgramOutcome::NotTried | ProgramOutcome::Loaded if program.found.ends_with(UP) => AGAIN.to_owned(),
                ProgramOutcome::NotTried | ProgramOutcome::Loaded
                    if [REFUSED, FAILS].iter().any(|what| program.found.ends_with(what)) =>
                {
                    "see above".to_owned()
                }
                _ => program.cure.clone().unwrap_or_else(|| "the agent does without; report what is said".to_owned()),
            };
            DatapathVerdict { name, works: false, known: cure != AGAIN, why, cure }
        }
    }
}
