//! tcpshift's proxy: the release build of this workspace, by its command line and its admin socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Contender, Running, WEIGHTS, version_of};
use crate::datapaths::process::{Process, Setting};
use crate::datapaths::world::World;

pub(super) const CONTENDER: Contender = Contender { name: "tcpshift", version, start };

const SOCKET: &str = "admin.sock";

fn version(setting: &Setting) -> Result<String> {
    let version = version_of(&setting.built("tcpshift-agent").to_string_lossy(), &["--version"], 1)?;
    let commit = version_of("git", &["rev-parse", "--short", "HEAD"], 0).unwrap_or_default();
    Ok(format!("{version} {commit}").trim_end().to_owned())
}

fn start(setting: &Setting, world: &World) -> Result<Running> {
    let routes = world.write("routes.yaml", &routes(world, WEIGHTS))?;
    let program = setting.built("tcpshift-agent").to_string_lossy().into_owned();
    let (state, admin) = (world.file("state"), format!("unix:{}", world.file(SOCKET).display()));
    let (state, address) = (state.to_string_lossy(), world.front.ip().to_string());
    let words =
        ["run", "--datapath", "proxy", "--assign", "agent", "--listen-address", &address, "--state-dir", &state];
    let command = [&[program.as_str()], words.as_slice()].concat();
    let environment = [("TCPSHIFT_ADMIN", admin.as_str())];
    let mut process = Process::start(setting, &world.balancer, &command, &environment, &world.file("tcpshift.log"))?;
    process.until("answers", || UnixStream::connect(world.file(SOCKET)).is_ok())?;
    let text = std::fs::read_to_string(&routes).with_context(|| format!("cannot read {routes}"))?;
    apply(world, &text)?;
    world.await_front(&mut process)?;
    let edit = |world: &World, _: Option<&Process>, weights: [u32; 2]| {
        let shares = json!([
            {"subset": "v1", "slots": weights[0] * 100},
            {"subset": "v2", "slots": weights[1] * 100},
        ]);
        post(world, "shift", &json!({"object": {"kind": "vs", "name": "bench"}, "shares": shares}))
    };
    Ok(Running { to: world.front, process: Some(process), edit: Some(Box::new(edit)) })
}

/// Applies objects by the admin socket.
fn apply(world: &World, text: &str) -> Result<()> {
    post(world, "apply", &json!({"documents": [{"name": "routes.yaml", "text": text}]}))
}

fn post(world: &World, path: &str, body: &serde_json::Value) -> Result<()> {
    let mut stream = UnixStream::connect(world.file(SOCKET)).context("cannot connect to the admin socket")?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).context("cannot set a deadline")?;
    let body = body.to_string();
    let request = format!(
        "POST /v1/{path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).context("cannot write to the admin socket")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("cannot read from the admin socket")?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "the agent refuses /v1/{path}: {answer}");
    Ok(())
}

/// The objects of a service with two versions.
fn routes(world: &World, weights: [u32; 2]) -> String {
    let entry = |number: usize| {
        let address = world.versions[number];
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: bench-v{0}}}\nspec:\n  \
             address: {1}\n  labels: {{app: bench, version: v{0}}}\n  ports: {{tcp: {2}}}\n",
            number + 1,
            address.ip(),
            address.port()
        )
    };
    let to = |number: usize| {
        format!(
            "    - destination: {{host: bench, subset: v{}, port: {{number: 9000}}}}\n      weight: {}\n",
            number + 1,
            weights[number]
        )
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: bench}}\nspec:\n  selector: {{app: bench}}\n  \
         ports: [{{name: tcp, port: 9000}}]\n{}{}\
         ---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: bench}}\nspec:\n  host: bench\n  \
         subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  - {{name: v2, labels: {{version: v2}}}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: bench}}\nspec:\n  servers:\n  \
         - {{port: {{number: {}, name: tcp, protocol: TCP}}, hosts: ['*']}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: bench}}\nspec:\n  hosts: ['*']\n  \
         gateways: [bench]\n  tcp:\n  - route:\n{}{}",
        entry(0),
        entry(1),
        world.front.port(),
        to(0),
        to(1)
    )
}
