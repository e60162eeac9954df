//! Routes at a gateway that cannot be handed over: carried instead, with a reason, or refused if nothing else was asked for.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{answers, tally};
use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, ONE, SERVICE, TWO, assert_split, await_datapath, base, datapath, direct,
    inside, route, start, version, versions,
};

/// A version whose listening socket is one of MPTCP.
fn mptcp(world: &World, port: u16, name: &str) -> Process {
    let script = format!(
        "import socket, threading\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\n\
         s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
         s.bind(('127.0.0.1', {port})); s.listen(1024); print('listens', flush=True)\n\
         def answer(c):\n\
         \x20   with c, c.makefile('rw') as f:\n\
         \x20       for line in f: f.write('{name} ' + line); f.flush()\n\
         while True: threading.Thread(target=answer, args=(s.accept()[0],)).start()\n"
    );
    let mut python = command("python3");
    python.args(["-c", &script]);
    let process = Process::start(world, name, python);
    until_so("it listens", seconds(10), || process.stdout() == "listens\n");
    process
}

#[test]
fn a_listener_of_mptcp_is_carried_to() {
    let world = World::new();
    let _one = version("127.0.0.1:9001", "one");
    let two = mptcp(&world, 9002, "two");
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
    until_so("the reason is known", seconds(5), || datapath(&agent, GATEWAY_ROUTE).1.contains("MPTCP"));
    assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "proxy");
    assert_split(&tally(ENTRANCE, 300), 0.5);
    // Replaced by a socket without MPTCP.
    drop(two);
    let _two = version("127.0.0.1:9002", "two");
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_split(&tally(ENTRANCE, 300), 0.5);
}

#[test]
fn a_listener_of_mptcp_that_comes_later_is_carried_to() {
    let world = World::new();
    let _one = version("127.0.0.1:9001", "one");
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [50, 50]));
    let _two = mptcp(&world, 9002, "two");
    until_so("the reason is known", seconds(5), || datapath(&agent, GATEWAY_ROUTE).1.contains("MPTCP"));
    assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "proxy");
    assert_split(&tally(ENTRANCE, 300), 0.5);
}

#[test]
fn a_sequence_is_carried() {
    let world = World::new();
    let _versions = versions();
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(GATEWAY_ROUTE, [80, 20]).annotation("tcpshift.io/steer-by", "sequence"));
    until_so("the reason is known", seconds(5), || datapath(&agent, GATEWAY_ROUTE).1.contains("sequence"));
    assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "proxy");
    for ten in answers(ENTRANCE, 100).windows(10) {
        assert_eq!(ten.iter().filter(|who| *who == "two").count(), 2, "{ten:?}");
    }
}

#[test]
fn an_endpoint_elsewhere_is_carried_to() {
    let world = World::new();
    let _one = version("127.0.0.1:9001", "one");
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, ("v2", "192.0.2.1", 9002)]) + route(GATEWAY_ROUTE, [100, 1]));
    let (by, reason) = datapath(&agent, GATEWAY_ROUTE);
    assert_eq!(by, "proxy");
    assert!(reason.ends_with("/v2 has endpoints on other hosts"), "{reason}");
    // A destination of weight 0 does not prevent the handover.
    agent.apply(route(GATEWAY_ROUTE, [100, 0]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_eq!(answers(ENTRANCE, 20), ["one"; 20]);
}

#[test]
fn what_a_route_asks_for_it_gets() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = start(&world, &[]);
    agent.apply(
        &(base(&[ONE, TWO])
            + route(MESH_ROUTE, [50, 50])
            + route(GATEWAY_ROUTE, [50, 50]).annotation("tcpshift.io/datapath", "proxy")),
    );
    assert_eq!(datapath(&agent, MESH_ROUTE).0, "connect");
    assert_eq!(datapath(&agent, GATEWAY_ROUTE), ("proxy".to_owned(), "asked for".to_owned()));
    assert_split(&tally(ENTRANCE, 300), 0.5);

    // The gateway's own address, for clients of this host; others are carried.
    agent.apply(route(GATEWAY_ROUTE, [50, 50]).annotation("tcpshift.io/datapath", "connect"));
    assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "connect");
    let before = agent.status().assignment;
    let seen = inside(&world).ask(ENTRANCE, 300);
    assert_split(&seen.tally(), 0.5);
    assert_eq!(seen.peers, std::collections::BTreeSet::from([ENTRANCE.to_owned()]));
    let after = agent.status().assignment;
    assert_eq!((after.kernel, after.agent), (before.kernel, before.agent), "the agent carried none");
    assert_split(&tally(ENTRANCE, 300), 0.5);

    agent.apply(route(GATEWAY_ROUTE, [50, 50]).annotation("tcpshift.io/datapath", "lookup"));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    assert_split(&tally(ENTRANCE, 300), 0.5);
    assert_split(&inside(&world).tally(SERVICE, 300), 0.5);
}

#[test]
fn with_the_datapath_proxy_nothing_is_steered() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    // The operator asked for the clients of a group, so the log says it.
    let group = world.cgroup().display().to_string();
    let (program, options) = (command(built("tcpshift-agent")), ["--datapath", "proxy", "--cgroup", &group]);
    let mut refused = Agent::launch(&world, "refused", program, &options);
    assert_eq!(refused.process().wait(seconds(20)).code(), Some(1));
    assert!(refused.log().contains("no client can be steered: --datapath proxy"), "{}", refused.log());
    let agent = Agent::start(&world, &["--datapath", "proxy"]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [50, 50]) + route(GATEWAY_ROUTE, [50, 50]));
    assert_eq!(datapath(&agent, GATEWAY_ROUTE).0, "proxy");
    assert_eq!(datapath(&agent, MESH_ROUTE).0, "none");
    assert_eq!(inside(&world).tally(SERVICE, 50)["direct"], 50);
    assert_split(&tally(ENTRANCE, 300), 0.5);
}
