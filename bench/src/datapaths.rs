//! All contenders side by side in one run: the command, and the order of what is measured.
//!
//! Every contender has namespaces and a server of its own (`world`), so that none is in another's way; all are
//! started at once and only one is busy at a time. A *round* measures each once, workload by workload, in an order that
//! turns with the round: what disturbs the machine for seconds disturbs all of them, and ratios are taken within the round.

mod cgroup;
mod chart;
mod contender;
mod figures;
mod machine;
mod measure;
mod namespace;
mod page;
mod process;
mod promise;
mod record;
mod row;
mod statistics;
mod table;
mod usage;
mod verdict;
mod workload;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use contender::Contender;
use figures::Figures;
use machine::MeasuredMachine;
use measure::Started;

/// What is measured, and how long. The last of two words for one thing holds.
#[derive(Args, Clone, Debug)]
#[command(args_override_self = true)]
pub struct Datapaths {
    /// Shorter and fewer rounds, and only topology host unless another is named: under three minutes
    #[arg(long)]
    quick: bool,
    /// Rounds [default: 5, quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Seconds that a workload is measured for, once in each round [default: 0.7, quick 0.3]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Only these contenders; direct always is one
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Only workloads whose name begins with one of these
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    workloads: Vec<String>,
    /// All on one host, over loopback; or client, balancer and backend apart, joined by veth [default: both, quick host]
    #[arg(long, value_enum)]
    topology: Option<Topology>,
    /// Processor cores that client, balancer and backend share
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    cores: u8,
    /// Exit with 1 if tcpshift is behind in any row, or a promise is missed
    #[arg(long)]
    check: bool,
    /// Write docs/benchmarks.md and its chart
    #[arg(long)]
    write: bool,
    /// The workspace
    #[arg(long, value_name = "DIR", default_value = ".", hide = true)]
    workspace: PathBuf,
    /// Where cargo builds
    #[arg(long, value_name = "DIR", default_value = "target", hide = true)]
    target: PathBuf,
}

/// Where client, balancer and backend are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Topology {
    /// All in one namespace, over loopback
    Host,
    /// Each in its own, joined by veth
    Veth,
}

impl Topology {
    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Veth => "veth",
        }
    }
}

impl Datapaths {
    /// How often an edit is measured.
    fn edits(&self) -> u32 {
        if self.quick { 3 } else { 5 }
    }

    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    /// Seconds that a workload is warmed up for.
    fn warm(&self) -> f64 {
        (self.seconds() / 3.0).min(0.15)
    }

    /// Seconds that a workload is measured for.
    fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.3 } else { 0.7 })
    }

    fn topologies(&self) -> Vec<Topology> {
        match self.topology {
            Some(topology) => vec![topology],
            None if self.quick => vec![Topology::Host],
            None => vec![Topology::Host, Topology::Veth],
        }
    }

    fn wants(&self, contender: &Contender) -> bool {
        let topologies = self.topologies();
        if !topologies.iter().any(|topology| contender.topologies.contains(topology)) {
            return false;
        }
        contender.name == contender::DIRECT
            || self.only.is_empty()
            || self.only.iter().any(|name| name == contender.name)
    }
}

