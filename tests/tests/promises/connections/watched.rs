//! `connections -w` shows connections as they come and go.

use tcpshift_tests::process::{Process, built, command};
use tcpshift_tests::steer::{ENTRANCE, versions};
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{Way, clients};

#[test]
fn a_watch_lists_again_and_again() {
    let world = World::new();
    let _versions = versions();
    let agent = Way::Carried.start(&world, [100, 0]);
    let mut watch = command(built("tcpshift-agent"));
    watch.args(["connections", "-w"]).env("TCPSHIFT_ADMIN", format!("unix:{}", agent.socket().display()));
    let watch = Process::start(&world, "watch", watch);
    let lists = || {
        let said = watch.stdout();
        said.split("CLIENT").skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    until_so("there is a list", seconds(10), || !lists().is_empty());
    let there = clients(ENTRANCE, 1);
    let address = there[0].local_addr().unwrap().to_string();
    until_so("it has the client", seconds(10), || lists().last().is_some_and(|list| list.contains(&address)));
    drop(there);
    until_so("it has no client", seconds(10), || lists().last().is_some_and(|list| !list.contains(&address)));
}
