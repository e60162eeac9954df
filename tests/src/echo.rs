//! The real line server, `tcp-echo`, as a process in the world of a test.

use crate::process::{Process, built, command};
use crate::until::{seconds, until_so};
use crate::world::World;

/// Starts `tcp-echo PORTS PREFIX --bind BIND` and waits until it listens on every port.
pub fn tcp_echo(world: &World, ports: &str, prefix: &str, bind: &str) -> Process {
    let mut command = command(built("tcp-echo"));
    command.args([ports, prefix, "--bind", bind]);
    let mut process = Process::start(world, &format!("tcp-echo-{prefix}-{}", ports.replace(',', "-")), command);
    until_so("tcp-echo listens", seconds(10), || {
        assert!(process.ended().is_none(), "tcp-echo {ports} {prefix} ended: {}", process.stdout());
        process.stdout().matches("listening on ").count() == ports.split(',').count()
    });
    process
}

/// The two versions of the example: `one` and `two`, where its `WorkloadEntries` say they are.
pub fn both_versions(world: &World) -> [Process; 2] {
    [tcp_echo(world, "9000,9001", "one", "127.0.0.1"), tcp_echo(world, "9100,9101", "two", "127.0.0.1")]
}
