//! Starts that fail, ports that are in use, and slow ends: steered clients notice none of it.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{connect, converse, refused};
use tcpshift_tests::crowd::Location;
use tcpshift_tests::maps::links;
use tcpshift_tests::objects::{Objects, gateway};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, ONE, SERVICE, TWO, assert_split, await_datapath, base, inside, options, route,
    start, versions,
};

/// How many connections are looked at in each state of affairs.
const SOME: usize = 40;

/// An agent with a route for each datapath that steers.
fn served(world: &World) -> (Agent<'_>, [Server; 2]) {
    let versions = versions();
    let agent = start(world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [50, 50]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    (agent, versions)
}

#[track_caller]
fn assert_steered(world: &World) {
    assert_split(&inside(world).tally(SERVICE, SOME), 0.5);
    assert_split(&Location::Here.tally(ENTRANCE, SOME), 0.5);
}

/// Starts an agent that cannot serve, and looks whether it says why and has changed nothing.
#[track_caller]
fn assert_fails(world: &World, arguments: &[&str], why: &str) {
    let before = links(world);
    let program = command(built("tcpshift-agent"));
    let process = format!("fails-{}", why.replace(['/', ' '], "-"));
    let mut agent = Agent::launch_as(world, "agent", &process, program, Stdio::null(), &options(world, arguments));
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(1), "{}", agent.log());
    agent.says(why);
    assert_eq!(links(world), before, "{why}");
    assert_steered(world);
}

#[test]
fn whatever_a_start_fails_for_clients_are_steered_as_before() {
    let world = World::new();
    let (mut agent, _versions) = served(&world);
    agent.process().kill();
    assert_fails(&world, &["/nowhere/at-all.yaml"], "/nowhere/at-all.yaml");
    assert_fails(&world, &["--source-address", "192.0.2.77"], "192.0.2.77");
    let (state, aside) = (agent.state(), world.path("aside"));
    let journal = state.join("journal.json");
    fs::write(&journal, "{").unwrap();
    assert_fails(&world, &[], "is damaged");
    fs::remove_file(&journal).unwrap();
    fs::rename(&state, &aside).unwrap();
    fs::write(&state, "").unwrap();
    assert_fails(&world, &[], "cannot use the state directory");
    fs::remove_file(&state).unwrap();
    fs::rename(&aside, &state).unwrap();
    // The last start has removed it.
    assert!(!agent.socket().exists());
    fs::create_dir(agent.socket()).unwrap();
    assert_fails(&world, &[], "is no socket");
    fs::remove_dir(agent.socket()).unwrap();
    // More routes than --max-routes allows: the agent finds out when it makes the tables.
    let many: Objects = (0..40).map(|number| carried_gateway(&format!("more-{number}"), 32_000 + number)).collect();
    let file = world.write("many.yaml", many.to_string());
    assert_fails(&world, &["--max-routes", "1", file.to_str().unwrap()], "raise --max-routes");
    let agent = agent.kill_and_restart();
    agent.apply(route(MESH_ROUTE, [0, 100]) + route(GATEWAY_ROUTE, [0, 100]));
    assert_split(&inside(&world).tally(SERVICE, SOME), 1.0);
}

#[test]
fn where_only_ports_of_others_are_asked_for_a_start_fails_and_leaves_everything() {
    let world = World::new();
    let versions = versions();
    let mut agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    agent.process().kill();
    let before = links(&world);
    let taken = TcpListener::bind("[::]:31400").unwrap();
    let program = command(built("tcpshift-agent"));
    let mut next = Agent::launch_as(&world, "agent", "next", program, Stdio::null(), &options(&world, &[]));
    assert_eq!(next.process().wait(seconds(20)).code(), Some(1), "{}", next.log());
    let own = format!("(pid {})", std::process::id());
    assert!(next.log().contains("nothing can be served") && next.log().contains(&own), "{}", next.log());
    assert_eq!(links(&world), before);
    assert_split(&Location::Here.tally(ENTRANCE, SOME), 0.5);
    drop((taken, versions));
}

#[test]
fn clients_in_a_mesh_need_no_port() {
    let world = World::new();
    let (mut agent, _versions) = served(&world);
    agent.terminate();
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    let taken = TcpListener::bind("[::]:31400").unwrap();
    let agent = agent.kill_and_restart();
    assert_split(&inside(&world).tally(SERVICE, SOME), 0.5);
    // Connections to a port of another process go to that process.
    let client = TcpStream::connect(ENTRANCE).unwrap();
    assert_eq!(taken.accept().unwrap().1.port(), client.local_addr().unwrap().port());
    drop((taken, client));
    until_so("the port is served once it is free", seconds(10), || down(&agent).is_none());
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_split(&Location::Here.tally(ENTRANCE, SOME), 0.5);
}

