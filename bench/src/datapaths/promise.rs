//! What is promised of datapaths that steer: how much of direct's rates their connections have.

use super::Topology;
use super::contender::{DIRECT, STEERED};
use super::figures::Figures;
use super::row::FigureRow;
use super::statistics::{Spread, ratios};
use super::workload::{self, Workload};
use crate::load::LoadKind;

/// A promise, and what was measured.
pub(super) struct Promise {
    topology: Topology,
    contender: &'static str,
    /// The workload.
    pub(super) what: &'static str,
    promised: f64,
    /// Shares of direct, within the rounds.
    measured: Spread,
}

/// The share of direct that is promised of a workload.
fn promised(workload: &Workload) -> f64 {
    match workload.kind {
        // A decision, and an account, for each connection.
        LoadKind::Connect => 0.9,
        // Nothing for each byte.
        LoadKind::Exchange | LoadKind::Up | LoadKind::Down | LoadKind::Hold => 0.98,
    }
}

/// All that something was measured for, in a topology.
pub(super) fn all(figures: &Figures, topology: Topology) -> Vec<Promise> {
    let mut all = Vec::new();
    for workload in &workload::ALL {
        let row = FigureRow::rate(workload);
        let direct = figures.of(topology, &row, DIRECT);
        for contender in STEERED {
            let Some(measured) = Spread::of(ratios(&figures.of(topology, &row, contender), &direct)) else { continue };
            all.push(Promise { topology, contender, what: workload.name, promised: promised(workload), measured });
        }
    }
    all
}

impl Promise {
    /// Whether it is kept, by the median of the rounds.
    pub(super) fn is_held(&self) -> bool {
        self.measured.median >= self.promised
    }

    /// As *tcpshift-lookup has 0.993 (0.981-1.002) of direct, of 0.98: held*.
    pub(super) fn text(&self) -> String {
        let Self { contender, promised, measured: Spread { median, least, most }, .. } = self;
        let verdict = if self.is_held() { "held" } else { "MISSED" };
        format!("{contender} has {median:.3} ({least:.3}-{most:.3}) of direct, of {promised}: {verdict}")
    }

    /// With where it was measured.
    pub(super) fn line(&self) -> String {
        format!("{} {}: {}", self.topology.name(), self.what, self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_counts() {
        let mut figures = Figures::default();
        let (exchange, connect) = (FigureRow::rate(&workload::ALL[0]), FigureRow::rate(&workload::ALL[2]));
        for (round, share) in [(0, 0.97), (1, 0.985), (2, 1.0)] {
            figures.put(Topology::Host, &exchange, DIRECT, round, 1000.0);
            figures.put(Topology::Host, &exchange, STEERED[0], round, share * 1000.0);
        }
        figures.put(Topology::Host, &connect, DIRECT, 0, 1000.0);
        figures.put(Topology::Host, &connect, STEERED[1], 0, 890.0);
        let lines: Vec<String> = all(&figures, Topology::Host).iter().map(Promise::line).collect();
        let held = format!("host exchange-1: {} has 0.985 (0.970-1.000) of direct, of 0.98: held", STEERED[0]);
        let missed = format!("host connect-1: {} has 0.890 (0.890-0.890) of direct, of 0.9: MISSED", STEERED[1]);
        assert_eq!(lines, [held, missed]);
        assert!(all(&figures, Topology::Veth).is_empty());
    }
}