/// Measures, prints, and writes the record. Returns the code to exit by.
pub fn run(options: &Datapaths) -> Result<ExitCode> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "this measurement makes network namespaces, which needs root; type:\n    sudo env \"PATH=$PATH\" cargo xtask bench datapaths"
    );
    for name in &options.only {
        let names: Vec<&str> = contender::ALL.iter().map(|contender| contender.name).collect();
        ensure!(names.contains(&name.as_str()), "there is no contender {name}; there are {}", names.join(", "));
    }
    ensure!(options.seconds() >= 0.01, "a workload cannot be measured in {} s", options.seconds());
    let setting = process::Setting::new(options.cores, &options.target)?;
    let mut machine = MeasuredMachine::read(setting.processors())?;
    let mut contenders = Vec::new();
    for contender in contender::ALL.iter().filter(|contender| options.wants(contender)) {
        match (contender.version)(&setting) {
            Ok(version) => {
                machine.versions.push((contender.name.to_owned(), version));
                contenders.push(contender);
            }
            Err(reason) => say(&format!("{} is left out: {reason:#}", contender.name)),
        }
    }
    say(&machine.text());
    let mut figures = Figures::default();
    for topology in options.topologies() {
        measure(options, topology, &setting, &contenders, &mut figures)
            .with_context(|| format!("topology {}", topology.name()))?;
        say(&table::table(&figures, topology));
        for promise in promise::all(&figures, topology) {
            say(&promise.line());
        }
    }
    let file = options.target.join("bench/datapaths.json");
    record::write(&file, &machine, &figures)?;
    say(&format!("every figure: {}", file.display()));
    if options.write {
        page::write(&options.workspace, &options.topologies(), &machine, &figures)?;
        say("written: docs/benchmarks.md and its charts");
    }
    let behind = verdict::behind(&figures);
    let has = |names: &[&str]| contenders.iter().any(|contender| names.contains(&contender.name));
    if behind.is_empty() && has(&[contender::OURS]) && has(&contender::PEERS) {
        say("tcpshift is ahead in every row");
    } else if !behind.is_empty() {
        say(&format!("tcpshift is BEHIND in {} rows: {}", behind.len(), behind.join("; ")));
    }
    let promises: Vec<_> =
        options.topologies().into_iter().flat_map(|topology| promise::all(&figures, topology)).collect();
    let missed = promises.iter().filter(|promise| !promise.is_held()).count();
    if missed > 0 {
        say(&format!("{missed} of {} promises are MISSED", promises.len()));
    }
    let is_well = behind.is_empty() && missed == 0;
    Ok(if options.check && !is_well { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One topology: starts all, measures the rounds, and ends all.
fn measure(
    options: &Datapaths,
    topology: Topology,
    setting: &process::Setting,
    contenders: &[&'static Contender],
    figures: &mut Figures,
) -> Result<()> {
    let mut started = Vec::new();
    for contender in contenders.iter().filter(|contender| contender.topologies.contains(&topology)) {
        let start = Started::start(contender, topology, setting);
        started.push(start.with_context(|| format!("cannot start {}", contender.name))?);
    }
    let chosen = |name: &str| {
        options.workloads.is_empty() || options.workloads.iter().any(|part| name.starts_with(part.as_str()))
    };
    for round in 0..options.rounds() {
        for workload in workload::ALL.iter().filter(|workload| chosen(workload.name)) {
            note(&format!("{}: round {} of {}: {}", topology.name(), round + 1, options.rounds(), workload.name));
            for at in 0..started.len() {
                // Each is first once before one is first again, and every other round goes backwards.
                let turned = (at + round as usize) % started.len();
                let index = if round % 2 == 0 { turned } else { started.len() - 1 - turned };
                let contender = &started[index];
                let sample = contender.sample(workload, setting, options.warm(), options.seconds());
                let sample = sample.with_context(|| format!("{} in {}", contender.name(), workload.name))?;
                figures.add(topology, contender.name(), round, workload, &sample);
            }
        }
    }
    for contender in &mut started {
        note(&format!("{}: once for {}", topology.name(), contender.name()));
        let done = contender.once(topology, setting, options.edits(), &chosen, figures);
        let done = done.with_context(|| format!("{} in {}", contender.name(), topology.name()));
        match done {
            // What a peer cannot do is said; the rest of its figures stands.
            Err(reason) if !contender::is_ours(contender.name()) => say(&format!("figures are missing: {reason:#}")),
            done => done?,
        }
    }
    note("");
    Ok(())
}

#[allow(clippy::print_stdout, reason = "what a command says")]
fn say(text: &str) {
    println!("{text}");
}

/// What is being done, on a line of the terminal that the next one replaces.
#[allow(clippy::print_stderr, reason = "what a command says while it works")]
fn note(text: &str) {
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        eprint!("\r\x1b[K{text}");
    }
}
