//! Listeners of one port whose addresses overlap: each connection has the one whose address is the most specific,
//! whichever datapath that has.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::crowd::Location;
use tcpshift_tests::objects::{Objects, endpoint, gateway, service_entry, virtual_service};
use tcpshift_tests::world::World;

use super::{await_datapath, inside, ip, start, version};

/// A Gateway at port 9000 of an address, and its route by a datapath to a server of this host.
fn entrance(name: &str, bind: Option<&str>, datapath: &str, server: u16) -> Objects {
    let gateway = gateway(name).port(9000);
    let gateway = match bind {
        Some(address) => gateway.set("spec.servers[0].bind", address),
        None => gateway,
    };
    let route = virtual_service(name).at(name).to(&format!("{name}.example.com"), 1);
    gateway
        + service_entry(name).port("tcp", 9000).endpoint(endpoint("127.0.0.1").port("tcp", server))
        + route.annotation("tcpshift.io/datapath", datapath)
}

/// Who answers at each address; all connections to one must have the same answer.
#[track_caller]
fn assert_answers(agent: &Agent<'_>, location: Location<'_>, expected: [(&str, &str); 4]) {
    for (address, name) in expected {
        let tally = location.tally(address, 20);
        assert_eq!(tally, [(name.to_owned(), 20)].into(), "{address}: {:#?}", agent.status());
    }
}

const WIDE: &str = "default/wide";
const EXPECTED: [(&str, &str); 4] =
    [("127.0.0.1:9000", "one"), ("[::1]:9000", "one"), ("10.97.0.1:9000", "two"), ("[fd97::1]:9000", "two")];

#[test]
fn a_listener_at_an_address_keeps_its_connections_from_one_at_every_address() {
    let world = World::new();
    ip("addr add 10.97.0.1/32 dev lo");
    ip("addr add fd97::1/128 dev lo nodad");
    let _versions = [version("127.0.0.1:9001", "one"), version("127.0.0.1:9002", "two")];
    let agent = start(&world, &[]);
    for (wide, narrow) in [("auto", "proxy"), ("auto", "lookup"), ("connect", "proxy"), ("proxy", "connect")] {
        let narrow =
            entrance("four", Some("10.97.0.1"), narrow, 9002) + entrance("six", Some("fd97::1"), "proxy", 9002);
        agent.apply(entrance("wide", None, wide, 9001) + narrow);
        await_datapath(&agent, WIDE, if wide == "auto" { "lookup" } else { wide });
        // Clients outside the agent's control group are never pointed elsewhere in connect(2); those inside may be.
        assert_answers(&agent, Location::Here, EXPECTED);
        assert_answers(&agent, inside(&world), EXPECTED);
    }
}
