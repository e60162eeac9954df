//! `doctor`: whether this machine's kernel can decide for new connections, and why not.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::defaults::{self, AdminAddress};
use super::stop::{Done, Stop};
use super::table::{TextTable, wrap};
use super::{JsonOnly, screen};
use crate::kernel::{
    self, DatapathVerdict, DoctorReport, FindingState, LOG_BYTES, Logs, MachineFinding, ProgramOutcome, ProgramReport,
    Request,
};

const AFTER: &str = "\
Examples:
  sudo tcpshift-agent doctor
  sudo tcpshift-agent doctor -o json
  sudo tcpshift-agent doctor --log /root/doctor
  sudo tcpshift-agent doctor --object target/bpf/tcpshift

Programs are loaded, attached and run on maps of their own, in the cgroup that this command is in; an agent that runs \
is not disturbed, and nothing is left. A STATE of missing is a hindrance, a note is none. VERIFIED is how many \
instructions the kernel's verifier followed. The first program that the kernel refuses is the last one that is tried, \
and after 8 s, or the time of --within, the answer is what is known by then.

Exit codes: 0 the kernel can decide (run --assign kernel), 1 it cannot, and the agent decides; with --object: 0 it takes \
all programs, 1 it does not. 75 the time was up before all programs were tried; 2 usage.";

/// How long an answer takes at most, if nothing else is asked for.
const LIMIT: Duration = Duration::from_secs(8);

/// Columns of a terminal, and lines of an answer.
const COLUMNS: usize = 80;
const LINES: usize = 60;

/// Characters of a cell at most, and programs with a line of their own.
const CELL: usize = 200;
const PROGRAMS: usize = 20;

/// Bytes of an object at most; ours has about one million.
const OBJECT: u64 = 64 << 20;

/// Try whether the kernel can decide for new connections here, and say what is missing
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct DoctorArguments {
    /// Print all of it as JSON
    #[arg(short, long, value_enum, value_name = "json", hide_possible_values = true)]
    output: Option<JsonOnly>,

    /// Write what the verifier says of each program to DIR/PROGRAM.log, readable by root alone: of one that it takes, its
    /// statistics; of one that it refuses, every instruction on the way to where it does, 4 MiB at most. Every program is
    /// tried by itself, however long that takes if --within does not say otherwise
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,

    /// Answer after so many seconds at most, with what is known by then; 8 without --log
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    within: Option<u64>,

    /// Try the programs of another build, such as one to be upgraded to: the object that `cargo xtask build-ebpf` makes. They
    /// are loaded, and not run
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,

    // Accepted as by every command; there is nothing to ask an agent here.
    #[arg(long, hide = true, value_parser = defaults::admin_address)]
    admin: Option<AdminAddress>,
}

pub(super) fn execute(arguments: &DoctorArguments) -> Result<Done, Stop> {
    let failed = |error: anyhow::Error| Stop::Failed(format!("{error:#}"));
    let object = arguments.object.as_deref().map(read).transpose()?;
    let logs = arguments.log.as_deref().map(Logs::open).transpose().map_err(failed)?;
    let is_watched = logs.is_some() && std::io::stderr().is_terminal();
    let told = |program: &ProgramReport| {
        if is_watched {
            screen::note(&format!("{}: {}", program.name, state(program)));
        }
    };
    let usual = logs.is_none().then_some(LIMIT);
    let within = arguments.within.map(Duration::from_secs).or(usual);
    let report = kernel::look(Request { object, logs, within }, told).map_err(|error| match &arguments.object {
        Some(path) => Stop::Failed(format!("{}: {error:#}", path.display())),
        None => failed(error),
    })?;
    screen::print(&match arguments.output {
        Some(JsonOnly::Json) => screen::json(&report)?,
        None => text(&report, arguments.log.as_deref()),
    })?;
    Ok(match report {
        DoctorReport { finished: false, .. } => Done::Unfinished,
        DoctorReport { works: true, .. } => Done::Well,
        DoctorReport { works: false, .. } => Done::Failed,
    })
}

/// The object of another build. A pipe would be waited for, for longer than an answer may take.
fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    let cannot = |error| Stop::Failed(format!("cannot read {}: {error}", path.display()));
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err(Stop::Failed(format!("cannot read {}: it is no regular file", path.display())));
    }
    let mut object = Vec::new();
    file.take(OBJECT + 1).read_to_end(&mut object).map_err(cannot)?;
    if object.len() as u64 > OBJECT {
        let path = path.display();
        return Err(Stop::Failed(format!("{path} has more than {} MiB: it is no object of programs", OBJECT >> 20)));
    }
    Ok(object)
}

