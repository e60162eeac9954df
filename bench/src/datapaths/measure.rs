//! One contender in its world, measured: a sample of a workload, and what is measured once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Topology;
use super::contender::{ConnectionLook, Contender, RunningContender, WEIGHTS};
use super::figures::{Figures, Reading};
use super::process::{LoadProcess, Process, Setting};
use super::workload::Workload;
use super::world::BenchWorld;
use super::{row, usage};
use crate::clock;
use crate::load::LoadReport;

/// Idle connections that memory is measured by; each takes two descriptors of a balancer.
const IDLE: usize = 9_000;
/// How often they are listed, and for how many seconds they are watched.
const LISTS: u32 = 11;
const WATCHED: u32 = 10;
/// Connections that the split is measured by.
const SPLIT: u32 = 12_000;

/// A contender that is running in its world.
pub(super) struct Started {
    contender: &'static Contender,
    // Ends before the world does.
    running: RunningContender,
    world: BenchWorld,
}

impl Started {
    /// Makes the world, and starts the contender in it.
    pub(super) fn start(contender: &'static Contender, topology: Topology, setting: &Setting) -> Result<Self> {
        let world = BenchWorld::new(contender.name, topology, setting)?;
        let running = (contender.start)(setting, &world)?;
        Ok(Self { contender, running, world })
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.contender.name
    }

    /// Measures a workload once.
    pub(super) fn sample(&self, workload: &Workload, setting: &Setting, warm: f64, seconds: f64) -> Result<Reading> {
        let [warm, seconds] = [warm, seconds].map(|seconds| seconds.to_string());
        let connections = workload.connections.to_string();
        let words = [workload.word(), "--connections", &connections, "--warm", &warm, "--seconds", &seconds];
        let mut client = self.client(setting, &words)?;
        let mut others = self.world.server.family();
        others.extend(self.running.process.iter().flat_map(Process::family));
        others.extend(usage::kernel_threads(setting.processors()));
        let before = usage::processor(&others)?;
        client.go()?;
        let report = client.report()?;
        let processor = usage::processor(&others)? - before + report.processor;
        Ok(Reading { report, processor })
    }

    /// Measures what one look is enough for: memory, the split, and an edit.
    pub(super) fn once(
        &mut self,
        topology: Topology,
        setting: &Setting,
        edits: u32,
        wanted: &dyn Fn(&str) -> bool,
        figures: &mut Figures,
    ) -> Result<()> {
        if wanted("split") && self.running.edit.is_some() {
            let count = SPLIT.to_string();
            let report =
                self.report(setting, &["connect", "--connections", "16", "--count", &count, "--seconds", "60"])?;
            let share = report.versions[1] as f64 / report.count.max(1) as f64 * 100.0;
            figures.once(topology, self.name(), &row::SPLIT, share);
        }
        if wanted("edit") {
            self.edits(topology, setting, edits, figures)?;
        }
        if wanted("memory")
            && let Some(process) = &self.running.process
        {
            // After an edit, old processes may still be ending.
            std::thread::sleep(Duration::from_millis(300));
            let connections = IDLE.to_string();
            let before = usage::memory(&process.family())?;
            let mut client = self.client(setting, &["hold", "--connections", &connections])?;
            std::thread::sleep(Duration::from_millis(500));
            let after = usage::memory(&process.family())?;
            if let Some(look) = self.running.look {
                self.looks(topology, look, process, figures)?;
            }
            client.go()?;
            client.report()?;
            let each = after.saturating_sub(before) as f64 / IDLE as f64 / 1024.0;
            figures.once(topology, self.name(), &row::MEMORY, each);
        }
        Ok(())
    }

    /// Lists the idle connections, and watches them for a while.
    fn looks(&self, topology: Topology, look: ConnectionLook, process: &Process, figures: &mut Figures) -> Result<()> {
        for round in 0..LISTS {
            let begin = Instant::now();
            let count = (look.list)(&self.world)?;
            let took = begin.elapsed();
            ensure!(count >= IDLE, "{} lists {count} of {IDLE} connections", self.name());
            figures.put(topology, &row::LIST, self.contender.name, round, took.as_secs_f64() * 1e3);
        }
        let before = usage::processor(&process.family())?;
        for _ in 0..WATCHED {
            let begin = Instant::now();
            (look.list)(&self.world)?;
            (look.status)(&self.world)?;
            std::thread::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()));
        }
        let used = usage::processor(&process.family())? - before;
        let share = used as f64 / 1e9 / f64::from(WATCHED) * 100.0;
        figures.once(topology, self.contender.name, &row::WATCH, share);
        Ok(())
    }

    /// Takes the first version out and puts it back, under load, and looks when the last connection began that still
    /// reached it.
    fn edits(&mut self, topology: Topology, setting: &Setting, edits: u32, figures: &mut Figures) -> Result<()> {
        let Some(edit) = &mut self.running.edit else { return Ok(()) };
        let process = self.running.process.as_ref();
        let to = self.running.to.to_string();
        let words = ["connect", "--connections", "2", "--seconds", "0.8", "--to", &to];
        for number in 0..edits {
            let mut client = LoadProcess::start(setting, &self.world.client, &words, &self.world.file("load.log"))?;
            client.go()?;
            std::thread::sleep(Duration::from_millis(200));
            let asked = clock::now();
            edit(&self.world, process, [0, 100]).context("cannot edit")?;
            let report = client.report()?;
            // No edit is seen sooner than by the next connection.
            let between = report.took / report.count.max(1);
            let took = report.last_of_first.saturating_sub(asked).max(between);
            figures.put(topology, &row::EDIT, self.contender.name, number, took as f64 / 1e6);
            edit(&self.world, process, WEIGHTS).context("cannot edit")?;
            // A reload is through when the old processes have ended.
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn client(&self, setting: &Setting, words: &[&str]) -> Result<LoadProcess> {
        let to = self.running.to.to_string();
        let words = [words, &["--to", &to]].concat();
        LoadProcess::start(setting, &self.world.client, &words, &self.world.file("load.log"))
    }

    fn report(&self, setting: &Setting, words: &[&str]) -> Result<LoadReport> {
        let mut client = self.client(setting, words)?;
        client.go()?;
        client.report()
    }
}
