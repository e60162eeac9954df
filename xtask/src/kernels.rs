//! `cargo xtask kernels`: tcpshift on other kernels. Each is one of Debian's, in a machine that is emulated, in which scenarios
//! are tried.
//!
//! [`mod@archive`] has the kernels, [`mod@system`] what runs on them, [`mod@machine`] runs it, [`mod@verdict`] holds what it says
//! against what is expected, and [`mod@report`] shows all of it. What is tried is known to the package of the tests alone.

mod archive;
mod budgets;
mod exceptions;
mod machine;
mod report;
mod system;
mod verdict;
mod version;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use self::archive::{Archive, ArchivedKernel};
use self::machine::{Accelerator, MachineEnd, VirtualMachine};
use self::system::{Needs, System};
use self::verdict::{Judged, ScenarioLine, ScenarioVerdict};
use self::version::{KernelChoice, Version};
use crate::cargo::{cargo, said, target, workspace};
use crate::{build_ebpf, setup, step};

/// Kernels that are tried if none is asked for: the oldest that is looked at, Debian 12, one exact kernel each of Debian 13's
/// series and of the newest series with long support, and the newest ones.
const USUAL: [&str; 6] = ["5.10", "6.1", "6.12.43", "6.12", "6.18.15", "newest"];

/// Of a test run: the oldest kernel, that of Debian 12, and the newest.
const SHORT: [KernelChoice; 3] = [KernelChoice::Series(5, 10), KernelChoice::Series(6, 1), KernelChoice::Newest];

/// Scenarios of a test run.
const SHORT_SCENARIOS: [&str; 5] = ["doctor", "auto", "walk lookup v4", "walk connect v6", "kill connect"];

/// Processors of a machine at most.
const MOST_PROCESSORS: usize = 4;

/// Columns of a name, as `scenarios list` prints it.
const NAME: usize = 20;

/// Where the report is written to.
const REPORT: &str = "docs/kernels.md";

/// What is tried, and where.
#[derive(Args)]
pub(crate) struct Kernels {
    /// A series such as 6.12, whose newest is taken; a version such as 6.12.43, or the newest of its series where Debian has it
    /// no more; or newest
    #[arg(value_name = "VERSION", default_values = USUAL)]
    versions: Vec<KernelChoice>,

    /// Try this scenario alone, by its name or the first words of it; may be given several times
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,

    /// Machines that run at once, and share this machine's processors; as many as there are processors, if not given
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: Option<u16>,

    /// Write docs/kernels.md, of the usual kernels
    #[arg(long, conflicts_with_all = ["scenario", "versions"])]
    write: bool,
}

/// What one kernel came to.
#[derive(Debug)]
struct Tried {
    asked: KernelChoice,
    version: Version,
    ended: MachineEnd,
    verdicts: Vec<(ScenarioVerdict, Judged)>,
    /// What `doctor -o json` printed, if it was asked for.
    doctor: Value,
    /// What is not as it was expected, beside verdicts.
    faults: Vec<String>,
}

impl Tried {
    fn is_well(&self) -> bool {
        self.faults.is_empty() && self.verdicts.iter().all(|(_, judged)| judged.is_well())
    }
}

impl Kernels {
    /// Those of a test run.
    pub(crate) fn short() -> Self {
        Self {
            versions: SHORT.to_vec(),
            scenario: SHORT_SCENARIOS.map(str::to_owned).into(),
            at_once: None,
            write: false,
        }
    }