/// The report for people: not more than [`LINES`] lines, whatever the kernel says.
fn text(report: &DoctorReport, logs: Option<&Path>) -> String {
    let DoctorReport { works: _, finished, machine, programs, datapaths, assignment } = report;
    let mut findings = TextTable::new(["MACHINE", "STATE", "FOUND"]);
    for MachineFinding { what, state, found, cure } in machine {
        let state = match state {
            FindingState::Ok => "ok",
            FindingState::Note => "note",
            FindingState::Missing => "missing",
        };
        findings.push(&[(*what).to_owned(), state.to_owned(), cut(found, CELL)]);
        if !cure.is_empty() {
            findings.push(&[String::new(), String::new(), format!("cure: {}", cut(cure, CELL))]);
        }
    }
    let mut tried = TextTable::new(["PROGRAM", "TYPE", "VERIFIED", "STATE"]);
    for program in programs.iter().take(PROGRAMS) {
        let verified = program.verified.map_or_else(|| "-".to_owned(), |count| count.to_string());
        tried.push(&[cut(&program.name, 24), program.kind.to_owned(), verified, state(program)]);
    }
    let mut sections = vec![findings.text_within(COLUMNS), tried.text_within(COLUMNS)];
    if programs.len() > PROGRAMS {
        sections.push(format!("and {} other programs, which `-o json` shows\n", programs.len() - PROGRAMS));
    }
    sections.extend(programs.iter().find(|program| is_wrong(program)).map(|program| wrong(program, logs.is_some())));
    if !finished {
        let said = "The time was up before all programs were tried. Try again when this machine is less busy, or with more \
                    time, such as --within 60.";
        sections.push(wrap(said, COLUMNS).join("\n") + "\n");
    }
    if let Some(logs) = logs {
        let most = LOG_BYTES >> 20;
        let said = format!("What the verifier says of each program, {most} MiB at most, is in {}.", logs.display());
        sections.push(wrap(&said, COLUMNS).join("\n") + "\n");
    }
    for (heading, verdicts) in [("DATAPATH", datapaths), ("ASSIGNMENT", assignment)] {
        if !verdicts.is_empty() {
            sections.push(self::verdicts(heading, verdicts));
        }
    }
    let text = sections.join("\n");
    let lines: Vec<_> = text.lines().collect();
    if lines.len() <= LINES {
        return text;
    }
    format!("{}\n... `-o json` has all of it\n", lines[..LINES - 1].join("\n"))
}

/// How far a program has come, in a word or two.
fn state(program: &ProgramReport) -> String {
    match (program.state, &program.errno) {
        (ProgramOutcome::Works, _) => "works".to_owned(),
        (ProgramOutcome::Loaded, _) => "loaded".to_owned(),
        (ProgramOutcome::Fails, _) => "fails".to_owned(),
        (ProgramOutcome::Refused, None) => "refused".to_owned(),
        (ProgramOutcome::Refused, Some(errno)) => format!("refused ({errno})"),
        (ProgramOutcome::Checking, _) => cut(&program.found, CELL),
        (ProgramOutcome::NotTried, _) => "not tried".to_owned(),
    }
}

fn is_wrong(program: &ProgramReport) -> bool {
    // A reason that all programs have is printed for the machine, or for the first program.
    matches!(program.state, ProgramOutcome::Refused | ProgramOutcome::Fails)
}

/// What is wrong with a program, and what to do.
fn wrong(program: &ProgramReport, is_logged: bool) -> String {
    let ProgramReport { name, state, found, errno, reason, cure, said, verified, .. } = program;
    let (ProgramOutcome::Refused, Some(errno), Some(reason)) = (state, errno, reason) else {
        return wrap(&format!("`{name}`: {}", cut(found, 2 * CELL)), COLUMNS).join("\n") + "\n";
    };
    let after = verified.map(|count| format!(" after {count} instructions")).unwrap_or_default();
    let end = if said.is_empty() { "." } else { ":" };
    let mut lines = wrap(&format!("The kernel refuses `{name}` ({errno}{after}){end}"), COLUMNS);
    for line in said {
        lines.push(format!("    {}", cut(line, COLUMNS - 4)));
    }
    let more = if is_logged { "" } else { "`tcpshift-agent doctor --log DIR` keeps the verifier's logs" };
    let facts = [("why", reason.as_str()), ("cure", cure.as_deref().unwrap_or_default()), ("more", more)];
    for (word, fact) in facts.into_iter().filter(|(_, fact)| !fact.is_empty()) {
        for (at, line) in wrap(fact, COLUMNS - 7).into_iter().enumerate() {
            let word = if at == 0 { word } else { "" };
            lines.push(format!("{word:<7}{line}"));
        }
    }
    lines.join("\n") + "\n"
}

