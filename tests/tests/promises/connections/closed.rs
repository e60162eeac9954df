//! Ending connections: a dry run ends none, what is steered is reset at both ends, and what cannot be ended is said.

use std::io::Read;

use tcpshift_tests::client::converse;
use tcpshift_tests::crowd::Crowd;
use tcpshift_tests::process::run;
use tcpshift_tests::steer::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, SERVICE, await_datapath, direct, inside, start, versions,
};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{ONE, TWO, Way, await_listed, base, clients, close, list, route};

#[test]
fn a_dry_run_counts_and_touches_nobody() {
    for way in Way::ALL {
        let world = World::new();
        let _versions = versions();
        let agent = way.start(&world, [100, 0]);
        let clients = clients(ENTRANCE, 7);
        let said = agent.cli(&["connections", "close", "--destination", "v1", "--dry-run"]).expect(0).stdout;
        assert_eq!(said, "7 connections closed (dry run)\n");
        for client in &clients {
            assert_eq!(converse(client, "still there").unwrap(), "one");
        }
        let said = agent.cli(&["connections", "close", "--destination", "v1"]).expect(0).stdout;
        assert_eq!(said, "7 connections closed\n");
        await_listed(&agent, &[], 0);
        for mut client in clients {
            assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)), "{client:?} goes on");
        }
        let said = agent.cli(&["connections", "close", "--all"]).expect(0).stdout;
        assert_eq!(said, "0 connections closed\n");
    }
}

#[test]
fn a_client_that_was_pointed_at_an_endpoint_is_reset() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    await_datapath(&agent, MESH_ROUTE, "connect");
    let ones = Crowd::hold(&world, "ones", inside(&world), SERVICE, 20, &[]);
    ones.reach(20);
    agent.apply(route(MESH_ROUTE, [0, 100]));
    let twos = Crowd::hold(&world, "twos", inside(&world), SERVICE, 20, &[]);
    twos.reach(20);
    let closed = close(&agent, &["default/echo", "--destination", "v1"]);
    assert_eq!((closed.carried, closed.steered, closed.left.len()), (0, 20, 0), "{closed:?}");
    await_listed(&agent, &[], 20);
    assert_eq!(ones.finish().into_iter().collect::<Vec<_>>(), [("ConnectionAborted at last".to_owned(), 20)]);
    assert_eq!(twos.finish().into_iter().collect::<Vec<_>>(), [("two".to_owned(), 20)]);
    // Nothing counts them as open.
    until_so("all are counted down", seconds(5), || {
        let status = agent.status();
        let routes = status.listeners.iter().flat_map(|listener| &listener.routes);
        routes.flat_map(|route| &route.destinations).all(|destination| destination.active == 0)
    });
}

/// A client of MPTCP with a server of MPTCP, whose connection may have several paths.
const MPTCP: &str = "
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
server.bind(('127.0.0.1', 9001)); server.listen()
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
client.settimeout(20)
client.connect(('10.99.0.1', 9000))
peer, _ = server.accept()
print('there', flush=True)
sys.stdin.readline()
client.sendall(b'hello')
assert peer.recv(5) == b'hello'
print('well', flush=True)
";

#[test]
fn a_connection_of_several_paths_is_left_and_said() {
    let world = World::new();
    let _direct = direct();
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    await_datapath(&agent, MESH_ROUTE, "connect");
    let mut client = inside(&world).command("sh");
    // It is told to go on by a file.
    let go = world.path("go");
    let script = format!("(while ! [ -e {go} ]; do sleep 0.02; done; echo) | python3 -c \"$0\"", go = go.display());
    client.args(["-c", &script, MPTCP]);
    let mut client = tcpshift_tests::process::Process::start(&world, "mptcp", client);
    until_so("it is connected", seconds(10), || client.stdout() == "there\n");
    assert_eq!(list(&agent, &[]).total, 1);
    for words in [&["--all", "--dry-run"][..], &["--all"]] {
        let output = agent.cli(&[&["connections", "close"], words].concat()).expect(1);
        assert!(output.stdout.starts_with("0 connections closed"), "{output:?}");
        output.complains("1 connection cannot be closed: MPTCP");
    }
    std::fs::write(go, b"").unwrap();
    assert!(client.wait(seconds(20)).success(), "{}", client.stderr());
    assert_eq!(client.stdout(), "there\nwell\n");
}

#[test]
fn what_an_agent_before_has_steered_is_said() {
    let world = World::new();
    let _versions = versions();
    let agent = Way::HandedOver.start(&world, [100, 0]);
    let clients = clients(ENTRANCE, 3);
    let agent = agent.kill_and_restart();
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let listed = list(&agent, &[]);
    assert_eq!(listed.total, 0, "{listed:?}");
    assert_eq!(listed.notes, ["3 steered connections of agents before this one are not listed"]);
    for client in &clients {
        assert_eq!(converse(client, "still there").unwrap(), "one");
    }
}

#[test]
fn without_the_process_that_has_the_right_the_reason_is_said() {
    let world = World::new();
    let _versions = versions();
    let agent = Way::HandedOver.start(&world, [100, 0]);
    let clients = clients(ENTRANCE, 3);
    let mut kill = tcpshift_tests::process::command("kill");
    kill.args(["-KILL", &agent.rights().unwrap().to_string()]);
    run(kill, b"", seconds(5)).expect(0);
    agent
        .cli(&["connections", "close", "--all"])
        .expect(1)
        .complains("3 connections cannot be closed: the process tcpshift-rights");
    for client in &clients {
        assert_eq!(converse(client, "still there").unwrap(), "one");
    }
}
