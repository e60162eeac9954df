//! Running the programs: connections of this process, and whether each goes where a plan says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, SockRef, Socket, Type};
use tcpshift_common::address::Flow;

use super::plan::{ENDPOINT, expected, plan};
use super::{Tell, has};
use crate::kernel::doctor::ProgramReport;
use crate::kernel::load::{Ability, PROGRAMS};
use crate::kernel::{EndpointPresence, Kernel, TRIED};
use crate::plan::{Datapath, Listener, MeshListener, Plan, Sets};

/// Pause between two looks for a listening socket that the programs do not know yet.
const ROUND: Duration = Duration::from_millis(10);

/// Attaches the programs that the kernel has, and runs them, as far as all are there that serve together.
pub(super) fn run(programs: &mut [ProgramReport], kernel: &mut Kernel, tell: Tell<'_>) {
    settle(programs, &["assign"], &try_assign(kernel), tell);
    if programs.iter().any(|program| program.name == "explain" && has(program)) {
        settle(programs, &["explain"], &try_explain(kernel), tell);
    }
    let has_all = |programs: &[ProgramReport], ability| {
        let own = PROGRAMS.iter().filter(|row| row.is_for(ability)).map(|row| row.name);
        own.into_iter().all(|name| programs.iter().any(|program| program.name == name && program.loaded))
    };
    let mut steered = 0;
    if has_all(programs, Ability::Connect) {
        for (names, service) in [(["connect4", "getpeername4"], SERVICE_V4), (["connect6", "getpeername6"], SERVICE_V6)]
        {
            let tried = able(kernel.connects()).and_then(|()| try_connect(kernel, service, &mut steered));
            settle(programs, &names, &tried, tell);
            settle(programs, &["record"], &tried, tell);
        }
    }
    if has_all(programs, Ability::Lookup) {
        // `record` counts what `lookup` hands over, and `refuse` takes what `lookup` refuses.
        let tried = able(kernel.hands_over()).and_then(|()| try_lookup(kernel, &mut steered));
        settle(programs, &["lookup", "record", "refuse"], &tried, tell);
    }
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

fn able(ability: Result<(), &str>) -> Result<()> {
    ability.map_err(|why| anyhow::Error::msg(why.to_owned()))
}

/// Addresses for documentation (RFC 5737, RFC 3849). Only these trials connect to them.
const SERVICE_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9000);
const SERVICE_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9000);

/// Connects to a service, and looks whether its endpoint has the connection, and who the client thinks that it is.
fn try_connect(kernel: &mut Kernel, service: SocketAddr, steered: &mut u64) -> Result<String> {
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
    *steered += 1;
    let peer = client.peer_addr()?;
    ensure!(peer == service, "the client is told that it is connected to {peer}, and has asked for {service}");
    Ok(format!("pointed a connection to {service} at its endpoint"))
}

/// Connects to an address without a listening socket, and checks that the endpoint has the connection.
fn try_lookup(kernel: &mut Kernel, steered: &mut u64) -> Result<String> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
    let endpoint = server.local_addr()?;
    // Bound and not listening: the port stays free of listeners of other processes.
    let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).context("cannot open a socket")?;
    reserved.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).context("cannot bind to 127.0.0.1")?;
    let Some(front) = reserved.local_addr()?.as_socket() else { bail!("a socket has no address") };
    kernel.want([endpoint].into()).context("listening sockets cannot be looked at")?;
    let until = Instant::now() + TRIED;
    while kernel.listening.presence(endpoint) == EndpointPresence::Nobody && Instant::now() < until {
        thread::sleep(ROUND);
        kernel.listening.look();
    }
    if let Some(trouble) = kernel.listening.trouble() {
        bail!("{trouble}");
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
    *steered += 1;
    ensure!(opened == *steered, "of {steered} connections that were steered, {opened} were counted");
    Ok("handed a connection to the socket of its endpoint, and counted it".to_owned())
}

/// Accepts the connection that was made before. Fails after [`TRIED`] if another process has it.
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
