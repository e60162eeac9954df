//! A chart as SVG: for every rate, each contender's share of direct, as bars with the range of the rounds.
#![allow(clippy::format_push_string, reason = "pages are short, and a write that cannot fail reads worse")]

use super::Topology;
use super::contender::DIRECT;
use super::figures::Figures;
use super::row::{Better, FigureRow};
use super::statistics::{Spread, ratios};

const WIDTH: usize = 890;
const LEFT: usize = 130;
/// Room for the figure behind the longest bar.
const RIGHT: usize = 50;
const BAR: usize = 11;
/// Between two workloads.
const GAP: usize = 14;
/// Above the first bar.
const TOP: usize = 64;

/// One colour for each contender in turn, told apart by people who see few colours too.
const COLOURS: [&str; 9] =
    ["#000000", "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#f0e442", "#009e73", "#cc79a7", "#999999"];

/// The chart of one topology.
pub(super) fn chart(figures: &Figures, topology: Topology, subtitle: &str) -> String {
    let contenders: Vec<&str> = figures.contenders().into_iter().filter(|name| *name != DIRECT).collect();
    let rows: Vec<&FigureRow> = figures
        .rows()
        .into_iter()
        .filter(|(of, row)| *of == topology && row.better == Better::More)
        .map(|(_, row)| row)
        .collect();
    let colour = |name: &str| {
        let index = super::contender::ALL.iter().position(|contender| contender.name == name);
        COLOURS[index.unwrap_or_default() % COLOURS.len()]
    };
    let group = contenders.len() * BAR + GAP;
    let height = TOP + rows.len() * group + 24;
    // Room for a share somewhat above that of direct.
    let scale = |ratio: f64| LEFT as f64 + ratio.clamp(0.0, 1.2) / 1.2 * (WIDTH - LEFT - RIGHT) as f64;
    let mut body = String::new();
    let mut legend = 10;
    for name in &contenders {
        body += &rectangle(legend as f64, 36.0, 10.0, 10.0, colour(name));
        body += &text(legend as f64 + 14.0, 45.0, "start", name);
        legend += 28 + name.len() * 8;
    }
    for tenth in [0, 2, 4, 6, 8, 10] {
        let x = scale(f64::from(tenth) / 10.0);
        body += &line(x, TOP as f64 - 6.0, x, height as f64 - 20.0, "#cccccc");
        body += &text(x, height as f64 - 6.0, "middle", &format!("{:.1}", f64::from(tenth) / 10.0));
    }
    for (number, row) in rows.iter().enumerate() {
        let direct = figures.of(topology, row, DIRECT);
        let top = TOP + number * group;
        body += &text(LEFT as f64 - 8.0, (top + group / 2 - 2) as f64, "end", row.what);
        for (index, name) in contenders.iter().enumerate() {
            let Some(spread) = Spread::of(ratios(&figures.of(topology, row, name), &direct)) else { continue };
            let y = (top + index * BAR) as f64;
            let end = scale(spread.median);
            body += &rectangle(LEFT as f64, y, end - LEFT as f64, BAR as f64 - 2.0, colour(name));
            let middle = y + BAR as f64 / 2.0 - 1.0;
            body += &line(scale(spread.least), middle, scale(spread.most), middle, "#444444");
            body += &text(scale(spread.most).max(end) + 4.0, y + 8.5, "start", &format!("{:.2}", spread.median));
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"10\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n{}{body}</svg>\n",
        text(10.0, 18.0, "start", &format!("Rates as a share of direct, topology {}: {subtitle}", topology.name()))
    )
}

fn rectangle(x: f64, y: f64, width: f64, height: f64, fill: &str) -> String {
    format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>\n")
}

fn line(from_x: f64, from_y: f64, to_x: f64, to_y: f64, colour: &str) -> String {
    format!("<line x1=\"{from_x:.1}\" y1=\"{from_y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\" stroke=\"{colour}\"/>\n")
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    let mut escaped = String::new();
    for letter in words.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            letter => escaped.push(letter),
        }
    }
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{escaped}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_ends_at_its_share_of_direct() {
        let mut figures = Figures::default();
        let row = FigureRow { what: "bulk & more", figure: "GiB/s", better: Better::More };
        figures.put(Topology::Host, &row, DIRECT, 0, 4.0);
        figures.put(Topology::Host, &row, "tcpshift", 0, 2.4);
        let chart = chart(&figures, Topology::Host, "1 < 2");
        // 0.6 of 1.2 is half of the 710 that there are.
        assert!(chart.contains("<rect x=\"130.0\" y=\"64.0\" width=\"355.0\""), "{chart}");
        assert!(chart.contains("bulk &amp; more") && chart.contains("1 &lt; 2") && chart.contains(">0.60<"));
        assert_eq!(chart.matches('<').count(), chart.matches('>').count());
    }
}