/// A Gateway with a port of its own and a route for it, whose connections are carried.
fn carried_gateway(name: &str, port: u16) -> Objects {
    let carried = route(GATEWAY_ROUTE, [50, 50]).annotation("tcpshift.io/datapath", "proxy");
    gateway(name).port(port) + carried.named(name).set("spec.gateways[0]", name)
}

/// Why the gateway's listener is not served, if it is not.
fn down(agent: &Agent<'_>) -> Option<String> {
    agent.status().listeners.into_iter().find(|listener| listener.address == "[::]:31400")?.down
}

/// A version that listens without `SO_REUSEADDR`, as many servers do not set it, and answers one client.
fn plain_version(address: &str, name: &'static str) -> Socket {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(128).unwrap();
    let listener = TcpListener::from(socket.try_clone().unwrap());
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut lines = std::io::BufRead::lines(std::io::BufReader::new(&stream));
                while let Some(Ok(line)) = lines.next() {
                    std::io::Write::write_all(&mut &stream, format!("{name} {line}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    socket
}

#[test]
fn a_connection_that_was_handed_over_keeps_no_port_busy() {
    let world = World::new();
    let _versions = [plain_version("127.0.0.1:9001", "one"), plain_version("127.0.0.1:9002", "two")];
    let mut agent = start(&world, &[]);
    let all = base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]);
    agent.apply(&all);
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let live = connect(ENTRANCE).unwrap();
    let who = converse(&live, "before").unwrap();
    // A connection that has ended does not keep the port busy either.
    drop(connect(ENTRANCE).unwrap());
    agent.process().kill();
    let agent = agent.kill_and_restart();
    assert_eq!(down(&agent), None, "{}", agent.log());
    agent.cli(&["delete", "gateway/entrance"]).expect(0);
    agent.apply(&all);
    assert_eq!(down(&agent), None, "{}", agent.log());
    let program = command(built("tcpshift-agent"));
    let successor = agent.successor("successor", program, &options(&world, &[])).answers();
    assert_eq!(down(&successor), None, "{}", successor.log());
    assert_split(&Location::Here.tally(ENTRANCE, SOME), 0.5);
    assert_eq!(converse(&live, "after").unwrap(), who);
}

#[test]
fn a_port_that_a_connection_keeps_busy_is_handed_over_at_once_and_taken_later() {
    let world = World::new();
    let _versions = versions();
    // A client socket that is bound to the gateway's port, without SO_REUSEADDR.
    let near = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    near.bind(&"127.0.0.1:31400".parse::<SocketAddr>().unwrap().into()).unwrap();
    near.connect(&"127.0.0.1:9001".parse::<SocketAddr>().unwrap().into()).unwrap();
    let file = world.write("all.yaml", (base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50])).to_string());
    let agent = start(&world, &[file.to_str().unwrap()]);
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_split(&Location::Here.tally(ENTRANCE, SOME), 0.5);
    let own = format!("(pid {})", std::process::id());
    until_so("the port is said to be busy", seconds(5), || down(&agent).is_some_and(|why| why.contains(&own)));
    // A change of another listener is made meanwhile, and one of this one too.
    let output = agent.apply(carried_gateway("entrance-2", 31_401));
    assert!(!output.stderr.contains("31401"), "{output:?}");
    assert!(connect("127.0.0.1:31401").is_ok_and(|stream| converse(&stream, "x").is_ok()));
    near.set_linger(Some(Duration::ZERO)).unwrap();
    drop(near);
    until_so("the port is taken", seconds(10), || down(&agent).is_none());
    assert_split(&Location::Here.tally(ENTRANCE, SOME), 0.5);
}

#[test]
fn clients_are_steered_until_an_agent_that_was_asked_to_end_is_gone() {
    let world = World::new();
    let (mut agent, _versions) = served(&world);
    agent.apply(carried_gateway("carried", 31_401));
    let held = connect("127.0.0.1:31401").unwrap();
    converse(&held, "before").unwrap();
    agent.terminate();
    until_so("what is carried is refused", seconds(5), || refused("127.0.0.1:31401"));
    assert_steered(&world);
    assert!(agent.status().draining);
    drop(held);
    assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
    assert!(!Path::new("/sys/fs/bpf/tcpshift").exists());
    assert!(refused(ENTRANCE));
}
