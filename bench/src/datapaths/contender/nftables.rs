//! nftables: the kernel rewrites each new connection's destination, drawn by `numgen random`. No process carries.

use anyhow::Result;

use super::{Contender, EVERYWHERE, RunningContender, WEIGHTS, version_of};
use crate::datapaths::process::{Process, Setting};
use crate::datapaths::world::BenchWorld;

pub(super) const CONTENDER: Contender = Contender { name: "nftables", topologies: &EVERYWHERE, version, start };

fn version(_: &Setting) -> Result<String> {
    Ok(version_of("nft", &["--version"], 1)?.trim_start_matches('v').to_owned())
}

fn start(_: &Setting, world: &BenchWorld) -> Result<RunningContender> {
    load(world, WEIGHTS)?;
    // The kernel keeps what it knows of a connection for two minutes after its end, and more than it can hold would be lost
    // at the rates of this measurement.
    world.balancer.set("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")?;
    let edit = |world: &BenchWorld, _: Option<&Process>, weights: [u32; 2]| load(world, weights);
    Ok(RunningContender { to: world.front, process: None, edit: Some(Box::new(edit)), look: None })
}

/// Replaces the whole table at once.
fn load(world: &BenchWorld, weights: [u32; 2]) -> Result<()> {
    world.balancer.run("nft", &["-f", "-"], Some(&table(world, weights)))
}

fn table(world: &BenchWorld, weights: [u32; 2]) -> String {
    let ([first, _], [v1, v2]) = (weights, world.versions);
    let parts = [(0, first, v1), (first, 100, v2)];
    let parts = parts.iter().filter(|(from, to, _)| from < to);
    let parts: Vec<String> =
        parts.map(|(from, to, version)| format!("{from}-{} : {} . {}", to - 1, version.ip(), version.port())).collect();
    let rule = format!(
        "ip daddr {} tcp dport {} dnat to numgen random mod 100 map {{ {} }}",
        world.front.ip(),
        world.front.port(),
        parts.join(", ")
    );
    // From another host a connection comes in, from this one it goes out.
    format!(
        "table ip bench {{\n}}\ndelete table ip bench\ntable ip bench {{\n  \
         chain in {{ type nat hook prerouting priority dstnat; {rule}; }}\n  \
         chain out {{ type nat hook output priority -100; {rule}; }}\n}}\n"
    )
}