    /// Builds, tries, and prints what came of it; fails if anything is not as it is expected to be.
    pub(crate) fn run(&self) -> Result<()> {
        let begin = Instant::now();
        ensure!(cfg!(target_arch = "x86_64"), "the kernels are those of amd64, and so must be what runs on them");
        setup::setup(&setup::KERNELS)?;
        step("kernels of Debian's archive");
        let folder = target().join("kernels");
        let _lock = lock(&folder)?;
        let chosen = choose(&folder, &self.versions)?;
        build_ebpf::build_ebpf()?;
        step("build, as it is released");
        cargo(&["build", "--quiet", "--release", "--package", "tcpshift-agent", "--package", "tcpshift-tests"], &[])?;
        let system = self.system(&folder)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = self.at_once.map_or(processors, usize::from).min(chosen.len()).max(1);
        let each = (processors / at_once).clamp(1, MOST_PROCESSORS);
        let mut machines: Vec<_> = chosen
            .iter()
            .map(|(asked, version, files)| Ok((*asked, *version, machine(&folder, &system, *version, files, each)?)))
            .collect::<Result<_>>()?;
        let (_, _, first) = machines.first().context("no kernel is asked for")?;
        let accelerator = Accelerator::find(first)?;
        let by = if accelerator == Accelerator::Hardware { "by hardware" } else { "in emulation, which is slow" };
        let (count, s) = (machines.len(), if each == 1 { "" } else { "s" });
        step(&format!("{count} machines of {each} processor{s}, {at_once} at once, {by}"));
        // Those that end early fill what is left of the time of others.
        machines.sort_by_key(|(_, version, _)| exceptions::any(*version));
        let mut tried = side_by_side(machines, at_once, |(asked, version, machine)| {
            attempt(accelerator, asked, version, &machine)
        })?;
        tried.sort_by_key(|one| chosen.iter().position(|(_, version, _)| *version == one.version));
        step("what came of it");
        print!("{}", report::table(&tried));
        println!("\n{} kernels in {} s", tried.len(), begin.elapsed().as_secs());
        if self.write {
            let path = workspace().join(REPORT);
            fs::write(&path, report::document(&tried)).with_context(|| format!("cannot write {REPORT}"))?;
            println!("{REPORT} is written");
        }
        let ill: Vec<String> = tried.iter().filter(|one| !one.is_well()).map(|one| one.version.to_string()).collect();
        ensure!(ill.is_empty(), "not as expected: {}", ill.join(", "));
        Ok(())
    }

    /// The common part of all machines' systems.
    fn system(&self, folder: &Path) -> Result<System> {
        let built = target().join("release");
        let asked = |word: &str| said(Command::new(built.join("scenarios")).arg(word));
        let needs = Needs::read(&asked("needs")?)?;
        let list = asked("list")?;
        let names: Vec<&str> = list.lines().filter_map(|line| Some(line.get(..NAME)?.trim_end())).collect();
        let unknown = exceptions::unknown(&names);
        ensure!(unknown.is_empty(), "xtask/src/kernels/exceptions.rs names no scenario by {}", unknown.join(", "));
        for name in &self.scenario {
            let is_there = names.iter().any(|there| there == name || there.starts_with(&format!("{name} ")));
            ensure!(is_there, "no scenario is named {name:?}; there are:\n{list}");
        }
        System::build(&folder.join("systems"), &built, needs, &self.scenario)
    }
}

/// Sees to it that nobody else writes to the folder, until the file is closed.
fn lock(folder: &Path) -> Result<fs::File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(".lock");
    let file = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.try_lock()
        .with_context(|| format!("another `cargo xtask kernels` has {}; wait for its end", folder.display()))?;
    Ok(file)
}

/// The kernels that are asked for, each with the folder of its files, downloaded if they are not there.
fn choose(folder: &Path, asked: &[KernelChoice]) -> Result<Vec<(KernelChoice, Version, PathBuf)>> {
    let archive = Archive::open(folder.join("archive"))?;
    let kernels = archive.kernels()?;
    let there: Vec<Version> = kernels.keys().copied().collect();
    let mut chosen: Vec<(KernelChoice, Version, PathBuf)> = Vec::new();
    for asked in asked {
        let Some(version) = asked.choose(&there) else {
            let mut series: Vec<String> = there.iter().map(|one| format!("{}.{}", one.major, one.minor)).collect();
            series.dedup();
            bail!("Debian has no kernel {asked}; it has some of {}", series.join(", "));
        };
        match asked {
            KernelChoice::Exact(exact) if *exact != version => {
                println!("{asked}: Debian has it no more, and {version} is the newest of its series");
            }
            KernelChoice::Exact(_) => {}
            KernelChoice::Series(..) | KernelChoice::Newest => println!("{asked}: Linux {version}"),
        }
        if chosen.iter().all(|(_, other, _)| *other != version) {
            let files = folder.join(version.to_string());
            if !files.join(COMPLETE).exists() {
                download(&archive, &kernels[&version], &files)?;
            }
            chosen.push((*asked, version, files));
        }
    }
    Ok(chosen)
}

