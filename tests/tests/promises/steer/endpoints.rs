//! Connections are counted by endpoint, each once, whoever brings it there; an endpoint that comes again begins at zero.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{connect, tally};
use tcpshift_tests::maps::dump;
use tcpshift_tests::process::{Process, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, ONE, SERVICE, await_counted, await_datapath, base, inside, own_addresses,
    route, start, version,
};

/// The first version has two endpoints, and the second one.
const LIVE: [(&str, &str, u16); 3] = [("v1", "127.0.0.1", 9001), ("v1", "127.0.0.2", 9001), ("v2", "127.0.0.1", 9002)];
/// An endpoint of the first version where nobody listens.
const DEAD: (&str, &str, u16) = ("v1", "127.0.0.3", 9001);
const AT_DEAD: &str = "127.0.0.3:9001";

fn with_dead() -> Vec<(&'static str, &'static str, u16)> {
    LIVE.into_iter().chain([DEAD]).collect()
}

fn servers() -> [Server; 3] {
    LIVE.map(|(_, address, port)| version(&format!("{address}:{port}"), &format!("{address}:{port}")))
}

/// Opened, failed and open connections of each endpoint.
fn counted(agent: &Agent<'_>, name: &str) -> BTreeMap<String, [u64; 3]> {
    let destinations = ["v1", "v2"].map(|subset| agent.destination(name, subset));
    let endpoints = destinations.into_iter().flat_map(|one| one.by_endpoint);
    endpoints.map(|one| (one.address, [one.opened, one.failed, one.active])).collect()
}

/// Waits until all connections are closed; then each destination must have opened as many as its endpoints have, second tries
/// aside.
#[track_caller]
fn assert_sums(agent: &Agent<'_>, name: &str, second_tries: u64) {
    for subset in ["v1", "v2"] {
        until_so("all are closed", seconds(10), || agent.destination(name, subset).active == 0);
        let destination = agent.destination(name, subset);
        let sum = destination.by_endpoint.iter().map(|endpoint| endpoint.opened).sum::<u64>();
        let tries = if subset == "v1" { second_tries } else { 0 };
        assert_eq!(sum, destination.opened + tries, "{destination:#?}");
        assert!(destination.by_endpoint.iter().all(|endpoint| endpoint.active == 0), "{destination:#?}");
    }
}

/// Each server has accepted what is counted as opened to it.
#[track_caller]
fn assert_accepted(agent: &Agent<'_>, name: &str, servers: &[Server]) {
    let counted = counted(agent, name);
    for server in servers {
        let [opened, failed, active] = counted[&server.address.to_string()];
        assert_eq!((opened, failed, active), (server.accepted() as u64, 0, 0), "{}: {counted:?}", server.address);
        assert!(opened > 0, "{counted:?}");
    }
}

/// An endpoint leaves and comes again: it begins at zero, and all others count on.
#[track_caller]
fn assert_begins_anew(agent: &Agent<'_>, name: &str, all: &[(&str, &str, u16)], at: usize) {
    let before = counted(agent, name);
    let (_, address, port) = all[at];
    let gone = format!("{address}:{port}");
    assert!(before[&gone][0] > 0, "{before:?}");
    let others: Vec<_> = all.iter().copied().filter(|endpoint| *endpoint != all[at]).collect();
    agent.apply(base(&others));
    assert!(!counted(agent, name).contains_key(&gone));
    agent.apply(base(all));
    let expected: BTreeMap<_, _> = before
        .into_iter()
        .map(|(address, count)| (address.clone(), if address == gone { [0; 3] } else { count }))
        .collect();
    assert_eq!(counted(agent, name), expected);
}

#[test]
fn of_clients_that_are_pointed_there() {
    let world = World::new();
    own_addresses();
    let servers = servers();
    let agent = start(&world, &["--max-routes", "10"]);
    agent.apply(base(&LIVE) + route(MESH_ROUTE, [70, 30]));
    assert_eq!(inside(&world).tally(SERVICE, 300).values().sum::<usize>(), 300);
    assert_sums(&agent, MESH_ROUTE, 0);
    assert_accepted(&agent, MESH_ROUTE, &servers);
    let rows = dump(&world, "endpoint_sums");
    let sum = |field: &str| rows.iter().map(|row| row["value"][field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("opened"), sum("failed"), sum("active")), (300, 0, 0));

    agent.apply(base(&with_dead()));
    let refused = inside(&world).tally(SERVICE, 300)["ConnectionRefused"] as u64;
    assert!(refused > 0);
    assert_sums(&agent, MESH_ROUTE, 0);
    assert_accepted(&agent, MESH_ROUTE, &servers);
    assert_eq!(counted(&agent, MESH_ROUTE)[AT_DEAD], [refused, refused, 0]);
    assert_eq!(agent.destination(MESH_ROUTE, "v1").failed, refused);
    assert_begins_anew(&agent, MESH_ROUTE, &with_dead(), 1);
    assert_begins_anew(&agent, MESH_ROUTE, &with_dead(), 3);
}

