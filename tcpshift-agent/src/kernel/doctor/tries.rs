//! Programs that are loaded, attached and run, on maps of their own, by a plan of their own (`tries/plan.rs`).

mod plan;
mod run;

use std::panic;

use anyhow::{Context, Result, bail, ensure};
use aya::Ebpf;

use super::super::capabilities;
use super::super::features::Features;
use super::super::load::Ability;
use super::super::loading::Loading;
use super::super::trial::Trial;
use super::super::verifier::ProgramRefusal;
use super::super::{KernelOptions, load};
use super::{FAILS, Logs, ProgramOutcome, ProgramReport, REFUSED};

/// Tells how far it is: all programs, after each step.
pub(super) type Tell<'a> = &'a dyn Fn(&[ProgramReport]);

/// Loads, attaches and runs the programs that are built in.
pub(super) fn built_in(logs: Option<&Logs>, tell: Tell<'_>) -> Result<()> {
    let mut programs: Vec<_> = load::PROGRAMS.iter().map(|row| ProgramReport::new(row.name, row.kind)).collect();
    tell(&programs);
    let opened = KernelOptions::of_this_cgroup().and_then(|options| Loading::open(&options));
    let mut loading = match opened {
        Ok(loading) => loading,
        Err(error) => {
            not_tried(&mut programs, &format!("{error:#}"));
            tell(&programs);
            return Ok(());
        }
    };
    if let Some(logs) = logs {
        let object = load::built_in().context("this agent was built without the kernel's programs")?;
        let trial = Trial::new(&load::fit(object, loading.features)?, &loading.ebpf)?;
        let names: Vec<_> = load::PROGRAMS.iter().map(|row| row.name.to_owned()).collect();
        by_itself(&mut programs, &names, &trial, Some(logs), tell)?;
    }
    one_by_one(&mut programs, &mut loading, tell);
    if programs.iter().any(|program| program.name == "assign" && has(program)) {
        match loading.finish() {
            Ok(mut kernel) => run::run(&mut programs, &mut kernel, tell),
            Err(error) => {
                for program in programs.iter_mut().filter(|program| has(program)) {
                    program.fail(format!("{error:#}"));
                }
            }
        }
    }
    let wrong = programs.iter().find(|program| is_wrong(program)).map(first_wrong);
    if let Some(wrong) = wrong {
        programs.iter_mut().filter(|program| has(program)).for_each(|program| program.leave(&wrong));
    }
    tell(&programs);
    Ok(())
}

/// Why those after a program are not tried, which is refused or fails.
fn first_wrong(program: &ProgramReport) -> String {
    let what = if program.state == ProgramOutcome::Refused { REFUSED } else { FAILS };
    format!("`{}` {what}", program.name)
}

/// Whether the kernel has it, and it was not run.
fn has(program: &ProgramReport) -> bool {
    program.state == ProgramOutcome::Loaded
}

/// Whether a program keeps what needs it from being had.
fn is_wrong(program: &ProgramReport) -> bool {
    matches!(program.state, ProgramOutcome::Refused | ProgramOutcome::Fails)
}

/// Loads the programs of another build. They are not run: they may mean other maps than this agent's.
pub(super) fn other(object: &[u8], logs: Option<&Logs>, tell: Tell<'_>) -> Result<()> {
    let missing = capabilities::missing()?;
    ensure!(missing.is_empty(), "this process lacks {}; run it as root", missing.join(", "));
    let (_ebpf, trial) = open(object)?;
    let (names, kinds): (Vec<_>, Vec<_>) = trial.programs().into_iter().unzip();
    let program = |(name, kind): (&String, Option<&'static str>)| ProgramReport::new(name, kind.unwrap_or("other"));
    let mut programs: Vec<_> = names.iter().zip(kinds).map(program).collect();
    ensure!(!programs.is_empty(), "there is no program in it");
    by_itself(&mut programs, &names, &trial, logs, tell)?;
    tell(&programs);
    Ok(())
}

/// Reads an object of another build. aya trusts the lengths in a file, and panics where one is wrong.
fn open(object: &[u8]) -> Result<(Ebpf, Trial)> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let features = Features::probe()?;
    let opened = panic::catch_unwind(|| {
        let object = &load::fit(object, features)?;
        let ebpf = load::open_other(object, features)?;
        let trial = Trial::new(object, &ebpf)?;
        Ok((ebpf, trial))
    });
    panic::set_hook(hook);
    opened.unwrap_or_else(|_| bail!("it is no object of programs, or a damaged one"))
}

/// Has the verifier follow each program, and keeps its logs if they are wanted. `names` are theirs as the object has them, which
/// may not be fit to be shown.
fn by_itself(
    programs: &mut [ProgramReport],
    names: &[String],
    trial: &Trial,
    logs: Option<&Logs>,
    tell: Tell<'_>,
) -> Result<()> {
    for (at, name) in names.iter().enumerate() {
        programs[at].state = ProgramOutcome::Checking;
        tell(programs);
        match trial.load(name) {
            Ok(tried) => {
                match tried.taken {
                    Ok(()) => programs[at].load(tried.verified),
                    Err(refusal) => programs[at].refuse(&refusal),
                }
                if let Some(logs) = logs {
                    // A log that is full may lack its end, which says why.
                    let last = programs[at].said.join("\n");
                    logs.write(name, format!("{}\n{last}", trial.log(name)?.trim_end()).trim_end())?;
                }
            }
            Err(error) => programs[at].fail(format!("{error:#}")),
        }
        tell(programs);
    }
    Ok(())
}

/// Has the kernel take the programs as an agent does, but for those that it has refused before.
fn one_by_one(programs: &mut [ProgramReport], loading: &mut Loading, tell: Tell<'_>) {
    let steering = loading.steering.as_ref().err().cloned();
    for (at, row) in load::PROGRAMS.iter().enumerate() {
        if programs[at].state == ProgramOutcome::Refused {
            continue;
        }
        if let Some(why) = steering.as_ref().filter(|_| !row.is_for(Ability::Assign)) {
            not_tried(&mut programs[at..=at], why);
            continue;
        }
        programs[at].state = ProgramOutcome::Checking;
        tell(programs);
        match load::take(&mut loading.ebpf, row.name) {
            Ok(_) => {
                let verified = load::verified(&loading.ebpf, row.name).ok().flatten();
                programs[at].load(verified.or_else(|| statistics(loading, row.name)));
            }
            Err(error) => match error.downcast_ref::<ProgramRefusal>() {
                Some(refusal) => programs[at].refuse(refusal),
                None => programs[at].fail(format!("{error:#}")),
            },
        }
        tell(programs);
    }
}

/// Instructions that the verifier follows, from its log, where the kernel does not tell them otherwise.
fn statistics(loading: &Loading, name: &str) -> Option<u32> {
    let object = load::fit(load::built_in()?, loading.features).ok()?;
    Trial::new(&object, &loading.ebpf).ok()?.load(name).ok()?.verified
}

fn not_tried(programs: &mut [ProgramReport], why: &str) {
    for program in programs {
        (program.state, program.found) = (ProgramOutcome::NotTried, format!("not tried: {why}"));
    }
}
