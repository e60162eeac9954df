//! The agent is killed, restarted and replaced by another one under load: no connection fails.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::crowd::{Crowd, Location};
use tcpshift_tests::dns::Dns;
use tcpshift_tests::maps::{attached, links};
use tcpshift_tests::objects::Objects;
use tcpshift_tests::process::{built, command, grouped, run};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, ONE, SERVICE, SERVICE6, TWO, assert_split, await_datapath, base, direct,
    inside, options, route, start, versions,
};

/// Connections from which a share is measured.
const SOME: usize = 300;

/// Two routes to two versions, one for each datapath that steers.
fn served(world: &World) -> (Agent<'_>, [Server; 4]) {
    let ([four, six], [one, two]) = (direct(), versions());
    let agent = start(world, &[]);
    agent.apply(base(&[ONE, TWO]) + &routes([70, 30]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    (agent, [four, six, one, two])
}

fn routes(weights: [u32; 2]) -> Objects {
    route(MESH_ROUTE, weights) + route(GATEWAY_ROUTE, weights)
}

/// Where connections are steered, by either datapath.
pub(super) fn ways(world: &World) -> [(Location<'_>, &'static str); 2] {
    [(inside(world), SERVICE), (Location::Here, ENTRANCE)]
}

/// Clients none of whose connections may fail: some come and go, some stay.
pub(super) struct Clients {
    rushes: Vec<Crowd>,
    held: Vec<Crowd>,
}

impl Clients {
    /// Starts, for each datapath, so many clients that come and go, and 50 connections that stay.
    pub(super) fn start(world: &World, clients: usize) -> Self {
        let (mut rushes, mut held) = (Vec::new(), Vec::new());
        for (number, (location, address)) in ways(world).into_iter().enumerate() {
            rushes.push(Crowd::rush(world, &format!("rush-{number}"), location, address, clients));
            let crowd = Crowd::hold(world, &format!("held-{number}"), location, address, 50, &[]);
            crowd.reach(50);
            held.push(crowd);
        }
        Self { rushes, held }
    }

    #[track_caller]
    pub(super) fn go_on(&self) {
        self.rushes.iter().for_each(|rush| rush.go_on(SOME));
    }

    /// Ends the clients. `split` is the second version's share, if it was constant.
    #[track_caller]
    pub(super) fn finish(self, split: Option<f64>) {
        for (number, rush) in self.rushes.into_iter().enumerate() {
            let tally = rush.finish();
            assert!(tally.keys().all(|who| ["one", "two"].contains(&who.as_str())), "{number}: {tally:?}");
            if let Some(two) = split {
                assert_split(&tally, two);
            }
        }
        for held in self.held {
            assert_split(&held.finish(), 0.3);
        }
    }
}

#[track_caller]
pub(super) fn assert_ways(world: &World, two: f64) {
    for (location, address) in ways(world) {
        assert_split(&location.tally(address, SOME), two);
    }
}

#[test]
fn a_kill_and_a_new_start_are_noticed_by_nobody() {
    let world = World::new();
    let (mut agent, _servers) = served(&world);
    let clients = Clients::start(&world, 3);
    clients.go_on();
    agent.process().kill();
    clients.go_on();
    assert_ways(&world, 0.3);
    let before = links(&world).len();
    let agent = agent.kill_and_restart();
    clients.go_on();
    clients.finish(Some(0.3));
    assert_ways(&world, 0.3);
    assert_eq!(links(&world).len(), before, "{:?}", links(&world));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    agent.apply(routes([0, 100]));
    assert_ways(&world, 1.0);
}

/// Starts an agent whose main thread dies of its bpf(2) call with this number, from 1; or in the end, if it is not said.
fn traced<'a>(world: &'a World, trace: &Path, fatal: Option<usize>) -> Agent<'a> {
    let mut launcher = command("strace");
    launcher.args(["-f", "-e", "trace=bpf", "-o"]).arg(trace);
    if let Some(number) = fatal {
        launcher.args(["-e", &format!("inject=bpf:signal=KILL:when={number}")]);
    }
    // It ends with strace, as strace ends with the test.
    launcher.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(built("tcpshift-agent"));
    let process = fatal.map_or("whole".to_owned(), |number| format!("fatal-{number}"));
    Agent::launch_as(world, "agent", &process, launcher, Stdio::null(), &options(world, &[]))
}

