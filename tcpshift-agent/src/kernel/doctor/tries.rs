//! Programs that are loaded, attached and run, on maps of their own, by a plan of their own.
//!
//! It must not know what else the machine has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::panic;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aya::Ebpf;
use socket2::{Domain, SockRef, Socket, Type};
use tcpshift_common::address::{Flow, Prefix, family};
use tcpshift_common::decide::{self, Decision, Inputs, Steer, steer};
use tcpshift_common::listener::RuleRow;

use super::super::capabilities;
use super::super::cgroup::Cgroup;
use super::super::refusal::ProgramRefusal;
use super::super::trial::Trial;
use super::super::{EndpointPresence, Kernel, KernelOptions, Loading, OnLoss, SteeringOptions, TRIED, load};
use super::{FAILS, Logs, ProgramOutcome, ProgramReport, REFUSED};
use crate::plan::hashing::Shelf;
use crate::plan::weigh::Layout;
use crate::plan::{
    Chosen, Datapath, Destination, EndpointSet, Kind, Limits, Listener, LoadBalancer, MeshListener, OnEmpty, Plan,
    Route, Sets, Settings, WeightTable,
};

/// How often is looked whether a listening socket is known by now.
const ROUND: Duration = Duration::from_millis(10);

/// Tells how far it is: all programs, after each step.
pub(super) type Tell<'a> = &'a dyn Fn(&[ProgramReport]);

/// Loads, attaches and runs the programs that are built in.
pub(super) fn built_in(logs: Option<&Logs>, tell: Tell<'_>) -> Result<()> {
    let mut programs: Vec<_> = load::PROGRAMS.into_iter().map(|(name, kind)| ProgramReport::new(name, kind)).collect();
    tell(&programs);
    let opened = Cgroup::own().and_then(|cgroup| {
        // Nobody else is steered, be it for a moment.
        let asked = SteeringOptions { cgroup: Some(cgroup.path), on_loss: OnLoss::Keep, patience: Duration::ZERO };
        Loading::open(&KernelOptions { max_routes: 1, steering: Ok(asked) })
    });
    let mut loading = match opened {
        Ok(loading) => loading,
        Err(error) => {
            not_tried(&mut programs, &format!("{error:#}"));
            tell(&programs);
            return Ok(());
        }
    };
    let mut is_taken = true;
    if let Some(logs) = logs {
        let object = load::built_in().context("this agent was built without the kernel's programs")?;
        let trial = Trial::new(object, &loading.ebpf)?;
        let names = load::PROGRAMS.map(|(name, _)| name.to_owned());
        is_taken = by_itself(&mut programs, &names, &trial, Some(logs), tell)?;
    }
    if is_taken {
        one_by_one(&mut programs, &mut loading, tell);
    }
    let is_wrong = |program: &&ProgramReport| matches!(program.state, ProgramOutcome::Refused | ProgramOutcome::Fails);
    let refused = programs.iter().find(is_wrong).map(first_wrong);
    // As an agent does: it decides by `assign` alone, and steers by all of the others or not at all.
    let steers = programs.iter().filter(|program| is_for_steering(&program.name)).all(has);
    if let (false, Some(refused)) = (steers, &refused) {
        loading.steering = Err(refused.clone());
    }
    if programs.iter().any(|program| program.name == "assign" && has(program)) {
        match loading.finish() {
            Ok(mut kernel) => run(&mut programs, &mut kernel, steers, tell),
            Err(error) => {
                for program in programs.iter_mut().filter(|program| has(program)) {
                    program.fail(format!("{error:#}"));
                }
            }
        }
    }
    if let Some(refused) = refused {
        programs.iter_mut().filter(|program| has(program)).for_each(|program| program.leave(&refused));
    }
    tell(&programs);
    Ok(())
}

/// Why those after a program are not tried, which is refused or fails.
fn first_wrong(program: &ProgramReport) -> String {
    let what = if program.state == ProgramOutcome::Refused { REFUSED } else { FAILS };
    format!("`{}` {what}", program.name)
}

/// Whether the kernel has it, and it was not run.
fn has(program: &ProgramReport) -> bool {
    program.state == ProgramOutcome::Loaded
}

/// Whether a program serves connections without the agent.
fn is_for_steering(name: &str) -> bool {
    !matches!(name, "assign" | "explain")
}

