//! Clients that connect to a service's address and match no rule reach the service's own endpoints. Other addresses are left
//! alone.

use tcpshift_tests::objects::{
    Object, ServiceEntry, VirtualService, endpoint, gateway, rule, service_entry, virtual_service,
};
use tcpshift_tests::share::assert_share;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{inside, ip, start, version};

/// A service with port 9000, no address, and one endpoint, on this host.
fn here(name: &str, port: u16) -> Object<ServiceEntry> {
    service_entry(name).port("tcp", 9000).endpoint(endpoint("127.0.0.1").port("tcp", port))
}

/// A route of service `old` that gives a share to service `new`.
fn from_old_to_new(old: u32, new: u32) -> Object<VirtualService> {
    let shares = rule().when("port", 9000).to("old.example.com:9000", old).to("new.example.com:9000", new);
    virtual_service("old").host("old.example.com").rule(shares)
}

#[test]
fn where_no_rule_fits_a_services_address_leads_to_the_service() {
    let world = World::new();
    // The host has the addresses too, so that connections that are not steered are answered by "direct".
    for address in ["10.99.0.1", "10.99.0.2", "10.99.0.3", "10.99.0.9"] {
        ip(&format!("addr add {address}/32 dev lo"));
    }
    ip("addr add fd99::1/128 dev lo nodad");
    let _servers = [
        version("127.0.0.1:9001", "app"),
        version("127.0.0.1:9002", "admin"),
        version("127.0.0.1:9003", "canary"),
        version("0.0.0.0:9000", "direct"),
        version("[fd99::1]:9000", "direct"),
        version("10.99.0.1:9100", "direct"),
    ];
    let agent = start(&world, &[]);
    let app = service_entry("app").address("10.99.0.1").address("fd99::1").port("tcp", 9000).port("admin", 9100);
    agent.apply(
        app.endpoint(endpoint("127.0.0.1").port("tcp", 9001).port("admin", 9002))
            + service_entry("empty").address("10.99.0.2").port("tcp", 9000)
            + here("wide", 9003).address("10.99.0.0/24")
            + here("canary", 9003),
    );
    let answers = |expected: [(&str, &str); 6], why: &str| {
        for (address, name) in expected {
            let tally = inside(&world).tally(address, 10);
            assert_eq!(tally, [(name.to_owned(), 10)].into(), "{why}: {address}: {:#?}", agent.status());
        }
    };
    let plain = [
        ("10.99.0.1:9000", "app"),
        ("[fd99::1]:9000", "app"),
        ("10.99.0.1:9100", "admin"),
        // A service without an endpoint in the subnet of another one.
        ("10.99.0.2:9000", "direct"),
        ("10.99.0.9:9000", "canary"),
        ("127.0.0.1:9000", "direct"),
    ];
    answers(plain, "without a VirtualService");
    let to_canary = || rule().to("canary.example.com:9000", 1);
    let ruled_by = |rule| virtual_service("app").host("app.example.com").rule(rule);
    agent.apply(ruled_by(to_canary().when("sourceLabels.app", "canary")));
    answers(plain, "the rule is for others");
    let mut ruled = plain;
    (ruled[0].1, ruled[1].1) = ("canary", "canary");
    let ruling = ruled_by(to_canary().when("port", 9000));
    agent.apply(&ruling);
    answers(ruled, "one port has a rule");
    let foretold = agent.cli_with(&["preview", "--delete", "-"], ruling.to_string()).expect(0).stdout;
    let moves = "app.example.com:9000: all clients: route default/app -> ServiceEntry default/app, 100 % of clients move: \
        canary.example.com:9000 -> app.example.com:9000 100 %\n";
    assert!(foretold.contains(moves), "{foretold}");
    agent.cli(&["delete", "vs/app"]).expect(0);
    answers(plain, "the VirtualService is deleted");
    // It is counted and shown as the service's.
    let status = agent.status();
    let routes = status.listeners.iter().flat_map(|listener| &listener.routes);
    let names: Vec<_> = routes.map(|route| (route.name.as_str(), route.datapath.as_str())).collect();
    let own = ("ServiceEntry default/app", "connect");
    assert_eq!(names, [own, own, ("ServiceEntry default/wide", "connect")]);
    assert!(agent.destination("ServiceEntry default/app", "app.example.com:9100").opened >= 40);
    let hosts = agent.cli(&["hosts"]).expect(0).stdout;
    assert!(hosts.starts_with("10.99.0.1 app.example.com\nfd99::1 app.example.com\n#"), "{hosts}");
    assert!(hosts.contains("# empty.example.com: ServiceEntry default/empty is not served"), "{hosts}");
    assert!(!hosts.contains("\n10.99.0.2"), "{hosts}");
}