#[test]
fn of_connections_that_are_handed_over() {
    let world = World::new();
    let servers = servers();
    let agent = start(&world, &[]);
    agent.apply(base(&LIVE) + route(GATEWAY_ROUTE, [70, 30]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_eq!(tally(ENTRANCE, 300).values().sum::<usize>(), 300);
    assert_sums(&agent, GATEWAY_ROUTE, 0);
    assert_accepted(&agent, GATEWAY_ROUTE, &servers);
    let held: Vec<_> = (0..20).map(|_| connect(ENTRANCE).unwrap()).collect();
    let open = |agent: &Agent<'_>| counted(agent, GATEWAY_ROUTE).values().map(|[_, _, active]| active).sum::<u64>();
    until_so("they are counted as open", seconds(5), || open(&agent) == 20);
    drop(held);
    assert_sums(&agent, GATEWAY_ROUTE, 0);
    assert_begins_anew(&agent, GATEWAY_ROUTE, &LIVE, 1);
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    tally(ENTRANCE, 100);
    assert!(counted(&agent, GATEWAY_ROUTE)["127.0.0.2:9001"][0] > 0);
}

#[test]
fn of_connections_that_the_agent_carries() {
    let world = World::new();
    let servers = servers();
    let agent = start(&world, &[]);
    let carried = route(GATEWAY_ROUTE, [70, 30]).annotation("tcpshift.io/datapath", "proxy");
    agent.apply(base(&LIVE) + carried);
    assert_eq!(tally(ENTRANCE, 300).values().sum::<usize>(), 300);
    assert_sums(&agent, GATEWAY_ROUTE, 0);
    assert_accepted(&agent, GATEWAY_ROUTE, &servers);

    agent.apply(base(&with_dead()));
    let before = agent.destination(GATEWAY_ROUTE, "v1").opened;
    assert_eq!(tally(ENTRANCE, 300).len(), 3, "who is refused by the dead one goes to another");
    assert!(agent.destination(GATEWAY_ROUTE, "v1").opened > before);
    let [opened, failed, _] = counted(&agent, GATEWAY_ROUTE)[AT_DEAD];
    assert!(opened == failed && failed > 0, "{opened}, {failed}");
    assert_sums(&agent, GATEWAY_ROUTE, failed);
    assert_accepted(&agent, GATEWAY_ROUTE, &servers);
    assert_begins_anew(&agent, GATEWAY_ROUTE, &with_dead(), 3);
}

/// A server whose handshakes are complete only when the client sends something (`TCP_DEFER_ACCEPT`).
const DEFERRING: &str = "
import socket
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(('127.0.0.1', 9001))
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
server.listen()
client, _ = server.accept()
client.sendall(client.recv(100))
client.recv(100)
";

#[test]
fn of_a_handshake_that_outlasts_its_endpoint_nothing_is_another_ones() {
    let world = World::new();
    let mut python = command("python3");
    python.args(["-c", DEFERRING]);
    let _one = Process::start(&world, "deferring", python);
    let _others = version("0.0.0.0:9003", "other");
    let agent = start(&world, &["--max-routes", "1"]);
    agent.apply(base(&[ONE]) + route(GATEWAY_ROUTE, [100, 0]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let mut client = connect(ENTRANCE).unwrap();
    until_so("the kernel holds a handshake", seconds(5), || dump(&world, "flows").len() == 1);
    // Of 32 numbers, 30 are wanted at once while the last two endpoints have one each: that of the first endpoint too.
    agent.apply(base(&[("v1", "127.0.0.2", 9003)]));
    agent.apply(base(&[("v1", "127.0.0.3", 9003)]));
    let addresses: Vec<String> = (1..31).map(|last| format!("127.0.1.{last}")).collect();
    agent.apply(base(&addresses.iter().map(|address| ("v1", &**address, 9003)).collect::<Vec<_>>()));
    assert_eq!(agent.destination(GATEWAY_ROUTE, "v1").by_endpoint.len(), 30, "{}", agent.log());
    client.write_all(b"at last").unwrap();
    let mut answer = [0; 7];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"at last");
    await_counted(&agent, GATEWAY_ROUTE, 1, 1);
    for (address, count) in counted(&agent, GATEWAY_ROUTE) {
        assert_eq!(count, [0; 3], "{address}");
    }
}

#[test]
fn of_steered_and_carried_clients_of_one_route() {
    let world = World::new();
    let servers = servers();
    let agent = start(&world, &[]);
    agent.apply(base(&LIVE) + route(GATEWAY_ROUTE, [70, 30]).annotation("tcpshift.io/datapath", "connect"));
    await_datapath(&agent, GATEWAY_ROUTE, "connect");
    assert_eq!(inside(&world).tally(ENTRANCE, 200).values().sum::<usize>(), 200);
    assert_eq!(tally(ENTRANCE, 200).values().sum::<usize>(), 200);
    assert_eq!(agent.status().assignment.steered, 200);
    assert_sums(&agent, GATEWAY_ROUTE, 0);
    assert_accepted(&agent, GATEWAY_ROUTE, &servers);
}
