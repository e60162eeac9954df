//! Guard rails: what would refuse more new connections than now is not done by `shift` and `delete` unless somebody says that
//! it is meant; what makes it better, and the end of a whole route, always is.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, tally};
use tcpshift_tests::echo::both_versions;
use tcpshift_tests::example;
use tcpshift_tests::world::World;

/// An agent with both versions, of which the first has all connections.
fn first_has_all(world: &World) -> Agent<'_> {
    let agent = Agent::start::<&str>(world, &[]);
    agent.apply(example::base() + example::route(&[("v1", 100), ("v2", 0)]));
    agent
}

#[test]
fn a_shift_to_a_version_without_endpoints_is_refused_and_one_back_never_is() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = first_has_all(&world);
    agent.cli(&["delete", "we/tcp-echo-v2"]).expect(0);
    let refused = agent.cli(&["shift", "vs/tcp-echo", "v2=100"]).expect(3);
    refused
        .complains("more new connections would be refused; nothing is changed: default/tcp-echo: 100 % instead of 0 %")
        .complains("no endpoint");
    assert_eq!(tally(ENTRANCE, 40)["one"], 40, "nobody is refused");
    agent.cli(&["shift", "vs/tcp-echo", "v2=100", "--dry-run"]).expect(0);

    agent.cli(&["shift", "vs/tcp-echo", "v2=30", "--force"]).expect(0);
    agent.cli(&["shift", "vs/tcp-echo", "v2=31"]).expect(3);
    agent.cli(&["shift", "vs/tcp-echo", "v2=20"]).expect(0);
    agent.cli(&["shift", "vs/tcp-echo", "v1=100"]).expect(0);
    assert_eq!(tally(ENTRANCE, 40)["one"], 40);
}

#[test]
fn what_a_route_needs_is_not_deleted_and_whole_routes_are() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = first_has_all(&world);
    for needed in ["we/tcp-echo-v1", "svc/tcp-echo", "dr/tcp-echo-destination"] {
        agent.cli(&["delete", needed]).expect(3).complains("default/tcp-echo: 100 % instead of 0 %");
        assert_eq!(tally(ENTRANCE, 20)["one"], 20, "{needed} is there");
    }
    agent.cli(&["delete", "we/tcp-echo-v2"]).expect(0);
    agent.cli(&["delete", "vs/tcp-echo"]).expect(0);
    agent.cli(&["delete", "svc/tcp-echo", "dr/tcp-echo-destination", "we/tcp-echo-v1"]).expect(0);
}

#[test]
fn apply_is_guarded_where_that_is_asked_for() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = first_has_all(&world);
    let text = example::route(&[("v9", 100)]).to_string();
    let file = world.write("route.yaml", text).display().to_string();
    agent.cli(&["apply", "--strict", "-f", &file]).expect(3).complains("unknown subset");
    assert_eq!(tally(ENTRANCE, 20)["one"], 20);
    agent.cli(&["apply", "-f", &file]).expect(0);
    agent.cli(&["apply", "--strict", "-f", &file]).expect(0);
}
