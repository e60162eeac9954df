//! tcpshift's proxy, which relays: the agent decides too, so that no program of the kernel is needed.

use anyhow::Result;

use super::{Contender, EVERYWHERE, RunningContender, WEIGHTS, agent};
use crate::datapaths::process::Setting;
use crate::datapaths::world::BenchWorld;

pub(super) const CONTENDER: Contender =
    Contender { name: "tcpshift", topologies: &EVERYWHERE, version: agent::version, start };

fn start(setting: &Setting, world: &BenchWorld) -> Result<RunningContender> {
    let address = world.front.ip().to_string();
    let words = ["--datapath", "proxy", "--assign", "agent", "--listen-address", &address];
    let mut process = agent::start(setting, world, &world.balancer, &[], &words)?;
    agent::apply(world, &(agent::service(world) + &agent::gateway(world, "", WEIGHTS)))?;
    world.await_front(&mut process)?;
    Ok(RunningContender { to: world.front, process: Some(process), edit: Some(agent::edit()), look: Some(agent::LOOK) })
}
