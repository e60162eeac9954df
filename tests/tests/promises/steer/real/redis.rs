//! Redis, loaded by `redis-benchmark`.

use std::time::Duration;

use tcpshift_tests::client::connect;
use tcpshift_tests::process::{Process, command, run};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{PORTS, assert_counted, served, targets};

fn server(world: &World, port: u16) -> Process {
    let mut redis = command("redis-server");
    let port_word = port.to_string();
    redis.args(["--port", &port_word, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    redis.arg(world.folder(&format!("redis-{port}")));
    let process = Process::start(world, &format!("redis-{port}"), redis);
    let address = format!("127.0.0.1:{port}");
    until_so("redis listens", seconds(20), || connect(&address).is_ok());
    process
}

/// Connections that a server has had, without the one that asks.
#[track_caller]
fn connections(port: u16) -> usize {
    let mut redis = command("redis-cli");
    redis.args(["-p", &port.to_string(), "info", "stats"]);
    let said = run(redis, b"", Duration::from_secs(10)).expect(0).stdout;
    let count = said.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
    count.trim().parse::<usize>().unwrap() - 1
}

#[test]
fn redis_has_no_error_and_the_right_split() {
    let world = World::new();
    let _servers = PORTS.map(|port| server(&world, port));
    let _agent = served(&world);
    for way in targets(&world) {
        for (keep_alive, requests, least) in [("1", "20000", 50), ("0", "1500", 1_500)] {
            let before = PORTS.map(connections);
            let words = format!("-h HOST -p PORT -c 50 -n {requests} -k {keep_alive} -t set --csv");
            let output = way.load("redis-benchmark", &words, &[]);
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(!said.to_lowercase().contains("err"), "{said}");
            assert!(output.stdout.contains("\"SET\","), "{said}");
            // The count before has itself been counted.
            let after = PORTS.map(|port| connections(port) - 1);
            assert_counted(&format!("{}, keep-alive {keep_alive}", way.host), before, after, least);
        }
    }
}