/// Loads the programs of another build. They are not run: they may mean other maps than this agent's.
pub(super) fn other(object: &[u8], logs: Option<&Logs>, tell: Tell<'_>) -> Result<()> {
    let missing = capabilities::missing()?;
    ensure!(missing.is_empty(), "this process lacks {}; run it as root", missing.join(", "));
    let (_ebpf, trial) = open(object)?;
    let (names, kinds): (Vec<_>, Vec<_>) = trial.programs().into_iter().unzip();
    let program = |(name, kind): (&String, Option<&'static str>)| ProgramReport::new(name, kind.unwrap_or("other"));
    let mut programs: Vec<_> = names.iter().zip(kinds).map(program).collect();
    ensure!(!programs.is_empty(), "there is no program in it");
    by_itself(&mut programs, &names, &trial, logs, tell)?;
    tell(&programs);
    Ok(())
}

/// Reads an object of somebody's. aya trusts what a file says of its own lengths, and panics where that is wrong.
fn open(object: &[u8]) -> Result<(Ebpf, Trial)> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let opened = panic::catch_unwind(|| {
        let ebpf = load::open_other(object)?;
        let trial = Trial::new(object, &ebpf)?;
        Ok((ebpf, trial))
    });
    panic::set_hook(hook);
    opened.unwrap_or_else(|_| bail!("it is no object of programs, or a damaged one"))
}

/// Has the verifier follow each program, and keeps its logs if they are wanted; then none is left out, else the first that is
/// refused is the last one. `names` are theirs as the object has them, which may not be fit to be shown. Returns whether all of
/// them are taken.
fn by_itself(
    programs: &mut [ProgramReport],
    names: &[String],
    trial: &Trial,
    logs: Option<&Logs>,
    tell: Tell<'_>,
) -> Result<bool> {
    for (at, name) in names.iter().enumerate() {
        programs[at].state = ProgramOutcome::Checking;
        tell(programs);
        match trial.load(name) {
            Ok(tried) => {
                match tried.taken {
                    Ok(()) => programs[at].load(tried.verified),
                    Err(refusal) => programs[at].refuse(&refusal),
                }
                if let Some(logs) = logs {
                    // A log that is full may lack its end, which says why.
                    let last = programs[at].said.join("\n");
                    logs.write(name, format!("{}\n{last}", trial.log(name)?.trim_end()).trim_end())?;
                }
            }
            Err(error) => programs[at].fail(format!("{error:#}")),
        }
        tell(programs);
        if logs.is_none() && programs[at].state != ProgramOutcome::Loaded {
            let why = first_wrong(&programs[at]);
            not_tried(&mut programs[at + 1..], &why);
            return Ok(false);
        }
    }
    Ok(programs.iter().all(|program| program.state == ProgramOutcome::Loaded))
}

/// Has the kernel take the programs as an agent does, up to the first that it refuses.
fn one_by_one(programs: &mut [ProgramReport], loading: &mut Loading, tell: Tell<'_>) {
    let steering = loading.steering.as_ref().err().cloned();
    for at in 0..programs.len() {
        let name = programs[at].name.clone();
        if let Some(why) = steering.as_ref().filter(|_| is_for_steering(&name)) {
            not_tried(&mut programs[at..=at], why);
            continue;
        }
        programs[at].state = ProgramOutcome::Checking;
        tell(programs);
        match load::take(&mut loading.ebpf, &name) {
            Ok(_) => {
                let verified = load::verified(&loading.ebpf, &name).ok().flatten();
                programs[at].load(verified.or_else(|| statistics(loading, &name)));
                tell(programs);
            }
            Err(error) => {
                match error.downcast_ref::<ProgramRefusal>() {
                    Some(refusal) => programs[at].refuse(refusal),
                    None => programs[at].fail(format!("{error:#}")),
                }
                let why = first_wrong(&programs[at]);
                return not_tried(&mut programs[at + 1..], &why);
            }
        }
    }
}

/// Instructions that the verifier follows, from its log, where the kernel does not tell them otherwise.
fn statistics(loading: &Loading, name: &str) -> Option<u32> {
    Trial::new(load::built_in()?, &loading.ebpf).ok()?.load(name).ok()?.verified
}

fn not_tried(programs: &mut [ProgramReport], why: &str) {
    for program in programs {
        (program.state, program.found) = (ProgramOutcome::NotTried, format!("not tried: {why}"));
    }
}

