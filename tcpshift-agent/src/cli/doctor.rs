//! `doctor`: whether this machine's kernel can decide for new connections, and why not.

use clap::Args;

use super::outcome::{Done, Stop};
use super::place::{self, AdminAddress};
use super::table::Table;
use super::{JsonOnly, screen};
use crate::kernel::{self, Finding, Program, Report, State, Verdict};

const AFTER: &str = "\
Examples:
  sudo tcpshift-agent doctor
  sudo tcpshift-agent doctor -o json

Programs are loaded, attached and run on maps of their own, in the cgroup that this command is in; an agent that runs \
is not disturbed, and nothing is left. A STATE of missing is a hindrance, a note is none.

Exit codes: 0 the kernel can decide (run --assign kernel), 1 it cannot, and the agent decides.";

/// Try whether the kernel can decide for new connections here, and say what is missing
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub(super) struct Arguments {
    /// Print all of it as JSON
    #[arg(short, long, value_enum, value_name = "json", hide_possible_values = true)]
    output: Option<JsonOnly>,

    // Accepted as by every command; there is nothing to ask an agent here.
    #[arg(long, hide = true, value_parser = place::admin_address)]
    admin: Option<AdminAddress>,
}

pub(super) fn execute(arguments: &Arguments) -> Result<Done, Stop> {
    let report = kernel::look();
    screen::print(&match arguments.output {
        Some(JsonOnly::Json) => screen::json(&report)?,
        None => text(&report),
    })?;
    Ok(if report.works { Done::Well } else { Done::Failed })
}

fn text(report: &Report) -> String {
    let Report { works: _, machine, programs, datapaths, assignment } = report;
    let mut findings = Table::new(["MACHINE", "STATE", "FOUND", "CURE"]);
    for Finding { what, state, found, cure } in machine {
        let state = match state {
            State::Ok => "ok",
            State::Note => "note",
            State::Missing => "missing",
        };
        findings.push(&[(*what).to_owned(), state.to_owned(), found.clone(), cure.clone()]);
    }
    let mut tried = Table::new(["PROGRAM", "TYPE", "LOADED", "VERIFIED", "WORKS", "FOUND"]);
    for Program { name, kind, loaded, verified, works, found } in programs {
        let verified = verified.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let row = [(*name).to_owned(), (*kind).to_owned(), yes(*loaded), verified, yes(*works), found.clone()];
        tried.push(&row);
    }
    let sections = [
        findings.without_empty("CURE").text(),
        tried.text(),
        verdicts("DATAPATH", datapaths),
        verdicts("ASSIGNMENT", assignment),
    ];
    sections.join("\n")
}

fn verdicts(heading: &str, verdicts: &[Verdict]) -> String {
    let mut table = Table::new([heading, "WORKS", "WHY", "CURE"]);
    for Verdict { name, works, why, cure } in verdicts {
        table.push(&[(*name).to_owned(), yes(*works), why.clone(), cure.clone()]);
    }
    table.without_empty("CURE").text()
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_found_has_its_line() {
        let verdict =
            |name, works: bool, cure: &str| Verdict { name, works, why: "why".to_owned(), cure: cure.to_owned() };
        let report = Report {
            works: false,
            machine: vec![
                Finding { what: "kernel", state: State::Ok, found: "6.1".to_owned(), cure: String::new() },
                Finding {
                    what: "cgroup2",
                    state: State::Missing,
                    found: "none".to_owned(),
                    cure: "mount it".to_owned(),
                },
            ],
            programs: vec![Program {
                name: "assign",
                kind: "sock_ops",
                loaded: true,
                verified: Some(1_234),
                works: false,
                found: "not\nattached".to_owned(),
            }],
            datapaths: vec![verdict("proxy", true, "")],
            assignment: vec![verdict("kernel", false, "mount it")],
        };
        let expected = "\
MACHINE   STATE     FOUND   CURE
kernel    ok        6.1
cgroup2   missing   none    mount it

PROGRAM   TYPE       LOADED   VERIFIED   WORKS   FOUND
assign    sock_ops   yes      1234       no      not attached

DATAPATH   WORKS   WHY
proxy      yes     why

ASSIGNMENT   WORKS   WHY   CURE
kernel       no      why   mount it
";
        assert_eq!(text(&report), expected);
    }
}
