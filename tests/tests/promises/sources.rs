//! `--source-address`: endpoints are dialled from these addresses, in turn, and each has ports of its own.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{connect, converse};
use tcpshift_tests::example::{base, route};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

/// Ports of one address.
const PORTS: usize = 50;

#[test]
fn each_source_address_has_ports_of_its_own() {
    let world = World::new();
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("40001 {}", 40_000 + PORTS)).unwrap();
    let _server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::start(&world, &["--source-address", "127.0.0.21", "--source-address", "127.0.0.22"]);
    agent.apply(base() + route(&[("v1", 100)]));
    // More connections than one address has ports for. Clients connect to several addresses for the same reason.
    let clients: Vec<_> =
        (0..PORTS * 3 / 2).map(|at| connect(&format!("127.0.0.{}:31400", 1 + at % 4)).unwrap()).collect();
    for client in &clients {
        assert_eq!(converse(client, "hello").unwrap(), "one");
    }
    let counted = agent.destination("default/tcp-echo", "v1");
    assert_eq!((counted.active, counted.failed), (clients.len() as u64, 0), "{counted:?}");
    // Both are used, as the kernel's own table of connections says.
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    for hex in ["1500007F", "1600007F"] {
        let from = table.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|own| own.starts_with(hex)));
        assert!(from.count() >= PORTS / 2, "{hex} is not used:\n{table}");
    }
}

#[test]
fn an_address_of_another_host_is_refused_at_start() {
    let world = World::new();
    let launcher = command(built("tcpshift-agent"));
    let mut agent = Agent::launch(&world, "agent", launcher, &["--source-address", "192.0.2.9"]);
    assert_eq!(agent.process().wait(seconds(10)).code(), Some(1), "{}", agent.log());
    agent.says("192.0.2.9 is not an address of this host");
}
