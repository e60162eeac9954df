//! Rows of the table: what a figure is called, and which way is better.

use serde::Serialize;

use super::workload::Workload;

/// Which figures are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    /// Rates.
    More,
    /// Times and costs.
    Less,
    /// What is only shown.
    Neither,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FigureRow {
    /// What is done: a workload, or what is measured once.
    pub(super) what: &'static str,
    /// What the figure is, with its unit.
    pub(super) figure: &'static str,
    /// Which way is better.
    pub(super) better: Better,
}

/// The split that is in fact achieved.
pub(super) const SPLIT: FigureRow =
    FigureRow { what: "split", figure: "% for the version that asks for 20 %", better: Better::Neither };
/// An edit, as clients see it.
pub(super) const EDIT: FigureRow =
    FigureRow { what: "edit", figure: "ms until all new connections obey", better: Better::Less };
/// The balancer's own memory.
pub(super) const MEMORY: FigureRow =
    FigureRow { what: "memory", figure: "KiB per idle connection", better: Better::Less };

/// A list of all live connections, as the admin socket answers it.
pub(super) const LIST: FigureRow =
    FigureRow { what: "list", figure: "ms for all idle connections", better: Better::Less };
/// What it costs the agent to be watched.
pub(super) const WATCH: FigureRow =
    FigureRow { what: "watch", figure: "% of a core, list and status each second", better: Better::Less };

impl FigureRow {
    /// The rows of a workload.
    pub(super) fn rate(workload: &Workload) -> Self {
        Self { what: workload.name, figure: workload.unit().rate, better: Better::More }
    }

    /// The processor time of all together.
    pub(super) fn cost(workload: &Workload) -> Self {
        Self { what: workload.name, figure: workload.unit().cost, better: Better::Less }
    }

    /// A percentile of how long answers take.
    pub(super) fn latency(workload: &Workload, figure: &'static str) -> Self {
        Self { what: workload.name, figure, better: Better::Less }
    }
}
