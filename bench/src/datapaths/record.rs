//! The record of a run as JSON: the machine, and every figure of every round.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::figures::Figures;
use super::machine::MeasuredMachine;
use super::verdict::verdict;

/// Writes it.
pub(super) fn write(path: &Path, machine: &MeasuredMachine, figures: &Figures) -> Result<()> {
    let text = format!("{:#}\n", record(machine, figures));
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn record(machine: &MeasuredMachine, figures: &Figures) -> Value {
    let rows = figures.rows().into_iter().map(|(topology, row)| {
        let values = figures.contenders().into_iter().filter_map(|name| {
            let values: Vec<f64> = figures.of(topology, row, name).into_iter().map(|(_, value)| value).collect();
            (!values.is_empty()).then(|| (name.to_owned(), json!(values)))
        });
        let values: serde_json::Map<String, Value> = values.collect();
        let verdict = verdict(figures, topology, row).map(|spread| [spread.median, spread.least, spread.most]);
        json!({
            "topology": topology.name(), "workload": row.what, "figure": row.figure, "better": row.better,
            "rounds": values, "tcpshiftAgainstBestOfPeers": verdict,
        })
    });
    let versions: serde_json::Map<String, Value> =
        machine.versions.iter().map(|(name, version)| (name.clone(), json!(version))).collect();
    json!({
        "date": machine.date, "processor": machine.processor, "processors": machine.processors,
        "cores": machine.cores, "kernel": machine.kernel, "versions": versions,
        "rows": rows.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Topology;
    use super::super::row::MEMORY;
    use super::*;

    #[test]
    fn figures_stand_under_their_contenders() {
        let machine = MeasuredMachine::read(&[1]).unwrap();
        let mut figures = Figures::default();
        figures.once(Topology::Veth, "tcpshift", &MEMORY, 2.0);
        figures.once(Topology::Veth, "haproxy", &MEMORY, 3.0);
        let record = record(&machine, &figures);
        assert_eq!(record["rows"][0]["rounds"], json!({"tcpshift": [2.0], "haproxy": [3.0]}));
        assert_eq!(record["rows"][0]["tcpshiftAgainstBestOfPeers"], json!([1.5, 1.5, 1.5]));
    }
}
