//! Listeners of one port whose addresses overlap: each connection has the one whose address is the most specific,
//! whichever datapath that has.

use std::fmt::Write as _;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::crowd::Place;
use tcpshift_tests::world::World;

use super::{await_datapath, inside, ip, start, version};

/// A Gateway at port 9000, at one address or at all, and its route to a server of this host.
fn gateway(name: &str, bind: &str, datapath: &str, server: u16) -> String {
    let mut text = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  \
         selector: {{istio: ingressgateway}}\n  servers:\n  - port: {{number: 9000, name: tcp, protocol: TCP}}\n    \
         hosts: [\"*\"]\n"
    );
    if !bind.is_empty() {
        writeln!(text, "    bind: \"{bind}\"").unwrap();
    }
    write!(
        text,
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec:\n  \
         hosts: [{name}.example.com]\n  ports: [{{number: 9000, name: tcp, protocol: TCP}}]\n  resolution: STATIC\n  \
         endpoints: [{{address: 127.0.0.1, ports: {{tcp: {server}}}}}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, annotations: \
         {{tcpshift.io/datapath: {datapath}}}}}\nspec:\n  hosts: [\"*\"]\n  gateways: [{name}]\n  tcp: \
         [{{route: [{{destination: {{host: {name}.example.com}}}}]}}]\n---\n"
    )
    .unwrap();
    text
}

/// Who answers at each address; all connections to one must have the same answer.
#[track_caller]
fn assert_answers(agent: &Agent<'_>, place: Place<'_>, expected: [(&str, &str); 4]) {
    for (address, name) in expected {
        let tally = place.tally(address, 20);
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
        let narrow = gateway("four", "10.97.0.1", narrow, 9002) + &gateway("six", "fd97::1", "proxy", 9002);
        agent.apply(&(gateway("wide", "", wide, 9001) + &narrow));
        await_datapath(&agent, WIDE, if wide == "auto" { "lookup" } else { wide });
        // Of this host's programs some may be pointed elsewhere when they connect, others not.
        assert_answers(&agent, Place::Here, EXPECTED);
        assert_answers(&agent, inside(&world), EXPECTED);
    }
}
