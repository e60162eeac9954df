//! nginx with its stream module, as its packagers ship it; another weight is a reload. It carries half-closed
//! connections, as all contenders do (`proxy_half_close`, off by default: it then closes both sides at the first end of
//! stream, and what the other side still had to say is lost).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::{Contender, EVERYWHERE, RunningContender, WEIGHTS, version_of};
use crate::datapaths::process::{Process, Setting};
use crate::datapaths::world::BenchWorld;

pub(super) const CONTENDER: Contender = Contender { name: "nginx", topologies: &EVERYWHERE, version, start };

const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

fn version(_: &Setting) -> Result<String> {
    ensure!(Path::new(MODULE).exists(), "there is no {MODULE} here (Debian package libnginx-mod-stream)");
    Ok(version_of("nginx", &["-v"], 2)?.trim_start_matches("nginx/").to_owned())
}

fn start(setting: &Setting, world: &BenchWorld) -> Result<RunningContender> {
    let workers = setting.cores.len();
    let file = world.write("nginx.conf", &configuration(world, workers, WEIGHTS))?;
    let command = ["nginx", "-p", &*world.folder.to_string_lossy(), "-c", &file, "-e", "error.log"];
    let mut process = Process::start(setting, &world.balancer, &command, &[], &world.file("nginx.log"))?;
    world.await_front(&mut process)?;
    let edit = move |world: &BenchWorld, process: Option<&Process>, weights: [u32; 2]| {
        world.write("nginx.conf", &configuration(world, workers, weights)).context("cannot change the weights")?;
        process.context("nginx has no process")?.signal(Signal::HUP)
    };
    Ok(RunningContender { to: world.front, process: Some(process), edit: Some(Box::new(edit)), look: None })
}

fn configuration(world: &BenchWorld, workers: usize, weights: [u32; 2]) -> String {
    // Weight 0 is not a word of its.
    let server = |number: usize| match weights[number] {
        0 => format!("    server {} down;\n", world.versions[number]),
        weight => format!("    server {} weight={weight};\n", world.versions[number]),
    };
    format!(
        "load_module {MODULE};\nuser root;\ndaemon off;\nworker_processes {workers};\nworker_rlimit_nofile 20000;\n\
         pid nginx.pid;\nerror_log error.log warn;\nevents {{\n  worker_connections 19500;\n}}\n\
         stream {{\n  upstream versions {{\n{}{}  }}\n  server {{\n    listen {} backlog=4096;\n    proxy_timeout 1h;\n    \
         proxy_half_close on;\n    proxy_pass versions;\n  }}\n}}\n",
        server(0),
        server(1),
        world.front
    )
}
