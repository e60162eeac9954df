//! The workloads of a round, as a table.

use crate::load::LoadKind;

/// One workload.
#[derive(Debug)]
pub(super) struct Workload {
    /// Name, as `--workloads` and the record have it.
    pub(super) name: &'static str,
    /// What is done.
    pub(super) kind: LoadKind,
    /// Connections at the same time.
    pub(super) connections: usize,
}

impl Workload {
    /// The word of the load's command line.
    pub(super) fn word(&self) -> &'static str {
        match self.kind {
            LoadKind::Exchange => "exchange",
            LoadKind::Up => "up",
            LoadKind::Down => "down",
            LoadKind::Connect => "connect",
            LoadKind::Hold => "hold",
        }
    }

    /// What is counted, with how many of them processor time is said for.
    pub(super) fn unit(&self) -> Unit {
        match self.kind {
            LoadKind::Exchange => Unit { rate: "requests/s", cost: "CPU s per 100,000 requests", of: 1e5, scale: 1.0 },
            LoadKind::Up | LoadKind::Down => Unit { rate: "GiB/s", cost: "CPU s per GiB", of: GIB, scale: GIB },
            LoadKind::Connect | LoadKind::Hold => {
                Unit { rate: "connections/s", cost: "CPU s per 10,000 connections", of: 1e4, scale: 1.0 }
            }
        }
    }
}

const GIB: f64 = 1_073_741_824.0;

/// How figures of a workload are said.
pub(super) struct Unit {
    /// Of the rate.
    pub(super) rate: &'static str,
    /// Of the processor time.
    pub(super) cost: &'static str,
    /// How many of what is counted processor time is said for.
    pub(super) of: f64,
    /// How many of what is counted are one of the rate.
    pub(super) scale: f64,
}

const fn workload(name: &'static str, kind: LoadKind, connections: usize) -> Workload {
    Workload { name, kind, connections }
}

/// All of them.
pub(super) const ALL: [Workload; 8] = [
    workload("exchange-1", LoadKind::Exchange, 1),
    workload("exchange-64", LoadKind::Exchange, 64),
    workload("connect-1", LoadKind::Connect, 1),
    workload("connect-64", LoadKind::Connect, 64),
    workload("bulk-up-1", LoadKind::Up, 1),
    workload("bulk-up-32", LoadKind::Up, 32),
    workload("bulk-down-1", LoadKind::Down, 1),
    workload("bulk-down-32", LoadKind::Down, 32),
];
