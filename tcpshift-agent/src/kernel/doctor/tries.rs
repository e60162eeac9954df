//! Programs that are loaded, attached and run, on maps of their own, by a plan of their own (`tries/plan.rs`).

mod plan;
mod run;

use std::panic;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aya::Ebpf;

use super::super::capabilities;
use super::super::cgroup::Cgroup;
use super::super::features::Features;
use super::super::trial::Trial;
use super::super::verifier::ProgramRefusal;
use super::super::{KernelOptions, Loading, OnLoss, SteeringOptions, load};
use super::{FAILS, Logs, ProgramOutcome, ProgramReport, REFUSED};

/// Tells how far it is: all programs, after each step.
pub(super) type Tell<'a> = &'a dyn Fn(&[ProgramReport]);

/// Loads, attaches and runs the programs that are built in.
pub(super) fn built_in(logs: Option<&Logs>, tell: Tell<'_>) -> Result<()> {
    let mut programs: Vec<_> = load::PROGRAMS.into_iter().map(|(name, kind)| ProgramReport::new(name, kind)).collect();
    tell(&programs);
    let opened = Cgroup::own().and_then(|cgroup| {
        // The programs steer this process alone, so no other client is affected, not even briefly.
        let asked = SteeringOptions { cgroup: Some(cgroup.path), on_loss: OnLoss::Keep, patience: Duration::ZERO };
        Loading::open(&KernelOptions { max_routes: 1, steering: Ok(asked) })
    });
    let mut loading = match opened {
        Ok(loading) => loading,
        Err(error) => {
            not_tried(&mut programs, &format!("{error:#}"));
            tell(&programs);
            return Ok(());
        }
    };
    let mut is_taken = true;
    if let Some(logs) = logs {
        let object = load::built_in().context("this agent was built without the kernel's programs")?;
        let trial = Trial::new(&load::fit(object, loading.features)?, &loading.ebpf)?;
        let names = load::PROGRAMS.map(|(name, _)| name.to_owned());
        is_taken = by_itself(&mut programs, &names, &trial, Some(logs), tell)?;
    }
    if is_taken {
        one_by_one(&mut programs, &mut loading, tell);
    }
    let is_wrong = |program: &&ProgramReport| matches!(program.state, ProgramOutcome::Refused | ProgramOutcome::Fails);
    let refused = programs.iter().find(is_wrong).map(first_wrong);
    // As an agent does: it decides by `assign` alone, and steers by all of the others or not at all.
    let steers = programs.iter().filter(|program| is_for_steering(&program.name)).all(has);
    if let (false, Some(refused)) = (steers, &refused) {
        loading.steering = Err(refused.clone());
    }
    if programs.iter().any(|program| program.name == "assign" && has(program)) {
        match loading.finish() {
            Ok(mut kernel) => run::run(&mut programs, &mut kernel, steers, tell),
            Err(error) => {
                for program in programs.iter_mut().filter(|program| has(program)) {
                    program.fail(format!("{error:#}"));
                }
            }
        }
    }
    if let Some(refused) = refused {
        programs.iter_mut().filter(|program| has(program)).for_each(|program| program.leave(&refused));
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

/// Whether a program serves connections without the agent.
fn is_for_steering(name: &str) -> bool {
    !matches!(name, "assign" | "explain")
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

/// Has the verifier follow each program, and keeps its logs if they are wanted; then none is left out, else the first that is
/// refused is the last one. `names` are theirs as the object has them, which may not be fit to be shown. Returns whether all of
/// them are taken.
fn by_itself(
    programs: &mut [ProgramReport],
    names: &[String],
    trial: &Trial,
    logs: Option<&Logs>,
    tell: Tell<'_>,
) -> Result<bool> {
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
        if logs.is_none() && programs[at].state != ProgramOutcome::Loaded {
            let why = first_wrong(&programs[at]);
            not_tried(&mut programs[at + 1..], &why);
            return Ok(false);
        }
    }
    Ok(programs.iter().all(|program| program.state == ProgramOutcome::Loaded))
}

/// Has the kernel take the programs as an agent does, up to the first that it refuses.
fn one_by_one(programs: &mut [ProgramReport], loading: &mut Loading, tell: Tell<'_>) {
    let steering = loading.steering.as_ref().err().cloned();
    for at in 0..programs.len() {
        let name = programs[at].name.clone();
        if let Some(why) = steering.as_ref().filter(|_| is_for_steering(&name)) {
            not_tried(&mut programs[at..=at], why);
            continue;
        }
        programs[at].state = ProgramOutcome::Checking;
        tell(programs);
        match load::take(&mut loading.ebpf, &name) {
            Ok(_) => {
                let verified = load::verified(&loading.ebpf, &name).ok().flatten();
                programs[at].load(verified.or_else(|| statistics(loading, &name)));
                tell(programs);
            }
            Err(error) => {
                match error.downcast_ref::<ProgramRefusal>() {
                    Some(refusal) => programs[at].refuse(refusal),
                    None => programs[at].fail(format!("{error:#}")),
                }
                let why = first_wrong(&programs[at]);
                return not_tried(&mut programs[at + 1..], &why);
            }
        }
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