/// What is there when all of a kernel's files are.
const COMPLETE: &str = ".complete";

fn download(archive: &Archive, kernel: &ArchivedKernel, to: &Path) -> Result<()> {
    system::remove(to)?;
    archive.unpack(kernel, to)?;
    fs::write(to.join(COMPLETE), "").with_context(|| format!("cannot write to {}", to.display()))
}

/// The machine of a kernel.
fn machine(
    folder: &Path,
    system: &System,
    version: Version,
    files: &Path,
    processors: usize,
) -> Result<VirtualMachine> {
    let name = version.to_string();
    Ok(VirtualMachine {
        kernel: image(files).with_context(|| format!("the packages of {version} have no kernel"))?,
        system: system.with_modules(files, &name)?,
        console: folder.join(format!("{name}.console")),
        processors,
    })
}

/// The kernel itself: in /boot, or, where packages are split, beside its modules.
fn image(files: &Path) -> Option<PathBuf> {
    let folders = [files.join("boot"), files.join("usr/lib/modules"), files.join("lib/modules")];
    let below = |folder: &PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let all =
        folders.iter().flat_map(below).flat_map(|path| if path.is_dir() { below(&path).collect() } else { vec![path] });
    let is_image = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name == "vmlinuz" || name.starts_with("vmlinuz-"))
    };
    all.into_iter().find(is_image)
}

/// Runs a machine, and holds what it says against what is expected, line by line as it comes.
fn attempt(accelerator: Accelerator, asked: KernelChoice, version: Version, machine: &VirtualMachine) -> Result<Tried> {
    let (mut verdicts, mut doctor, mut faults) = (Vec::new(), Value::Null, Vec::new());
    let ended = machine.run(accelerator, |line| match ScenarioLine::read(line) {
        Ok(ScenarioLine::Doctor(report)) => doctor = report,
        Ok(ScenarioLine::Verdict(verdict)) => {
            let judged = verdict::judge(version, &verdict);
            println!("{}", report::line(version, &verdict, judged));
            verdicts.push((verdict, judged));
        }
        Err(error) => faults.push(format!("{error:#}")),
    });
    let ended = ended.with_context(|| format!("Linux {version}"))?;
    faults.extend(ended.fault.clone());
    faults.extend(budgets::exceeded(version, &doctor));
    for fault in &faults {
        println!("{version}: {fault}");
    }
    Ok(Tried { asked, version, ended, verdicts, doctor, faults })
}

/// Does all of them, so many at once; what they come to, in their order.
fn side_by_side<T: Send, R: Send>(all: Vec<T>, at_once: usize, done: impl Fn(T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let count = all.len();
    let queue: Mutex<VecDeque<(usize, T)>> = Mutex::new(all.into_iter().enumerate().collect());
    let results: Mutex<Vec<Option<Result<R>>>> = Mutex::new((0..count).map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().map(|mut queue| queue.pop_front());
                    let Ok(Some((index, one))) = next else { break };
                    let result = done(one);
                    if let Ok(mut results) = results.lock() {
                        results[index] = Some(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().ok().context("a machine's thread panicked")?;
    results.into_iter().map(|result| result.context("a machine was not tried")?).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_done_in_order_and_the_first_failure_is_told() {
        let squares = side_by_side((0..10).collect(), 3, |number: u32| Ok(number * number)).unwrap();
        assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
        let failed = side_by_side((0..10).collect(), 3, |number: u32| {
            ensure!(number != 4, "four");
            Ok(())
        });
        assert_eq!(failed.unwrap_err().to_string(), "four");
    }

    #[test]
    fn what_is_usual_can_be_asked_for() {
        for asked in USUAL {
            assert!(asked.parse::<KernelChoice>().is_ok(), "{asked}");
        }
    }
}
