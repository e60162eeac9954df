//! An agent of tcpshift as all its contenders have it: the release build of this workspace, its admin socket, and objects
//! of a service with two versions.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{ConnectionLook, WeightEdit, version_of};
use crate::datapaths::namespace::Namespace;
use crate::datapaths::process::{Process, Setting};
use crate::datapaths::world::BenchWorld;

const SOCKET: &str = "admin.sock";

pub(super) fn version(setting: &Setting) -> Result<String> {
    let version = version_of(&setting.built("tcpshift-agent").to_string_lossy(), &["--version"], 1)?;
    let commit = version_of("git", &["rev-parse", "--short", "HEAD"], 0).unwrap_or_default();
    Ok(format!("{version} {commit}").trim_end().to_owned())
}

/// Starts one that has no object yet. `around` is a program that runs it, with its own words.
pub(super) fn start(
    setting: &Setting,
    world: &BenchWorld,
    namespace: &Namespace,
    around: &[&str],
    words: &[&str],
) -> Result<Process> {
    let program = setting.built("tcpshift-agent").to_string_lossy().into_owned();
    let state = world.file("state").to_string_lossy().into_owned();
    let admin = format!("unix:{}", world.file(SOCKET).display());
    let command = [around, &[&program, "run", "--state-dir", &state], words].concat();
    let environment = [("TCPSHIFT_ADMIN", admin.as_str())];
    let mut process = Process::start(setting, namespace, &command, &environment, &world.file("tcpshift.log"))?;
    process.until("answers", || UnixStream::connect(world.file(SOCKET)).is_ok())?;
    Ok(process)
}

/// Gives it objects.
pub(super) fn apply(world: &BenchWorld, text: &str) -> Result<()> {
    world.write("routes.yaml", text)?;
    post(world, "apply", &json!({"documents": [{"name": "routes.yaml", "text": text}]}))
}

/// Gives the versions other weights, which is durable when it returns.
pub(super) fn edit() -> WeightEdit {
    Box::new(|world: &BenchWorld, _: Option<&Process>, weights: [u32; 2]| {
        let shares = json!([
            {"subset": "v1", "slots": weights[0] * 100},
            {"subset": "v2", "slots": weights[1] * 100},
        ]);
        post(world, "shift", &json!({"object": {"kind": "vs", "name": "bench"}, "shares": shares}))
    })
}

/// How its connections are looked at.
pub(super) const LOOK: ConnectionLook = ConnectionLook { list, status };

fn list(world: &BenchWorld) -> Result<usize> {
    let listed = get(world, "connections")?;
    let all = listed.get("connections").and_then(serde_json::Value::as_array);
    Ok(all.context("the agent lists no connections")?.len())
}

fn status(world: &BenchWorld) -> Result<()> {
    get(world, "status").map(drop)
}

fn get(world: &BenchWorld, path: &str) -> Result<serde_json::Value> {
    let answer = ask(world, path, &format!("GET /v1/{path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"))?;
    let (_, body) = answer.split_once("\r\n\r\n").context("the agent answers with no body")?;
    serde_json::from_str(body).with_context(|| format!("what the agent says at /v1/{path} is no JSON"))
}

fn post(world: &BenchWorld, path: &str, body: &serde_json::Value) -> Result<()> {
    let body = body.to_string();
    let request = format!(
        "POST /v1/{path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    ask(world, path, &request).map(drop)
}

/// The whole answer to a request, which must be a good one.
fn ask(world: &BenchWorld, path: &str, request: &str) -> Result<String> {
    let mut stream = UnixStream::connect(world.file(SOCKET)).context("cannot connect to the admin socket")?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).context("cannot set a deadline")?;
    stream.write_all(request.as_bytes()).context("cannot write to the admin socket")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("cannot read from the admin socket")?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "the agent refuses /v1/{path}: {answer}");
    Ok(answer)
}

/// A service of this host's programs or others' with two versions, that a route names `bench`.
pub(super) fn service(world: &BenchWorld) -> String {
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
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: bench}}\nspec:\n  selector: {{app: bench}}\n  \
         ports: [{{name: tcp, port: 9000}}]\n{}{}{}",
        entry(0),
        entry(1),
        subsets("bench")
    )
}

/// The two versions of a service.
pub(super) fn subsets(host: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: bench}}\nspec:\n  host: {host}\n  \
         subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  - {{name: v2, labels: {{version: v2}}}}\n"
    )
}

/// A Gateway that serves the front's port, and its route to the service of [`service`]. `annotations` are the route's.
pub(super) fn gateway(world: &BenchWorld, annotations: &str, weights: [u32; 2]) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: bench}}\nspec:\n  servers:\n  \
         - {{port: {{number: {}, name: tcp, protocol: TCP}}, hosts: ['*']}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: bench{annotations}}}\nspec:\n  \
         hosts: ['*']\n  gateways: [bench]\n{}",
        world.front.port(),
        shares("bench", weights)
    )
}

/// The rule of a route to both versions of a service at its port 9000.
pub(super) fn shares(host: &str, weights: [u32; 2]) -> String {
    let to = |number: usize| {
        format!(
            "    - destination: {{host: {host}, subset: v{}, port: {{number: 9000}}}}\n      weight: {}\n",
            number + 1,
            weights[number]
        )
    };
    format!("  tcp:\n  - route:\n{}{}", to(0), to(1))
}
