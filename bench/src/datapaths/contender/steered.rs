//! tcpshift where the kernel steers and nobody carries: `connect` points a client of this host at an endpoint, `lookup`
//! hands a SYN to the socket of one.
//!
//! The agent has a bpf filesystem of its own, and takes the contender's cgroup for the root of all, in which it has one
//! of its own: what it attaches meets nobody else, and direct is measured without it.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;

use super::{Contender, EVERYWHERE, RunningContender, WEIGHTS, agent};
use crate::datapaths::namespace::Namespace;
use crate::datapaths::process::{Process, Setting};
use crate::datapaths::world::BenchWorld;
use crate::datapaths::{Topology, cgroup};

pub(super) const CONNECT: Contender = Contender {
    name: "tcpshift-connect",
    // Its clients are programs of the host that it steers.
    topologies: &[Topology::Host],
    version: agent::version,
    start: connect,
};

pub(super) const LOOKUP: Contender =
    Contender { name: "tcpshift-lookup", topologies: &EVERYWHERE, version: agent::version, start: lookup };

/// The service's host, as its clients inside a mesh know it.
const HOST: &str = "bench.example.com";
/// An address of the service, which is nobody's.
const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(240, 0, 0, 1), 9_000);

fn connect(setting: &Setting, world: &BenchWorld) -> Result<RunningContender> {
    let process = start(setting, world, &world.balancer, &mesh(world, WEIGHTS))?;
    running(setting, world, SERVICE, process)
}

fn lookup(setting: &Setting, world: &BenchWorld) -> Result<RunningContender> {
    // Gateway and endpoints are of one host.
    let to = SocketAddrV4::new(*world.direct.ip(), world.front.port());
    let objects =
        agent::service(world) + &agent::gateway(world, ", annotations: {tcpshift.io/datapath: lookup}", WEIGHTS);
    let process = start(setting, world, &world.backend, &objects)?;
    running(setting, world, to, process)
}

fn start(setting: &Setting, world: &BenchWorld, namespace: &Namespace, objects: &str) -> Result<Process> {
    let mounts = format!(
        "echo $$ > '{}/cgroup.procs' && mount -t bpf bpf /sys/fs/bpf && mount --bind '{}' '{}' && exec \"$0\" \"$@\"",
        world.cgroup.below.display(),
        world.cgroup.folder.display(),
        cgroup::mounted()?.display()
    );
    let around = ["unshare", "--mount", "--cgroup", "sh", "-c", &mounts];
    let process = agent::start(setting, world, namespace, &around, &["--assign", "kernel"])?;
    agent::apply(world, objects)?;
    Ok(process)
}

fn running(setting: &Setting, world: &BenchWorld, to: SocketAddrV4, mut process: Process) -> Result<RunningContender> {
    process.until("steers connections", || world.is_answered(setting, to))?;
    Ok(RunningContender { to, process: Some(process), edit: Some(agent::edit()), look: Some(agent::LOOK) })
}

/// A service with an address, two versions of it, and a route for clients inside a mesh.
fn mesh(world: &BenchWorld, weights: [u32; 2]) -> String {
    let endpoint = |number: usize| {
        let address = world.versions[number];
        format!(
            "  - {{address: {}, ports: {{tcp: {}}}, labels: {{version: v{}}}}}\n",
            address.ip(),
            address.port(),
            number + 1
        )
    };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: bench}}\nspec:\n  hosts: [{HOST}]\n  \
         addresses: [{}]\n  ports: [{{number: {}, name: tcp, protocol: TCP}}]\n  resolution: STATIC\n  endpoints:\n{}{}{}\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: bench}}\nspec:\n  \
         hosts: [{HOST}]\n{}",
        SERVICE.ip(),
        SERVICE.port(),
        endpoint(0),
        endpoint(1),
        agent::subsets(HOST),
        agent::shares(HOST, weights)
    )
}
