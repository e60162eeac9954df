//! Whose connections are pointed elsewhere, and whose are not: labels, control groups, network namespaces, ports, UDP.

use std::net::UdpSocket;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::crowd::Location;
use tcpshift_tests::maps::links;
use tcpshift_tests::objects::{Object, Objects, VirtualService, endpoint, rule, service_entry, virtual_service};
use tcpshift_tests::process::{built, command, run};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{MESH_ROUTE, ONE, SERVICE, TWO, base, direct, inside, options, route, start, version, versions};

/// Who answers clients of a location, all of whom must have the same answer.
#[track_caller]
fn who(location: Location<'_>, address: &str) -> String {
    let tally = location.tally(address, 30);
    assert_eq!(tally.len(), 1, "{location:?} at {address}: {tally:?}");
    tally.into_keys().next().unwrap()
}

#[test]
fn clients_in_no_group_of_the_agents_are_left_alone() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    assert_eq!(who(inside(&world), SERVICE), "one");
    assert_eq!(who(Location::Here, SERVICE), "direct");
}

#[test]
fn clients_of_a_group_that_was_removed_and_made_again_are_steered_again() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let mut name = world.cgroup().file_name().unwrap().to_owned();
    name.push("-clients");
    let group = world.cgroup().with_file_name(name);
    std::fs::create_dir(&group).unwrap();
    let mut agent =
        Agent::start(&world, &["--assign", "kernel", "--datapath", "auto", "--cgroup", group.to_str().unwrap()]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    assert_eq!(who(Location::Group(&group), SERVICE), "one");
    let removed = |group: &std::path::Path| {
        // A killed process may still be in the group.
        until_so("the group goes", seconds(5), || std::fs::remove_dir(group).is_ok());
    };
    removed(&group);
    let is_noted = || agent.status().notes.iter().any(|note| note.contains("no client is steered"));
    until_so("it is said", seconds(10), is_noted);
    agent.apply(route(MESH_ROUTE, [0, 100]));
    std::fs::create_dir(&group).unwrap();
    until_so("it is over", seconds(10), || !is_noted());
    assert_eq!(who(Location::Group(&group), SERVICE), "two");
    assert_eq!(agent.log().matches("no client is steered").count(), 2, "{}", agent.log());
    // The new links outlive the agent, and the old ones are not there.
    let now = links(&world);
    // `assign`, `record`, and four programs of clients; no route needs `lookup`.
    assert_eq!(now.len(), 6, "{now:?}");
    agent.process().kill();
    assert_eq!(who(Location::Group(&group), SERVICE), "two");
    removed(&group);
}

#[test]
fn clients_in_another_network_namespace_are_left_alone() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    // The client is in the agent's control group, but in a network namespace where the addresses belong to another server.
    let script = "ip link set lo up && ip addr add 10.99.0.1/32 dev lo && python3 -c '\n\
        import socket\n\
        s = socket.create_server((\"10.99.0.1\", 9000))\n\
        c = socket.create_connection((\"10.99.0.1\", 9000), 5)\n\
        s.accept()[0].sendall(b\"another namespace\")\n\
        print(c.recv(100).decode())'";
    let mut other = inside(&world).command("unshare");
    other.args(["--net", "--", "sh", "-c", script]);
    assert_eq!(run(other, b"", seconds(20)).expect(0).stdout, "another namespace\n");
    assert_eq!(who(inside(&world), SERVICE), "one");
}

