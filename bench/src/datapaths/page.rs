//! The page that a run is published by: docs/benchmarks.md, with every figure and its range, and the charts.
#![allow(clippy::format_push_string, reason = "pages are short, and a write that cannot fail reads worse")]

use std::path::Path;

use anyhow::{Context, Result};

use super::Topology;
use super::chart::chart;
use super::contender::DIRECT;
use super::figures::Figures;
use super::machine::MeasuredMachine;
use super::promise;
use super::row::Better;
use super::statistics::{Spread, ratios};
use super::table::number;
use super::verdict::{verdict, words};

const HOW: &str = "\
Every contender has network namespaces, a cgroup and a server of its own; all are started at once, and only one is busy at a time. A
*round* measures each once, workload by workload, in an order that turns with the round. Figures are medians over the rounds,
with the least and the most in brackets; *of direct* is the median of the ratios to direct within the round. The verdict is
tcpshift against the better of HAProxy (with and without `option splice-auto`) and nginx, by ratios within the round: above 1
is better, whichever way is better.

In topology *host* all are in one namespace, over loopback; in topology *veth* client, balancer and server have namespaces of
their own, joined by pairs of interfaces, and direct has a pair without a balancer. All processes run with nice -10 and are
pinned to the same core or cores. Messages are of 64 bytes, bulk is written by 128 KiB, and clients close first. CPU is that
of client, balancer and server together, as the scheduler counts it. Memory is the balancer's own, at 9,000 idle connections
that have exchanged one message; the same are listed by the admin socket, and then listed, with the status, once a second for 10 s.
An edit takes the first version out; its time ends when the last connection began that still
reached it. HAProxy is edited by its socket, nginx by a reload, nftables by a new table, tcpshift by its
admin socket, which answers when the edit is durable too. All carry half-closed connections; nginx is told to
(`proxy_half_close`).

*tcpshift* is its proxy, which relays. With *tcpshift-connect* a client of the host connects to a service's address, and its
connect(2) is pointed at an endpoint; with *tcpshift-lookup* a client connects to the Gateway's address on the host of the
endpoints, and the SYN is handed to the socket of one; in topology veth one pair of interfaces is between them, as with direct.
Their programs are attached to a cgroup that direct is not in. What the kernel keeps for a connection is in no figure of memory.
Of their rates a share of direct is promised: 0.98 of messages and bulk, 0.9 of connections.
";

/// Writes the page, and a chart for each topology beside it.
pub(super) fn write(
    workspace: &Path,
    topologies: &[Topology],
    machine: &MeasuredMachine,
    figures: &Figures,
) -> Result<()> {
    let docs = workspace.join("docs");
    let put = |name: &str, text: &str| {
        let path = docs.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    for topology in topologies {
        put(&picture(*topology), &chart(figures, *topology, &machine.processor))?;
    }
    put("benchmarks.md", &page(topologies, machine, figures))
}

fn picture(topology: Topology) -> String {
    format!("benchmarks-{}.svg", topology.name())
}

fn page(topologies: &[Topology], machine: &MeasuredMachine, figures: &Figures) -> String {
    let MeasuredMachine { date, processor, processors, kernel, .. } = machine;
    let mut text = format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench datapaths --write` on {date}: {processors} x {processor}, {kernel}; {}.\n\n",
        machine.pinned()
    );
    let versions = machine.versions.iter().map(|(name, version)| format!("| {name} | {version} |\n"));
    text += &format!("| contender | version |\n|---|---|\n{}\n{HOW}", versions.collect::<String>());
    for topology in topologies {
        text += &format!("\n## {}\n\n![shares of direct]({})\n", topology.name(), picture(*topology));
        text += &rows(figures, *topology);
    }
    text
}

/// One table for each workload: contenders below each other, so that ranges have room.
fn rows(figures: &Figures, topology: Topology) -> String {
    let mut text = String::new();
    let all: Vec<_> = figures.rows().into_iter().filter(|(of, _)| *of == topology).map(|(_, row)| row).collect();
    let mut at = 0;
    while at < all.len() {
        let end = at + all[at..].iter().take_while(|row| row.what == all[at].what).count();
        let those = &all[at..end];
        let head: Vec<&str> = those.iter().map(|row| row.figure).collect();
        text +=
            &format!("\n### {}\n\n| | {} |\n|---|{}\n", those[0].what, head.join(" | "), "---|".repeat(those.len()));
        for name in figures.contenders() {
            let cells = those.iter().map(|row| {
                let own = figures.of(topology, row, name);
                let Some(spread) = Spread::of(own.iter().map(|(_, value)| *value).collect()) else {
                    return String::new();
                };
                let range = if spread.least < spread.most {
                    format!(" ({} to {})", number(spread.least), number(spread.most))
                } else {
                    String::new()
                };
                let direct = figures.of(topology, row, DIRECT);
                let share =
                    Spread::of(ratios(&own, &direct)).filter(|_| name != DIRECT && row.better != Better::Neither);
                let share = share.map_or(String::new(), |share| format!(", {:.2} of direct", share.median));
                format!("{}{range}{share}", number(spread.median))
            });
            let cells: Vec<String> = cells.collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                text += &format!("| {name} | {} |\n", cells.join(" | "));
            }
        }
        let verdicts = those.iter().map(|row| verdict(figures, topology, row).map_or(String::new(), words));
        let verdicts: Vec<String> = verdicts.collect();
        if verdicts.iter().any(|verdict| !verdict.is_empty()) {
            text += &format!("| **verdict** | {} |\n", verdicts.join(" | "));
        }
        for promise in promise::all(figures, topology).iter().filter(|promise| promise.what == those[0].what) {
            text += &format!("\n{}\n", promise.text());
        }
        at = end;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::row::MEMORY;
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_contender_and_the_verdict() {
        let mut figures = Figures::default();
        figures.put(Topology::Host, &MEMORY, "tcpshift", 0, 2.0);
        figures.put(Topology::Host, &MEMORY, "nginx", 0, 3.0);
        figures.put(Topology::Host, &MEMORY, "nginx", 1, 4.0);
        assert_eq!(
            rows(&figures, Topology::Host),
            "\n### memory\n\n| | KiB per idle connection |\n|---|---|\n| tcpshift | 2.00 |\n\
             | nginx | 3.50 (3.00 to 4.00) |\n| **verdict** | ahead 1.50x |\n"
        );
    }
}
