//! Every figure of a run, by topology, row, contender and round.

use super::Topology;
use super::row::FigureRow;
use super::workload::Workload;
use crate::load::{LoadKind, LoadReport};

/// One measurement of a workload.
pub(super) struct Reading {
    /// What the load saw.
    pub(super) report: LoadReport,
    /// Nanoseconds of processor time of client, server and balancer together.
    pub(super) processor: u64,
}

/// One figure.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) topology: Topology,
    pub(super) row: FigureRow,
    pub(super) contender: &'static str,
    pub(super) round: u32,
    pub(super) value: f64,
}

/// All of them, in the order of measuring.
#[derive(Default)]
pub(super) struct Figures {
    points: Vec<Point>,
}

impl Figures {
    /// Adds what a workload came to.
    pub(super) fn add(
        &mut self,
        topology: Topology,
        contender: &'static str,
        round: u32,
        workload: &Workload,
        sample: &Reading,
    ) {
        let (report, unit) = (&sample.report, workload.unit());
        let count = report.count.max(1) as f64;
        let rate = report.count as f64 / unit.scale / (report.took as f64 / 1e9);
        self.put(topology, &FigureRow::rate(workload), contender, round, rate);
        if !matches!(workload.kind, LoadKind::Up | LoadKind::Down) {
            let [p50, p99] = [report.p50, report.p99].map(|time| time as f64 / 1e3);
            self.put(topology, &FigureRow::latency(workload, "p50 µs"), contender, round, p50);
            self.put(topology, &FigureRow::latency(workload, "p99 µs"), contender, round, p99);
        }
        let cost = sample.processor as f64 / 1e9 / count * unit.of;
        self.put(topology, &FigureRow::cost(workload), contender, round, cost);
    }

    /// Adds what is measured once.
    pub(super) fn once(&mut self, topology: Topology, contender: &'static str, row: &FigureRow, value: f64) {
        self.put(topology, row, contender, 0, value);
    }

    /// Adds a figure.
    pub(super) fn put(&mut self, topology: Topology, row: &FigureRow, contender: &'static str, round: u32, value: f64) {
        self.points.push(Point { topology, row: row.clone(), contender, round, value });
    }

    /// The figures of a contender in a row, each with its round.
    pub(super) fn of(&self, topology: Topology, row: &FigureRow, contender: &str) -> Vec<(u32, f64)> {
        let those = self
            .points
            .iter()
            .filter(|point| point.topology == topology && point.contender == contender && point.row == *row);
        those.map(|point| (point.round, point.value)).collect()
    }

    /// Every row, as first measured.
    pub(super) fn rows(&self) -> Vec<(Topology, &FigureRow)> {
        let mut rows = Vec::new();
        for point in &self.points {
            if !rows.contains(&(point.topology, &point.row)) {
                rows.push((point.topology, &point.row));
            }
        }
        rows
    }

    /// Every contender, as first measured.
    pub(super) fn contenders(&self) -> Vec<&'static str> {
        let mut contenders = super::contender::ALL.map(|contender| contender.name).to_vec();
        contenders.retain(|name| self.points.iter().any(|point| point.contender == *name));
        contenders
    }
}
