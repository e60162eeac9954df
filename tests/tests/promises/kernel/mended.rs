//! Failures while the agent runs, which the next successful change repairs.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, answers};
use tcpshift_tests::example::{base, entry, route};
use tcpshift_tests::maps::{attached, links, pinned};
use tcpshift_tests::objects::Objects;
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::{PINS, World};

use super::{assigned, begin_no_thread, start, start_with_large_stacks};

#[test]
fn a_change_that_is_too_large_takes_no_room_from_the_next() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    // With room for 32 endpoints.
    let agent = Agent::start(&world, &["--assign", "kernel", "--max-routes", "1"]);
    agent.apply(base() + route(&[("v1", 1)]));
    let entry_of = |number| entry(&format!("many-{number}"), "v1", &format!("127.1.0.{number}"), 9000);
    let many: Objects = (1..=100).map(entry_of).collect();
    agent.cli_with(&["apply", "-f", "-"], &many).expect(1).complains("raise --max-routes");
    agent.apply(entry("another", "v1", "127.0.0.1", 9000));
    assert_eq!(answers(ENTRANCE, 5), ["one"; 5]);
    assert_eq!(assigned(&agent), (5, 0));
}

#[test]
fn names_that_somebody_removes_are_there_again() {
    let world = World::new();
    let _versions = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let mut agent = start(&world);
    agent.apply(base() + route(&[("v1", 1)]));
    let before = links(&world);
    std::fs::remove_dir_all(format!("{PINS}/tcpshift")).unwrap();
    assert_eq!(answers(ENTRANCE, 5), ["one"; 5]);
    until_so("names are there again", seconds(10), || links(&world) == before);
    until_so("all of them", seconds(5), || pinned(&world).iter().any(|path| path.ends_with("/destinations")));
    agent.apply(route(&[("v2", 1)]));
    assert_eq!(answers(ENTRANCE, 5), ["two"; 5]);
    assert_eq!(assigned(&agent), (10, 0));
    agent.says("it is pinned again");
    agent.process().kill();
    assert_eq!(attached(&world).len(), 1, "what is pinned outlives the agent");
}

#[test]
fn a_change_needs_no_thread() {
    let world = World::new();
    let _versions = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = start_with_large_stacks(&world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    begin_no_thread(&agent);
    for version in ["v2", "v1", "v2"] {
        agent.apply(route(&[(version, 1)]));
    }
    assert_eq!(answers(ENTRANCE, 5), ["two"; 5]);
    assert_eq!(assigned(&agent), (5, 0));
}
