//! Whether tcpshift is ahead of the others in a row.

use super::Topology;
use super::contender::{OURS, PEERS};
use super::figures::Figures;
use super::row::{Better, FigureRow};
use super::statistics::{Spread, ratios};

/// How tcpshift does in a row against the best of the others, by ratios within a round: 1.1 is a tenth better, whichever
/// way is better. None where there is nothing to compare.
pub(super) fn verdict(figures: &Figures, topology: Topology, row: &FigureRow) -> Option<Spread> {
    let ours = figures.of(topology, row, OURS);
    let against = |peer: &&str| {
        let theirs = figures.of(topology, row, peer);
        match row.better {
            Better::More => Spread::of(ratios(&ours, &theirs)),
            Better::Less => Spread::of(ratios(&theirs, &ours)),
            Better::Neither => None,
        }
    };
    PEERS.iter().filter_map(against).min_by(|one, other| one.median.total_cmp(&other.median))
}

/// A verdict in words.
pub(super) fn words(verdict: Spread) -> String {
    let Spread { median, least, most } = verdict;
    let word = if median >= 1.0 { "ahead" } else { "BEHIND" };
    let range = if least < most { format!(" ({least:.2}-{most:.2})") } else { String::new() };
    format!("{word} {median:.2}x{range}")
}

/// Every row that tcpshift is behind in.
pub(super) fn behind(figures: &Figures) -> Vec<String> {
    let mut behind = Vec::new();
    for (topology, row) in figures.rows() {
        if let Some(verdict) = verdict(figures, topology, row).filter(|verdict| verdict.median < 1.0) {
            behind.push(format!("{} {} {} {:.2}x", topology.name(), row.what, row.figure, verdict.median));
        }
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_the_others_counts_whichever_way_is_better() {
        let mut figures = Figures::default();
        let rate = FigureRow { what: "a", figure: "requests/s", better: Better::More };
        let cost = FigureRow { what: "a", figure: "CPU", better: Better::Less };
        for (contender, at, costs) in [(OURS, 10.0, 2.0), (PEERS[0], 8.0, 1.0), (PEERS[2], 5.0, 4.0)] {
            figures.put(Topology::Host, &rate, contender, 0, at);
            figures.put(Topology::Host, &cost, contender, 0, costs);
        }
        assert_eq!(words(verdict(&figures, Topology::Host, &rate).unwrap()), "ahead 1.25x");
        assert_eq!(words(verdict(&figures, Topology::Host, &cost).unwrap()), "BEHIND 0.50x");
        assert_eq!(behind(&figures), ["host a CPU 0.50x"]);
        assert_eq!(verdict(&figures, Topology::Veth, &rate), None);
    }
}
