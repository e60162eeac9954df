//! The table on the terminal: a line for each row, a column for each contender, and the verdict.

use super::Topology;
use super::contender::DIRECT;
use super::figures::Figures;
use super::row::Better;
use super::statistics::{Spread, ratios};
use super::verdict::{verdict, words};

/// The table of one topology: medians, and behind them the median of the ratios to direct.
pub(super) fn table(figures: &Figures, topology: Topology) -> String {
    let contenders = figures.contenders();
    let mut lines = vec![
        [
            vec![topology.name().to_owned()],
            contenders.iter().map(ToString::to_string).collect(),
            vec!["tcpshift".to_owned()],
        ]
        .concat(),
    ];
    for (_, row) in figures.rows().into_iter().filter(|(of, _)| *of == topology) {
        let direct = figures.of(topology, row, DIRECT);
        let cell = |contender: &&'static str| {
            let own = figures.of(topology, row, contender);
            let Some(spread) = Spread::of(own.iter().map(|(_, value)| *value).collect()) else { return String::new() };
            let ratio =
                Spread::of(ratios(&own, &direct)).filter(|_| *contender != DIRECT && row.better != Better::Neither);
            let ratio = ratio.map_or(String::new(), |ratio| format!(" {:>5.2}", ratio.median));
            format!("{}{ratio}", number(spread.median))
        };
        let mut line = vec![format!("{}: {}", row.what, row.figure)];
        line.extend(contenders.iter().map(cell));
        line.push(verdict(figures, topology, row).map_or(String::new(), words));
        lines.push(line);
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let padded = |line: Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            // Words begin at the left, figures end at the right.
            if at == 0 || at + 1 == columns { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.into_iter().map(padded).collect()
}

/// A figure with three digits that mean something.
pub(super) fn number(value: f64) -> String {
    let digits = if value >= 100.0 || value == 0.0 {
        0
    } else if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    if digits > 0 || text.len() < 5 {
        return text;
    }
    let head = text.len() % 3;
    let mut grouped = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && at % 3 == head {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let said = [0.0, 0.1234, 1.234, 12.34, 999.4, 1234.0, 12345.6, 1_234_567.0].map(number);
        assert_eq!(said, ["0", "0.123", "1.23", "12.3", "999", "1234", "12,346", "1,234,567"]);
    }
}