/// Attaches the programs that the kernel has, and runs them; those that steer only if all of them are there.
fn run(programs: &mut [ProgramReport], kernel: &mut Kernel, steers: bool, tell: Tell<'_>) {
    settle(programs, &["assign"], &try_assign(kernel), tell);
    if programs.iter().any(|program| program.name == "explain" && has(program)) {
        settle(programs, &["explain"], &try_explain(kernel), tell);
    }
    if !steers {
        return;
    }
    for (names, service) in [(["connect4", "getpeername4"], SERVICE_V4), (["connect6", "getpeername6"], SERVICE_V6)] {
        let tried = attached(kernel).and_then(|()| try_connect(kernel, service));
        settle(programs, &names, &tried, tell);
    }
    // `record` counts what `lookup` hands over, and `refuse` takes what it hands to nobody.
    let tried = attached(kernel).and_then(|()| try_lookup(kernel));
    settle(programs, &["lookup", "record", "refuse"], &tried, tell);
}

/// Keeps what became of programs that were tried together.
fn settle(programs: &mut [ProgramReport], names: &[&str], tried: &Result<String>, tell: Tell<'_>) {
    for program in programs.iter_mut().filter(|program| names.contains(&&*program.name)) {
        match tried {
            Ok(did) => program.work(did.clone()),
            Err(error) => program.fail(format!("{error:#}")),
        }
    }
    tell(programs);
}

/// Fails if the programs that steer are not attached.
fn attached(kernel: &Kernel) -> Result<()> {
    kernel.steers().map_err(|why| anyhow::Error::msg(why.to_owned()))
}

/// Addresses for documentation (RFC 5737, RFC 3849): nobody connects to them but who tries a program.
const SERVICE_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9000);
const SERVICE_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9000);

/// Connects to a service, and looks whether its endpoint has the connection, and who the client thinks that it is.
fn try_connect(kernel: &mut Kernel, service: SocketAddr) -> Result<String> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    let (mut plan, sets) = plan(server.local_addr()?, Some(Datapath::Connect));
    let Listener { number, rules, routes, .. } = (*plan.listeners.remove(0)).clone();
    let address = service.ip().into();
    let (host, port) = ("doctor".to_owned(), service.port());
    plan.mesh.push(Arc::new(MeshListener { number, host, port, addresses: vec![address], rules, routes }));
    put_in_force(kernel, &plan, &sets)?;
    let client = TcpStream::connect_timeout(&service, TRIED)
        .with_context(|| format!("a connection to {service} was not pointed at its endpoint"))?;
    accept(&server)?;
    let peer = client.peer_addr()?;
    ensure!(peer == service, "the client is told that it is connected to {peer}, and has asked for {service}");
    Ok(format!("pointed a connection to {service} at its endpoint"))
}

/// Connects to an address at which nobody listens, and looks whether the endpoint has the connection.
fn try_lookup(kernel: &mut Kernel) -> Result<String> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    let endpoint = server.local_addr()?;
    // Bound, and it does not listen: nobody else can have the port.
    let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).context("cannot open a socket")?;
    reserved.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).context("cannot bind to 127.0.0.1")?;
    let Some(front) = reserved.local_addr()?.as_socket() else { bail!("a socket has no address") };
    kernel.listening.want([endpoint].into()).context("listening sockets cannot be looked at")?;
    let until = Instant::now() + TRIED;
    while kernel.listening.presence(endpoint) == EndpointPresence::Nobody && Instant::now() < until {
        thread::sleep(ROUND);
        kernel.listening.look().context("listening sockets cannot be looked at")?;
    }
    let presence = kernel.listening.presence(endpoint);
    ensure!(presence == EndpointPresence::Fit, "a listening socket of this process is not found: {presence:?}");
    let (mut plan, sets) = plan(endpoint, Some(Datapath::Lookup));
    let listener = Listener { address: front, ..(*plan.listeners.remove(0)).clone() };
    plan.listeners.push(Arc::new(listener));
    put_in_force(kernel, &plan, &sets)?;
    let _client = TcpStream::connect_timeout(&front, TRIED).context("a connection was handed to nobody")?;
    let (accepted, _) = accept(&server)?;
    ensure!(accepted.local_addr()? == front, "a connection came by itself to the endpoint");
    let opened: u64 = (0..2).map(|number| kernel.opened(number)).sum::<Result<u64>>()?;
    // Those of `connect` before it, one for each family, have been counted too.
    ensure!(opened == 3, "of 3 connections that were steered, {opened} were counted");
    Ok("handed a connection to the socket of its endpoint, and counted it".to_owned())
}

/// Accepts what was connected before; somebody else may have had it.
fn accept(server: &TcpListener) -> Result<(TcpStream, SocketAddr)> {
    SockRef::from(server).set_read_timeout(Some(TRIED))?;
    server.accept().context("no connection came to 127.0.0.1")
}

fn put_in_force(kernel: &mut Kernel, plan: &Plan, sets: &Sets) -> Result<()> {
    let prepared = kernel.prepare(plan, sets)?;
    kernel.publish(prepared)
}

