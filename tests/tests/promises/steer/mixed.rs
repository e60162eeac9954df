//! Routes whose endpoints only some clients can be steered to: each connection is decided once, by a program or by the
//! agent, and the shares hold.

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixListener;

use serde_json::json;
use tcpshift_tests::client::tally;
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, ENTRANCE6, GATEWAY_ROUTE, ONE, assert_split, await_datapath, base, datapath, inside, route, start,
    version,
};

/// A version at a unix socket.
fn at_unix(path: &std::path::Path, name: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            // A failed client is seen by the test.
            BufReader::new(&stream).read_line(&mut line).ok();
            stream.write_all(format!("{name} {line}").as_bytes()).ok();
        }
    });
}

#[test]
fn connect_keeps_shares_beside_a_unix_socket() {
    let world = World::new();
    let path = world.path("two.sock");
    let (_one, _two) = (version("127.0.0.1:9001", "one"), at_unix(&path, "two"));
    let agent = start(&world, &[]);
    let two = format!("unix://{}", path.display());
    let wanted = route(GATEWAY_ROUTE, [80, 20]).annotation("tcpshift.io/datapath", "connect");
    let at_unix = json!({ "address": two, "labels": { "version": "v2" } });
    agent.apply(base(&[ONE]).set("ServiceEntry/echo", "spec.endpoints[1]", at_unix) + wanted);
    assert_split(&inside(&world).tally(ENTRANCE, 1_000), 0.2);
    assert_split(&tally(ENTRANCE, 300), 0.2);
    let (by, reason) = datapath(&agent, GATEWAY_ROUTE);
    assert_eq!(by, "proxy");
    assert!(reason.contains("`connect` is asked for") && reason.contains(&two), "{reason}");
}

#[test]
fn connect_keeps_shares_of_both_families() {
    let world = World::new();
    let _versions = [version("127.0.0.1:9001", "one"), version("[::1]:9002", "two")];
    let agent = start(&world, &[]);
    let wanted = route(GATEWAY_ROUTE, [80, 20]).annotation("tcpshift.io/datapath", "connect");
    agent.apply(base(&[ONE, ("v2", "::1", 9002)]) + wanted);
    // A client that cannot be pointed at every endpoint is carried, also to endpoints that it could be pointed at.
    assert_split(&inside(&world).tally(ENTRANCE, 1_000), 0.2);
    let before = agent.status().assignment;
    assert_split(&inside(&world).tally(ENTRANCE6, 1_000), 0.2);
    let after = agent.status().assignment;
    assert_eq!((after.kernel, after.agent), (before.kernel, before.agent), "none of IPv6 is carried");
    let (by, reason) = datapath(&agent, GATEWAY_ROUTE);
    assert_eq!(by, "connect");
    assert!(reason.contains("IPv4 clients are carried") && reason.contains("[::1]:9002"), "{reason}");
}

#[test]
fn endpoints_in_turn_have_their_turns_whoever_is_carried() {
    let world = World::new();
    let _versions = [version("127.0.0.1:9001", "one"), version("127.0.0.1:9002", "two"), version("[::1]:9002", "two")];
    let agent = start(&world, &[]);
    let in_turn = |endpoints: &[_]| {
        base(endpoints).set("DestinationRule/echo", "spec.trafficPolicy.loadBalancer.simple", "ROUND_ROBIN")
    };
    // Handed over for clients of IPv4 alone.
    agent.apply(in_turn(&[ONE, ("v1", "127.0.0.1", 9002)]) + route(GATEWAY_ROUTE, [100, 0]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    for address in [ENTRANCE6, ENTRANCE] {
        let tally = tally(address, 100);
        assert_eq!((tally["one"], tally["two"]), (50, 50), "{address}");
    }
    // No connection is handed over: neither family can reach both endpoints.
    agent.apply(in_turn(&[ONE, ("v1", "::1", 9002)]));
    await_datapath(&agent, GATEWAY_ROUTE, "proxy");
    for address in [ENTRANCE6, ENTRANCE] {
        let tally = tally(address, 100);
        assert_eq!((tally["one"], tally["two"]), (50, 50), "{address}");
    }
    let reason = datapath(&agent, GATEWAY_ROUTE).1;
    assert!(reason.contains("two address families"), "{reason}");
}