#[test]
fn other_ports_and_udp_are_left_alone() {
    let world = World::new();
    let (_direct, _versions, _other) = (direct(), versions(), version("10.99.0.1:9100", "other"));
    let udp = UdpSocket::bind(SERVICE).unwrap();
    let echo = udp.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 100];
        while let Ok((length, from)) = echo.recv_from(&mut bytes) {
            echo.send_to(&bytes[..length], from).unwrap();
        }
    });
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    assert_eq!(who(inside(&world), SERVICE), "one");
    assert_eq!(who(inside(&world), "10.99.0.1:9100"), "other");
    assert_eq!(who(inside(&world), "127.0.0.1:9002"), "two", "an endpoint that is asked for itself");
    let script = "import socket\n\
        s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(5)\n\
        s.connect(('10.99.0.1', 9000)); s.send(b'by UDP'); print(s.recv(100).decode(), s.getpeername())\n";
    let mut python = inside(&world).command("python3");
    python.args(["-c", script]);
    assert_eq!(run(python, b"", seconds(20)).expect(0).stdout, "by UDP ('10.99.0.1', 9000)\n");
}

/// The route of clients in the mesh, whose first rule has a condition and leads to v2; all others get v1.
fn conditional(field: &str, value: &str) -> Object<VirtualService> {
    let first = rule().when(field, value).to("echo.example.com/v2", 1);
    virtual_service("echo").host("echo.example.com").rule(first).rule(rule().to("echo.example.com/v1", 1))
}

#[test]
fn rules_for_labels_hold_for_an_agent_that_has_them() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let text = base(&[ONE, TWO]) + conditional("sourceLabels.app", "web");
    for (label, expected) in [("app=web", "two"), ("app=other", "one"), ("web=app", "one")] {
        let agent = start(&world, &["--label", label]);
        agent.apply(&text);
        assert_eq!(who(inside(&world), SERVICE), expected, "{label}");
        drop(agent);
    }
}

#[test]
fn rules_for_a_namespace_hold_for_an_agent_in_it() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let text = base(&[ONE, TWO]) + conditional("sourceNamespace", "shop");
    for (namespace, expected) in [("shop", "two"), ("default", "one")] {
        let agent = start(&world, &["--namespace", namespace]);
        agent.apply(&text);
        assert_eq!(who(inside(&world), SERVICE), expected, "{namespace}");
        drop(agent);
    }
}

/// A gateway whose endpoint is the service's address, to be dialled as it is; and the service itself.
fn gateway_to_the_service() -> Objects {
    let other = service_entry("other").port("tcp", 9000).endpoint(endpoint("10.99.0.1"));
    let entrance = virtual_service("entrance").at("entrance").to("other.example.com", 1);
    let carried = entrance.annotation("tcpshift.io/datapath", "proxy");
    base(&[ONE, TWO]) + other + carried + route(MESH_ROUTE, [100, 0])
}

#[test]
fn the_agent_itself_is_no_client_of_its_own() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    // The agent is in the control group of its clients.
    let agent = start(&world, &[]);
    agent.apply(gateway_to_the_service());
    assert_eq!(who(inside(&world), SERVICE), "one");
    assert_eq!(who(Location::Here, super::ENTRANCE), "direct");
}

#[test]
fn an_agent_with_process_numbers_of_its_own_steers_nobody() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    // As in a container: the process id that programs see is not the one that the agent knows.
    let mut unshare = command("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]).arg(built("tcpshift-agent"));
    let agent = Agent::launch(&world, "agent", unshare, &["--assign", "kernel", "--datapath", "auto"]).ready();
    agent.apply(gateway_to_the_service());
    let (by, reason) = super::datapath(&agent, MESH_ROUTE);
    assert_eq!(by, "none");
    assert!(reason.contains("pid namespace"), "{reason}");
    assert_eq!(who(inside(&world), SERVICE), "direct");
    assert_eq!(who(Location::Here, super::ENTRANCE), "direct");
}

#[test]
fn a_group_that_is_made_later_below_the_agents_is_in_its_scope() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = Agent::start(&world, &options(&world, &[]));
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [100, 0]));
    let below = world.cgroup().join("below");
    std::fs::create_dir(&below).unwrap();
    assert_eq!(who(Location::Group(&below), SERVICE), "one");
    until_so("the group goes", seconds(5), || std::fs::remove_dir(&below).is_ok());
}