#[test]
fn where_nothing_is_steered_a_service_is_not_served_and_nothing_is_claimed() {
    let world = World::new();
    let agent = tcpshift_tests::agent::Agent::start(&world, &["--datapath", "proxy"]);
    agent.apply(here("app", 9001).address("10.99.0.1"));
    let status = agent.status();
    assert!(status.listeners.is_empty() && status.notes.is_empty(), "{status:#?}");
    assert!(agent.cli(&["hosts"]).expect(0).stdout.starts_with("# app.example.com:"));
}

#[test]
fn resolution_none_leaves_its_share_with_the_address_that_was_asked_for() {
    let world = World::new();
    for address in ["10.99.1.1", "10.99.1.2"] {
        ip(&format!("addr add {address}/32 dev lo"));
    }
    ip("addr add fd99:1::1/128 dev lo nodad");
    let _servers = [
        version("10.99.1.1:9000", "old"),
        version("10.99.1.2:9000", "other"),
        version("[fd99:1::1]:9000", "old"),
        version("127.0.0.1:9001", "new"),
        version("10.99.1.1:9200", "moved"),
    ];
    let agent = start(&world, &[]);
    let old = service_entry("old").resolution("NONE").address("10.99.1.0/24").address("fd99:1::/64");
    let old = old.port("tcp", 9000).port("moved", 9100).set("spec.ports[1].targetPort", 9200);
    agent.apply(old + here("new", 9001) + from_old_to_new(90, 10));
    for (address, left) in [("10.99.1.1:9000", "old"), ("10.99.1.2:9000", "other"), ("[fd99:1::1]:9000", "old")] {
        let seen = inside(&world).ask(address, 300);
        let tally = seen.tally();
        let count = |name: &str| tally.get(name).copied().unwrap_or_default();
        assert_eq!(count(left) + count("new"), 300, "{address}: {tally:?}");
        assert_share(address, count("new"), 300, 0.1);
        assert_eq!(seen.peers, [address.to_owned()].into());
    }
    assert_eq!(inside(&world).tally("10.99.1.1:9100", 10), [("moved".to_owned(), 10)].into());
    // The share is counted as any other.
    until_so("all are counted as closed", seconds(10), || {
        agent.destination("default/old", "old.example.com:9000").steered.is_some_and(|steered| steered.closed > 700)
    });
    let left = agent.destination("default/old", "old.example.com:9000");
    assert_eq!((left.addresses, left.failed), (vec!["the address asked for".to_owned()], 0));
}

#[test]
fn at_a_gateway_the_share_of_resolution_none_is_refused_and_said() {
    let world = World::new();
    let _new = version("127.0.0.1:9001", "new");
    let agent = start(&world, &[]);
    let old = service_entry("old").resolution("NONE").address("10.99.1.0/24").port("tcp", 9000);
    let text = (old + here("new", 9001) + gateway("gate").port(9000) + from_old_to_new(50, 50).at("gate")).to_string();
    let said = "old.example.com:9000: resolution NONE leads nowhere from a gateway; its share is refused";
    let warned = agent.apply(&text).stderr;
    assert!(warned.contains(said), "{warned}");
    let tally = inside(&world).tally("127.0.0.1:9000", 200);
    let refused: usize = tally.iter().filter(|(name, _)| *name != "new").map(|(_, count)| count).sum();
    assert_share("refused", refused, 200, 0.5);
    let validated = agent.cli_with(&["validate", "-"], &text).expect(0);
    assert!(
        validated.stderr.contains("warning: VirtualService default/old: spec.tcp[0].route[0].destination.host"),
        "{validated:?}"
    );
    let analyzed = agent.cli_with(&["analyze", "-"], &text).expect(79);
    assert!(analyzed.stdout.contains("Error [TS0029] (VirtualService default/old "), "{analyzed:?}");
}
