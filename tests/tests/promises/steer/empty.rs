//! Destinations without endpoints, for clients in the mesh: their share is refused at once, or redistributed if the route
//! says so.

use tcpshift_tests::process::run;
use tcpshift_tests::share::assert_share;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

use super::{MESH_ROUTE, ONE, SERVICE, SERVICE6, assert_split, base, direct, inside, route, start, version, versions};

/// The share of a version is refused, to clients that wait and to those that do not.
#[track_caller]
fn assert_refused(world: &World, address: &str, share: f64) {
    let tally = inside(world).tally(address, 400);
    let refused = tally.get("ConnectionRefused").copied().unwrap_or_default();
    assert_eq!(tally["one"] + refused, 400, "{tally:?}");
    assert_share("refused", refused, 400, share);
}

#[test]
fn a_share_without_endpoint_is_refused_at_once() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE]) + route(MESH_ROUTE, [70, 30]));
    for address in [SERVICE, SERVICE6] {
        assert_refused(&world, address, 0.3);
    }
    agent.apply(route(MESH_ROUTE, [0, 100]));
    let waits = "import socket, time, errno\n\
        for blocking in True, False:\n\
        \x20   s = socket.socket(); s.setblocking(blocking); began = time.monotonic()\n\
        \x20   print(errno.errorcode[s.connect_ex(('10.99.0.1', 9000))], time.monotonic() - began < 1)\n";
    let mut python = inside(&world).command("python3");
    python.args(["-c", waits]);
    let said = run(python, b"", seconds(20)).expect(0).stdout;
    assert_eq!(said, "ECONNREFUSED True\nECONNREFUSED True\n");
    let failed = || agent.destination(MESH_ROUTE, "v2").failed;
    tcpshift_tests::until::until_so("all are counted", seconds(3), || failed() >= 202);
}

#[test]
fn a_share_without_endpoint_is_taken_by_the_others_where_that_is_asked_for() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE]) + route(MESH_ROUTE, [70, 30]).annotation("tcpshift.io/on-empty", "redistribute"));
    let tally = inside(&world).tally(SERVICE, 300);
    assert_eq!(tally["one"], 300, "{tally:?}");
}

#[test]
fn a_client_of_ipv4_has_the_endpoints_of_ipv4() {
    let world = World::new();
    let (_direct, _one, _two) = (direct(), version("127.0.0.1:9001", "one"), version("[::1]:9002", "two"));
    let agent = start(&world, &[]);
    let ground = base(&[ONE, ("v2", "::1", 9002)]);
    agent.apply(ground + route(MESH_ROUTE, [70, 30]));
    assert_refused(&world, SERVICE, 0.3);
    assert_split(&inside(&world).tally(SERVICE6, 400), 0.3);
    agent.apply(route(MESH_ROUTE, [70, 30]).annotation("tcpshift.io/on-empty", "redistribute"));
    let tally = inside(&world).tally(SERVICE, 300);
    assert_eq!(tally["one"], 300, "{tally:?}");
    assert_split(&inside(&world).tally(SERVICE6, 400), 0.3);
}

#[test]
fn a_version_that_is_down_refuses_its_share() {
    let world = World::new();
    let (_direct, _one) = (direct(), version("127.0.0.1:9001", "one"));
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, super::TWO]) + route(MESH_ROUTE, [70, 30]));
    assert_refused(&world, SERVICE, 0.3);
    tcpshift_tests::until::until_so("failures are counted", seconds(3), || {
        agent.destination(MESH_ROUTE, "v2").failed > 50
    });
}
