//! Programs that are loaded, attached and run, on maps of their own, by a plan of their own.
//!
//! It must not know what else the machine has.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use aya::programs::ProgramInfo;
use tcpshift_common::address::{Flow, Prefix};
use tcpshift_common::decide::{self, Decision, Inputs, Steer, steer};
use tcpshift_common::destination::{self, policy};
use tcpshift_common::listener::Rule;

use super::super::{Kernel, TRIED, Wanted, load};
use super::Program;
use crate::plan::weigh::Layout;
use crate::plan::{Asked, Destination, Endpoint, Kind, Limits, Listener, OnEmpty, Plan, Route, Settings, WeightTable};

/// Loads, attaches and runs.
pub(super) fn programs() -> Vec<Program> {
    let program =
        |name, kind| Program { name, kind, loaded: false, verified: None, works: false, found: String::new() };
    let (mut assign, mut explain) = (program("assign", "sock_ops"), program("explain", "sched_cls"));
    match Kernel::load(&Wanted { max_routes: 1, steering: Err("not tried".to_owned()) }) {
        Ok(mut kernel) => {
            tell(&mut assign, try_assign(&mut kernel));
            let info = load::assign(&mut kernel.ebpf).and_then(|program| Ok(program.info()?)).ok();
            take(&mut assign, info);
            tell(&mut explain, try_explain(&mut kernel));
            let info = load::explain(&mut kernel.ebpf).and_then(|program| Ok(program.info()?)).ok();
            take(&mut explain, info);
        }
        Err(error) => {
            for program in [&mut assign, &mut explain] {
                program.found = format!("not tried: {error:#}");
            }
        }
    }
    vec![assign, explain]
}

/// What came of trying it.
fn tell(program: &mut Program, tried: Result<String>) {
    program.works = tried.is_ok();
    program.found = tried.unwrap_or_else(|error| format!("{error:#}"));
}

/// What the kernel says of it, if it has it.
fn take(program: &mut Program, info: Option<ProgramInfo>) {
    program.loaded = info.is_some();
    program.verified = info.and_then(|info| info.verified_instruction_count());
}

/// Attaches it to the cgroup of this process, and looks whether a connection is assigned as a plan says.
fn try_assign(kernel: &mut Kernel) -> Result<String> {
    let _link = kernel.attach()?;
    kernel.try_out()?;
    let plan = plan();
    let prepared = kernel.prepare(&plan)?;
    kernel.publish(prepared)?;
    let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    let listener = &plan.listeners[0];
    kernel.sockets.serve(listening.as_fd(), listener.number).context("cannot tell the program of a socket")?;
    let near = listening.local_addr()?;
    let _client = TcpStream::connect_timeout(&near, TRIED).context("cannot connect on 127.0.0.1")?;
    let (accepted, peer) = listening.accept().context("cannot accept on 127.0.0.1")?;
    let Some(assignment) = kernel.sockets.assignment(accepted.as_fd(), listener.number) else {
        bail!("it decided nothing for a connection that it saw");
    };
    let expected = expected(&plan, &Flow::between(peer, near));
    ensure!(assignment.decision == expected, "it decided {:?}, and the plan says {expected:?}", assignment.decision);
    Ok(format!("attached to {}, and decided as a plan says", kernel.cgroup().display()))
}

/// Flows that `explain` is asked for.
const FLOWS: u16 = 100;

/// Asks it for flows, and looks whether it answers as the plan says.
fn try_explain(kernel: &mut Kernel) -> Result<String> {
    let plan = plan();
    let prepared = kernel.prepare(&plan)?;
    kernel.publish(prepared)?;
    for port in 0..FLOWS {
        let flow = Flow::between((Ipv4Addr::new(192, 0, 2, 1), 40_000 + port).into(), plan.listeners[0].address);
        let expected = expected(&plan, &flow);
        let answer = kernel.explain(plan.listeners[0].number, &flow, [0, 0])?.map(|answer| answer.decision);
        ensure!(answer == Some(expected), "it answers {answer:?}, and the plan says {expected:?}");
    }
    Ok(format!("run for {FLOWS} flows, and answered as a plan says"))
}

/// What the agent would decide.
fn expected(plan: &Plan, flow: &Flow) -> Decision {
    let route = &*plan.listeners[0].routes[0];
    decide::decide(plan.seed, &route.steer, flow, route, &mut Nothing)
}

/// The plan decides by the flow alone.
struct Nothing;

impl Inputs for Nothing {
    fn sequence(&mut self) -> u64 {
        0
    }

    fn turn(&mut self, _: u32) -> u64 {
        0
    }

    fn random(&mut self) -> u32 {
        0
    }

    fn load(&self, _: u32) -> u32 {
        0
    }
}

/// A plan of one listener and one route, three to one between two destinations of one endpoint. The addresses are
/// for documentation (RFC 5737), and nobody connects to them.
fn plan() -> Plan {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 31_400));
    let weights = [("v1".to_owned(), 3), ("v2".to_owned(), 1)];
    let table = WeightTable::new(Layout::Scattered, &weights);
    let destinations = weights.iter().zip(table.shares()).zip(0_u32..).map(|(((name, weight), slots), number)| {
        let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 10 + number as u8), 9000));
        let decides = destination::Endpoint { number, weight: 1, upto: 1 };
        Destination {
            name: name.clone(),
            host: name.clone(),
            subset: None,
            port: 9000,
            weight: *weight,
            slots,
            settings: Settings::default(),
            unusable: None,
            decides: destination::Destination {
                number,
                endpoints: 1,
                weight: 1,
                policy: policy::RANDOM,
                stride: 0,
                places: 0,
            },
            endpoints: Arc::new([Endpoint { address: address.into(), decides }]),
            hashing: None,
        }
    });
    let route = Route {
        number: 0,
        kind: Kind::VirtualService,
        namespace: "doctor".to_owned(),
        object: "doctor".to_owned(),
        rule: 0,
        steer: Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        on_empty: OnEmpty::Refuse,
        limits: Limits::default(),
        asked: Asked::Auto,
        destinations: destinations.collect(),
        table,
    };
    let everyone = Rule::new(Prefix::default(), Prefix::default(), 0);
    let listener = Listener {
        number: 0,
        name: "doctor".to_owned(),
        address: server,
        rules: vec![everyone],
        routes: vec![Arc::new(route)],
    };
    Plan { generation: 1, listeners: vec![Arc::new(listener)], ..Plan::empty(tcpshift_common::DEFAULT_SEED) }
}
