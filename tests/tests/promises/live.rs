//! Live change: in force within a second, as a whole, and without effect on live connections.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, ask, connect, converse, refused};
use tcpshift_tests::example::{base, example_objects, route};
use tcpshift_tests::load::{Load, echo_many};
use tcpshift_tests::rush::Rush;
use tcpshift_tests::server::Server;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::{World, replace};

/// Live connections.
const CONNECTIONS: usize = 1_000;

#[test]
fn a_thousand_edits_by_the_socket_are_not_felt() {
    let world = World::new();
    echo_many("127.0.0.1:9000");
    echo_many("127.0.0.1:9100");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 50), ("v2", 50)]));
    edit_a_thousand_times(&agent, Load::start(ENTRANCE, CONNECTIONS), CONNECTIONS);
}

/// Edits weights under a load that began with as many connections, each of which has to go on and to end as it should.
pub(super) fn edit_a_thousand_times(agent: &Agent<'_>, load: Load, connections: usize) {
    let before = agent.generation();
    for edit in 1..=1_000_u32 {
        let v2 = edit % 101;
        if edit % 2 == 0 {
            agent.post(route(&[("v1", 100 - v2), ("v2", v2)]));
        } else {
            let shift = json!({
                "object": { "kind": "vs", "name": "tcp-echo" },
                "shares": [{ "subset": "v2", "slots": v2 * 100 }],
            });
            let answer = agent.request("POST", "/v1/shift", Some(&shift));
            assert_eq!(answer.status, 200, "edit {edit}: {}", answer.body);
        }
    }
    let status = agent.status();
    assert!(status.generation >= before + 900, "{before} to {}", status.generation);
    let active: u64 = status.listeners[0].routes[0].destinations.iter().map(|to| to.active).sum();
    assert_eq!(active + status.retired_active, connections as u64);
    let report = load.finish();
    assert!(report.exchanges >= connections * 2, "{} exchanges", report.exchanges);
}

#[test]
fn twenty_edits_of_a_watched_file_are_not_felt() {
    let world = World::new();
    echo_many("127.0.0.1:9000");
    echo_many("127.0.0.1:9100");
    let folder = world.folder("routes");
    std::fs::write(folder.join("base.yaml"), base().to_string()).unwrap();
    let file = folder.join("route.yaml");
    std::fs::write(&file, route(&[("v1", 100), ("v2", 0)]).to_string()).unwrap();
    let agent = Agent::start(&world, &[&folder]);
    let load = Load::start(ENTRANCE, CONNECTIONS);
    for edit in 1..=20_u32 {
        let text = route(&[("v1", 100 - edit), ("v2", edit)]).to_string();
        // By turns as an editor does, by a rename, and as `>` does, in place.
        if edit % 2 == 0 {
            replace(&file, text.as_bytes());
        } else {
            std::fs::write(&file, text).unwrap();
        }
        let slots = || {
            let answer = agent.request("GET", "/v1/status", None);
            answer.body["listeners"][0]["routes"][0]["destinations"][1]["slots"].as_u64()
        };
        tcpshift_tests::until::until_so("the edit is in force", seconds(10), || slots() == Some(u64::from(edit) * 100));
    }
    load.finish();
}

#[test]
fn live_connections_outlive_their_destination_and_their_listener() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    let held = connect(ENTRANCE).unwrap();
    assert_eq!(converse(&held, "before").unwrap(), "one");

    agent.apply(route(&[("v2", 1)]));
    assert_eq!(ask(ENTRANCE).unwrap(), "two");
    assert_eq!(converse(&held, "after the shift").unwrap(), "one");

    agent.cli(&["delete", "we", "tcp-echo-v1"]).expect(0);
    assert_eq!(converse(&held, "after its endpoint").unwrap(), "one");

    agent.cli_with(&["delete", "--ignore-not-found", "-f", "-"], base() + route(&[("v2", 1)])).expect(0);
    assert!(refused(ENTRANCE));
    assert_eq!(converse(&held, "after its port").unwrap(), "one");
    assert_eq!(agent.status().retired_active, 1);
    drop(held);
    tcpshift_tests::until::until_so("it is counted down", seconds(5), || agent.status().retired_active == 0);
}

#[test]
fn no_connect_fails_while_plans_change() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 50), ("v2", 50)]));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| tcpshift_tests::client::tally(ENTRANCE, 1_000))).collect();
        let mut edit = 0;
        while !clients.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            edit += 1;
            let v2 = edit % 101;
            let answer = tcpshift_tests::admin::request(
                &agent.socket(),
                "POST",
                "/v1/apply",
                Some(&tcpshift_tests::admin::documents(route(&[("v1", 100 - v2), ("v2", v2)]))),
            );
            assert_eq!(answer.unwrap().status, 200);
        }
        for client in clients {
            let tally = client.join().unwrap();
            assert_eq!(tally["one"] + tally["two"], 1_000, "{tally:?}");
        }
    });
}

#[test]
fn no_connect_fails_while_destinations_come_and_go() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 100)]));
    let rush = Rush::start(ENTRANCE, 4);
    for _ in 0..100 {
        agent.apply(route(&[("v1", 50), ("v2", 50)]));
        agent.apply(route(&[("v1", 100)]));
    }
    rush.finish();
}

#[test]
fn a_port_may_go_and_come_again() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    for port in [31401, 31402, 31400] {
        let moved = example_objects("all-v1.yaml").set("Gateway/tcp-echo-gateway", "spec.servers[0].port.number", port);
        agent.apply(moved.set("VirtualService/tcp-echo", "spec.tcp[0].match[0].port", port));
        assert_eq!(ask(&format!("127.0.0.1:{port}")).unwrap(), "one");
        assert_eq!(agent.status().listeners.len(), 1);
    }
    assert!(refused("127.0.0.1:31402"));
}

#[test]
fn an_apply_is_in_force_when_it_is_answered() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base());
    for round in 0..30 {
        let (subset, name) = if round % 2 == 0 { ("v1", "one") } else { ("v2", "two") };
        agent.post(route(&[(subset, 1)]));
        assert_eq!(ask(ENTRANCE).unwrap(), name, "round {round}");
    }
}

#[test]
fn an_unchanged_apply_changes_nothing() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    let before = agent.generation();
    let output = agent.apply(base() + route(&[("v1", 1)]));
    assert!(output.stdout.lines().any(|line| line.ends_with(" unchanged")), "{output:?}");
    sleep(Duration::from_millis(100));
    assert_eq!(agent.generation(), before);
}