/// A text of at most `most` characters, the end of a longer one left out.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 3).chain("...".chars()).collect()
}

fn verdicts(heading: &str, verdicts: &[DatapathVerdict]) -> String {
    let mut table = TextTable::new([heading, "WORKS", "WHY"]);
    for DatapathVerdict { name, works, known, why, cure } in verdicts {
        let works = match (works, known) {
            (_, false) => "?",
            (true, true) => "yes",
            (false, true) => "no",
        };
        table.push(&[(*name).to_owned(), works.to_owned(), cut(why, CELL)]);
        if !cure.is_empty() {
            table.push(&[String::new(), String::new(), format!("cure: {}", cut(cure, CELL))]);
        }
    }
    table.text_within(COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, state: ProgramOutcome, found: &str) -> ProgramReport {
        ProgramReport {
            name: name.to_owned(),
            kind: "sock_ops",
            state,
            loaded: matches!(state, ProgramOutcome::Works | ProgramOutcome::Loaded),
            verified: None,
            works: state == ProgramOutcome::Works,
            found: found.to_owned(),
            errno: None,
            reason: None,
            cure: None,
            said: Vec::new(),
        }
    }

    fn refused() -> ProgramReport {
        ProgramReport {
            verified: Some(262_232),
            errno: Some("EFAULT".to_owned()),
            reason: Some("it is too complex for this kernel's verifier".to_owned()),
            cure: Some("a newer kernel".to_owned()),
            said: vec![format!("12: {}", "x".repeat(200)), "The sequence of 8193 jumps is too complex.".to_owned()],
            ..program("assign", ProgramOutcome::Refused, "")
        }
    }

    fn verdict(name: &'static str, works: bool, cure: &str) -> DatapathVerdict {
        DatapathVerdict { name, works, known: true, why: "why".to_owned(), cure: cure.to_owned() }
    }

    #[test]
    fn everything_found_has_its_line() {
        let report = DoctorReport {
            works: false,
            finished: true,
            machine: vec![
                MachineFinding {
                    what: "kernel",
                    state: FindingState::Ok,
                    found: "6.1".to_owned(),
                    cure: String::new(),
                },
                MachineFinding {
                    what: "cgroup2",
                    state: FindingState::Missing,
                    found: "none".to_owned(),
                    cure: "mount it".to_owned(),
                },
            ],
            programs: vec![refused(), program("explain", ProgramOutcome::NotTried, "not tried: `assign` is refused")],
            datapaths: vec![verdict("proxy", true, "")],
            assignment: vec![verdict("kernel", false, "mount it")],
        };
        let expected = "\
MACHINE   STATE     FOUND
kernel    ok        6.1
cgroup2   missing   none
                    cure: mount it

PROGRAM   TYPE       VERIFIED   STATE
assign    sock_ops   262232     refused (EFAULT)
explain   sock_ops   -          not tried

The kernel refuses `assign` (EFAULT after 262232 instructions):
    12: CUT...
    The sequence of 8193 jumps is too complex.
why    it is too complex for this kernel's verifier
cure   a newer kernel
more   `tcpshift-agent doctor --log DIR` keeps the verifier's logs

DATAPATH   WORKS   WHY
proxy      yes     why

ASSIGNMENT   WORKS   WHY
kernel       no      why
                     cure: mount it
";
        assert_eq!(text(&report, None), expected.replace("CUT", &"x".repeat(69)));
    }

    #[test]
    fn whatever_is_found_the_answer_has_sixty_lines_of_eighty_columns() {
        let long = "a word and another ".repeat(1_000);
        let finding = |_| MachineFinding {
            what: "capabilities",
            state: FindingState::Note,
            found: long.clone(),
            cure: long.clone(),
        };
        let programs = (0..1_000).map(|_| ProgramReport { said: vec!["y".repeat(200); 6], ..refused() });
        let long_verdict =
            |name| DatapathVerdict { name, works: false, known: false, why: long.clone(), cure: long.clone() };
        let report = DoctorReport {
            works: false,
            finished: false,
            machine: (0..7).map(finding).collect(),
            programs: programs.collect(),
            datapaths: vec![long_verdict("connect"); 3],
            assignment: vec![long_verdict("kernel"); 2],
        };
        let text = text(&report, None);
        assert!(text.lines().count() <= LINES, "{}", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(text.ends_with("`-o json` has all of it\n"), "{text}");
    }
}
