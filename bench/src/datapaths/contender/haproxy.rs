//! HAProxy in mode tcp, as its packagers ship it: by copy, and with `option splice-auto`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, ensure};

use super::{Contender, EVERYWHERE, RunningContender, WEIGHTS, version_of};
use crate::datapaths::process::{Process, Setting};
use crate::datapaths::world::BenchWorld;

pub(super) const COPY: Contender =
    Contender { name: "haproxy", topologies: &EVERYWHERE, version, start: |setting, world| start(setting, world, "") };

pub(super) const SPLICE: Contender = Contender {
    name: "haproxy-splice",
    topologies: &EVERYWHERE,
    version,
    start: |setting, world| start(setting, world, "  option splice-auto\n"),
};

const SOCKET: &str = "haproxy.sock";

fn version(_: &Setting) -> Result<String> {
    version_of("haproxy", &["-v"], 2)
}

fn start(setting: &Setting, world: &BenchWorld, option: &str) -> Result<RunningContender> {
    let (threads, socket) = (setting.cores.len(), world.file(SOCKET));
    let ([first, second], [v1, v2]) = (WEIGHTS, world.versions);
    // Descriptors are kept for every pipe it may have: by default so many that they would not fit.
    let text = format!(
        "global\n  nbthread {threads}\n  maxconn 9600\n  maxpipes 128\n  stats socket {} level admin\n\
         defaults\n  mode tcp\n{option}  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         frontend front\n  bind {}\n  maxconn 9600\n  default_backend versions\n\
         backend versions\n  balance roundrobin\n  server v1 {v1} weight {first}\n  server v2 {v2} weight {second}\n",
        socket.display(),
        world.front
    );
    let file = world.write("haproxy.cfg", &text)?;
    let mut process =
        Process::start(setting, &world.balancer, &["haproxy", "-db", "-f", &file], &[], &world.file("haproxy.log"))?;
    world.await_front(&mut process)?;
    let edit = |world: &BenchWorld, _: Option<&Process>, weights: [u32; 2]| {
        for (name, weight) in ["v1", "v2"].iter().zip(weights) {
            command(world, &format!("set server versions/{name} weight {weight}"))?;
        }
        Ok(())
    };
    Ok(RunningContender { to: world.front, process: Some(process), edit: Some(Box::new(edit)), look: None })
}

/// One command to its runtime API, which answers nothing if all is well.
fn command(world: &BenchWorld, words: &str) -> Result<()> {
    let mut stream = UnixStream::connect(world.file(SOCKET)).context("cannot connect to HAProxy's socket")?;
    stream.write_all(format!("{words}\n").as_bytes()).context("cannot write to HAProxy's socket")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("cannot read from HAProxy's socket")?;
    ensure!(answer.trim().is_empty(), "HAProxy answers {answer:?} to `{words}`");
    Ok(())
}
