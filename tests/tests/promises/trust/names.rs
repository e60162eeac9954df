//! Names that other users chose are printed without control characters, and never at the start of a line.

use std::os::unix::ffi::OsStrExt;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::{base, route};
use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

#[test]
fn a_process_cannot_write_into_the_log_by_its_name() {
    let world = World::new();
    // A process is named after its program: 15 bytes at most.
    let hostile = world.path("").join(std::ffi::OsStr::from_bytes(b"\x1b[2J\nERROR off"));
    std::fs::copy(built("tcp-echo"), &hostile).unwrap();
    let mut server = command(&hostile);
    server.args(["31400", "x"]);
    let server = Process::start(&world, "hostile", server);
    let said = format!("\u{fffd}[2J\u{fffd}ERROR off (pid {})", server.pid());
    let folder = world.folder("routes");
    // Of an agent that hands connections over, which may look into other processes for that.
    let agent = Agent::start(&world, &["--assign", "kernel", "--datapath", "auto", folder.to_str().unwrap()]);
    world.write("routes/a.yaml", (base() + route(&[("v1", 1)])).to_string());
    until_so("the process is named", seconds(10), || agent.log().contains(&said));
    let log = agent.log();
    assert!(!log.contains('\u{1b}') && !log.lines().any(|line| line.starts_with("ERROR")), "{log}");
    let status = agent.cli(&["status"]).expect(0).stdout;
    assert!(status.contains(&said) && !status.contains('\u{1b}'), "{status}");
}