#[test]
fn kills_at_each_step_of_a_start_are_noticed_by_nobody() {
    let world = World::new();
    let (mut agent, _servers) = served(&world);
    let before = links(&world).len();
    let clients = Clients::start(&world, 1);
    agent.process().kill();

    // What a start asks of the kernel, in order.
    let trace = world.path("trace");
    let mut whole = traced(&world, &trace, None).ready();
    await_datapath(&whole, GATEWAY_ROUTE, "lookup");
    let lines = std::fs::read_to_string(&trace).unwrap();
    // The main thread has the process's id. Other threads call bpf(2) too.
    let main = whole.status().pid;
    kill_process(Pid::from_raw(main.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let main = main.to_string();
    whole.process().wait(seconds(10));
    let calls: Vec<&str> = lines
        .lines()
        .filter(|line| line.split_whitespace().next() == Some(&main) && line.contains("bpf(BPF_"))
        .collect();
    let is_attaching = |call: &str| call.contains("BPF_LINK_CREATE") && call.contains("BPF_CGROUP_");
    let is_settling =
        |call: &str| call.contains("BPF_OBJ_PIN") && call.contains("/links/") || call.contains("BPF_LINK_DETACH");
    let attaching = 1 + calls.iter().position(|call| is_attaching(call)).unwrap();
    let settling = 1 + calls.iter().position(|call| is_settling(call)).unwrap();
    let settled = 1 + calls.iter().rposition(|call| is_settling(call)).unwrap();

    for fatal in (attaching..settling).step_by(30).chain(settling..=settled) {
        let mut next = traced(&world, &trace, Some(fatal));
        assert_ne!(next.process().wait(seconds(20)).code(), Some(0), "call {fatal}:\n{}", next.log());
    }
    let agent = start(&world, &[]);
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    clients.go_on();
    clients.finish(Some(0.3));
    assert_ways(&world, 0.3);
    assert_eq!(links(&world).len(), before, "{:?}", links(&world));
    assert_eq!(attached(&world).iter().filter(|one| one["name"] == "connect4").count(), 1, "{:?}", attached(&world));
    agent.apply(routes([0, 100]));
    assert_ways(&world, 1.0);
}

#[test]
fn names_that_a_new_start_has_to_wait_for_are_missed_by_nobody() {
    let world = World::new();
    let dns = Dns::start(&world);
    dns.say("one.example.com", Ipv4Addr::LOCALHOST);
    dns.say("two.example.com", Ipv4Addr::LOCALHOST);
    let (_direct, _versions) = (direct(), versions());
    let named = [("v1", "one.example.com", 9001), ("v2", "two.example.com", 9002)];
    let mut agent = start(&world, &[]);
    agent.apply(base(&named).set("ServiceEntry/echo", "spec.resolution", "DNS") + routes([70, 30]));
    let resolved = |agent: &Agent<'_>| {
        agent.await_endpoints(MESH_ROUTE);
        await_datapath(agent, GATEWAY_ROUTE, "lookup");
    };
    resolved(&agent);
    let clients = Clients::start(&world, 3);
    agent.process().kill();
    dns.delay(Duration::from_millis(1_500));
    let agent = start(&world, &[]);
    clients.go_on();
    assert_ways(&world, 0.3);
    resolved(&agent);
    clients.go_on();
    clients.finish(Some(0.3));
    agent.apply(routes([0, 100]));
    assert_ways(&world, 1.0);
}

#[test]
fn doctor_changes_nothing_for_clients() {
    let world = World::new();
    let (_agent, _servers) = served(&world);
    let clients = Clients::start(&world, 3);
    let mut doctor = command(built("tcpshift-agent"));
    doctor.arg("doctor");
    for _ in 0..2 {
        run(grouped(world.cgroup(), &doctor), b"", seconds(60)).expect(0);
        clients.go_on();
    }
    clients.finish(Some(0.3));
}

#[test]
fn a_server_that_comes_while_the_agent_is_dead_is_found() {
    let world = World::new();
    let (mut agent, [_four, _six, _one, two]) = served(&world);
    agent.process().kill();
    drop(two);
    until_so("v2 is gone", seconds(5), || std::net::TcpStream::connect("127.0.0.1:9002").is_err());
    let lost = Location::Here.tally(ENTRANCE, SOME);
    assert_eq!(lost["one"] + lost["ConnectionRefused"], SOME, "{lost:?}");
    let _two = super::version("127.0.0.1:9002", "two");
    assert_ways(&world, 0.3);
}

#[test]
fn takeovers_are_noticed_by_nobody() {
    let world = World::new();
    let (mut agent, _servers) = served(&world);
    let clients = Clients::start(&world, 3);
    for number in 0..3 {
        clients.go_on();
        let program = command(built("tcpshift-agent"));
        let successor = agent.successor(&format!("agent-{number}"), program, &options(&world, &[])).answers();
        assert_eq!(agent.process().wait(seconds(20)).code(), Some(0), "{}", agent.log());
        agent = successor;
        clients.go_on();
        agent.apply(routes([70, 30 + number]));
        agent.apply(routes([70, 30]));
    }
    assert_eq!(attached(&world).iter().filter(|one| one["name"] == "connect4").count(), 1, "{:?}", attached(&world));
    clients.finish(None);
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    agent.apply(routes([0, 100]));
    assert_ways(&world, 1.0);
}

#[test]
fn changes_are_noticed_by_nobody() {
    let world = World::new();
    let (agent, _servers) = served(&world);
    let clients = Clients::start(&world, 3);
    for edit in 0..150_u32 {
        agent.post(routes([100 - edit % 99, 1 + edit % 99]));
    }
    clients.go_on();
    clients.finish(None);
}

/// Whether a link is attached. Asks for this link alone: a list would fail when a link of another test goes meanwhile.
fn is_there(link: u64) -> bool {
    let mut bpftool = command("bpftool");
    bpftool.args(["link", "show", "id", &link.to_string()]);
    run(bpftool, b"", seconds(20)).status == 0
}

#[test]
fn after_sigterm_nothing_is_left() {
    let world = World::new();
    let (mut agent, _servers) = served(&world);
    assert_ways(&world, 0.3);
    let links: Vec<u64> = links(&world).values().map(|link| link["id"].as_u64().unwrap()).collect();
    // In the handshake, in connect(2) and after it, for both families, at the namespace, and what counts.
    assert_eq!(links.len(), 7, "{links:?}");
    assert!(links.iter().all(|link| is_there(*link)));
    agent.end_and_leave_nothing();
    until_so("no link is left", seconds(5), || !links.iter().any(|link| is_there(*link)));
    for address in [SERVICE, SERVICE6] {
        assert_eq!(inside(&world).tally(address, 20)["direct"], 20);
    }
    assert_eq!(Location::Here.tally(ENTRANCE, 5)["ConnectionRefused"], 5);
}