/// Attaches it to the cgroup of this process, and looks whether a connection is assigned as a plan says.
fn try_assign(kernel: &mut Kernel) -> Result<String> {
    let _link = Kernel::attach(&mut kernel.ebpf, &kernel.cgroup)?;
    kernel.try_out(TRIED)?;
    let (plan, sets) = plan(ENDPOINT, None);
    put_in_force(kernel, &plan, &sets)?;
    let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    let listener = &plan.listeners[0];
    kernel.sockets.serve(listening.as_fd(), listener.number).context("cannot tell the program of a socket")?;
    let near = listening.local_addr()?;
    let _client = TcpStream::connect_timeout(&near, TRIED).context("cannot connect on 127.0.0.1")?;
    let (accepted, peer) = accept(&listening)?;
    let Some(assignment) = kernel.sockets.assignment(accepted.as_fd(), listener.number) else {
        bail!("it decided nothing for a connection that it saw");
    };
    let expected = expected((&plan, &sets), &Flow::between(peer, near));
    ensure!(assignment.decision == expected, "it decided {:?}, and the plan says {expected:?}", assignment.decision);
    Ok(format!("attached to {}, and decided as a plan says", kernel.cgroup().display()))
}

/// Flows that `explain` is asked for.
const FLOWS: u16 = 100;

/// Asks it for flows, and looks whether it answers as the plan says.
fn try_explain(kernel: &mut Kernel) -> Result<String> {
    let (plan, sets) = plan(ENDPOINT, None);
    put_in_force(kernel, &plan, &sets)?;
    for port in 0..FLOWS {
        let flow = Flow::between((Ipv4Addr::new(192, 0, 2, 1), 40_000 + port).into(), plan.listeners[0].address);
        let expected = expected((&plan, &sets), &flow);
        let answer = kernel.explain(plan.listeners[0].number, &flow, [0, 0])?.map(|answer| answer.decision);
        ensure!(answer == Some(expected), "it answers {answer:?}, and the plan says {expected:?}");
    }
    Ok(format!("run for {FLOWS} flows, and answered as a plan says"))
}

/// What the agent would decide.
fn expected((plan, sets): (&Plan, &Sets), flow: &Flow) -> Decision {
    let route = &*plan.listeners[0].routes[0];
    decide::decide(plan.seed, &route.steer, flow, &sets.table(route), &mut Nothing)
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

/// An address for documentation (RFC 5737), to which nobody connects.
const ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), 9000);

/// A plan of one listener and one route, three to one between two destinations that have one endpoint each, the same.
fn plan(address: SocketAddr, datapath: Option<Datapath>) -> (Plan, Sets) {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 31_400));
    let weights = [("v1".to_owned(), 3), ("v2".to_owned(), 1)];
    let table = WeightTable::new(Layout::Scattered, &weights);
    let destinations =
        weights.iter().zip(table.shares()).zip(0_u32..).map(|(((name, weight), slots), number)| Destination {
            name: name.clone(),
            host: name.clone(),
            subset: None,
            port: 9000,
            target: number,
            weight: *weight,
            slots,
            settings: Settings::default(),
            number,
            choice: LoadBalancer::Random,
            set: number,
        });
    let destinations = destinations.collect();
    let sets = (0..2).map(|number| {
        let endpoints = Ok(vec![(address.into(), 1)]);
        EndpointSet::new(LoadBalancer::Random, endpoints, &mut Shelf::default(), |_| number)
    });
    let chosen = |datapath| Chosen { datapath: Some(datapath), only: true, family: family::ANY, reason: String::new() };
    let route = Route {
        number: 0,
        kind: Kind::VirtualService,
        namespace: "doctor".to_owned(),
        object: "doctor".to_owned(),
        rule: 0,
        id: 0,
        steer: Steer { by: steer::CONNECTION, v4_bits: 0, v6_bits: 0 },
        on_empty: OnEmpty::Refuse,
        limits: Limits::default(),
        asked: crate::plan::Wish::Auto,
        chosen: datapath.map(chosen).unwrap_or_else(|| chosen(Datapath::Proxy)),
        destinations,
        table,
    };
    let everyone = RuleRow::new(Prefix::default(), Prefix::default(), 0);
    let listener = Listener {
        number: 0,
        name: "doctor".to_owned(),
        address: server,
        rules: vec![everyone],
        routes: vec![Arc::new(route)],
    };
    let plan =
        Plan { generation: 1, listeners: vec![Arc::new(listener)], ..Plan::empty(tcpshift_common::DEFAULT_SEED) };
    (plan, sets.collect())
}
