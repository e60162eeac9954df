//! Whether this machine's kernel can decide: found by trying it, on maps of its own, with nothing pinned.
//!
//! The program is attached to the cgroup of this process for a moment, by a link that goes with it. It sees no socket
//! but those of its own agent, so one that runs is not disturbed. It must not know how findings are shown.

mod machine;
mod tries;

use serde::Serialize;

/// All that was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether the kernel can decide for new connections.
    pub works: bool,
    /// What the machine has.
    pub machine: Vec<Finding>,
    /// What became of each program.
    pub programs: Vec<Program>,
    /// How connections can be carried.
    pub datapaths: Vec<Verdict>,
    /// Who can decide for new ones.
    pub assignment: Vec<Verdict>,
}

/// One thing of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// Whether it is as it is needed.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What can be done; empty if nothing has to be.
    pub cure: String,
}

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// As it is needed.
    Ok,
    /// No hindrance, and good to know.
    Note,
    /// The kernel cannot decide so.
    Missing,
}

/// One program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// Its name in the object, and for `bpftool`.
    pub name: &'static str,
    /// Its type, as `bpftool` says it.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether the kernel took it.
    pub loaded: bool,
    /// How many instructions the verifier followed, if the kernel says so.
    pub verified: Option<u32>,
    /// Whether it did what it is for.
    pub works: bool,
    /// What it did, or why not.
    pub found: String,
}

/// Whether something can be had.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// As `run` has it: `proxy`, or `kernel`.
    pub name: &'static str,
    /// Whether it works here.
    pub works: bool,
    /// Why, or why not.
    pub why: String,
    /// What can be done; empty if it works.
    pub cure: String,
}

/// Looks at the machine, and tries everything.
pub fn look() -> Report {
    let machine = machine::findings();
    let programs = tries::programs();
    let proxy = Verdict {
        name: "proxy",
        works: true,
        why: "the agent accepts, dials and relays; it needs nothing of the kernel's programs".to_owned(),
        cure: String::new(),
    };
    let of = |names: &[&str]| -> Vec<Program> {
        programs.iter().filter(|program| names.contains(&program.name)).cloned().collect()
    };
    let decides = "programs load, attach, and decide as a plan says";
    let kernel = verdict("kernel", decides, &machine, &of(&["assign", "explain"]));
    let clients = ["connect4", "connect6", "getpeername4", "getpeername6", "record"];
    let connect = verdict("connect", "a client was pointed at an endpoint", &machine, &of(&clients));
    let lookup = verdict("lookup", "a connection was handed to an endpoint", &machine, &of(&["lookup", "record"]));
    let agent = Verdict {
        name: "agent",
        works: true,
        why: "always: what --assign auto falls back to".to_owned(),
        cure: String::new(),
    };
    Report {
        works: kernel.works,
        machine,
        programs,
        datapaths: vec![proxy, connect, lookup],
        assignment: vec![kernel, agent],
    }
}

/// The first hindrance that the machine shows has a cure; else what became of the programs says why.
fn verdict(name: &'static str, works: &str, machine: &[Finding], programs: &[Program]) -> Verdict {
    if let Some(finding) = machine.iter().find(|finding| finding.state == State::Missing) {
        let Finding { what, found, cure, .. } = finding;
        return Verdict { name, works: false, why: format!("{what}: {found}"), cure: cure.clone() };
    }
    match programs.iter().find(|program| !program.works) {
        None => Verdict { name, works: true, why: works.to_owned(), cure: String::new() },
        Some(program) => Verdict {
            name,
            works: false,
            why: format!("`{}`: {}", program.name, program.found),
            cure: "the agent does without; report what is said".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_says_what_is_in_the_way() {
        let program = |works| Program {
            name: "assign",
            kind: "sock_ops",
            loaded: works,
            verified: None,
            works,
            found: "no".to_owned(),
        };
        let finding = |state| Finding { what: "x", state, found: "y".to_owned(), cure: "z".to_owned() };
        assert!(verdict("x", "w", &[finding(State::Ok), finding(State::Note)], &[program(true)]).works);
        let refused = verdict("x", "w", &[finding(State::Note)], &[program(true), program(false)]);
        assert!(!refused.works && refused.why == "`assign`: no", "{refused:?}");
        let lacking = verdict("x", "w", &[finding(State::Missing)], &[program(false)]);
        assert_eq!((lacking.works, lacking.why.as_str(), lacking.cure.as_str()), (false, "x: y", "z"));
    }
}
