//! A service by its address where no rule is for the client: its own endpoints are served. What no service has goes where it
//! was going.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tcpshift_tests::share::assert_share;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

use super::{inside, ip, start, version};

/// A ServiceEntry whose ports have these endpoints, each an address and a port.
fn service(name: &str, addresses: &str, resolution: &str, ports: &[(u16, &[(&str, u16)])]) -> String {
    let mut text = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec:\n  \
         hosts: [{name}.example.com]\n  addresses: [{addresses}]\n  resolution: {resolution}\n  ports:\n"
    );
    for (port, _) in ports {
        writeln!(text, "  - {{number: {port}, name: p{port}, protocol: TCP}}").unwrap();
    }
    let mut endpoints: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (port, found) in ports {
        for (address, at) in *found {
            endpoints.entry(address).or_default().push(format!("p{port}: {at}"));
        }
    }
    if !endpoints.is_empty() {
        text.push_str("  endpoints:\n");
    }
    for (address, ports) in endpoints {
        writeln!(text, "  - {{address: \"{address}\", ports: {{{}}}}}", ports.join(", ")).unwrap();
    }
    text + "---\n"
}

/// Rules for clients inside a mesh: a condition, and shares of hosts.
fn rules(name: &str, rules: &[(&str, &[(&str, u32)])]) -> String {
    let mut text = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  \
         hosts: [{name}.example.com]\n  tcp:\n"
    );
    for (condition, shares) in rules {
        writeln!(text, "  - match: [{{{condition}}}]\n    route:").unwrap();
        for (host, weight) in *shares {
            writeln!(
                text,
                "    - {{destination: {{host: {host}.example.com, port: {{number: 9000}}}}, weight: {weight}}}"
            )
            .unwrap();
        }
    }
    text + "---\n"
}

#[test]
fn where_no_rule_fits_a_services_address_leads_to_the_service() {
    let world = World::new();
    // Whoever has the addresses itself, to tell what was left alone.
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
    let app = |port| ("127.0.0.1", port);
    agent.apply(
        &(service("app", "10.99.0.1, \"fd99::1\"", "STATIC", &[(9000, &[app(9001)]), (9100, &[app(9002)])])
            + &service("empty", "10.99.0.2", "STATIC", &[(9000, &[])])
            + &service("wide", "10.99.0.0/24", "STATIC", &[(9000, &[app(9003)])])
            + &service("canary", "", "STATIC", &[(9000, &[app(9003)])]).replace("  addresses: []\n", "")),
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
    let canary: &[(&str, u32)] = &[("canary", 1)];
    agent.apply(&rules("app", &[("sourceLabels: {app: canary}", canary)]));
    answers(plain, "the rule is for others");
    let mut ruled = plain;
    (ruled[0].1, ruled[1].1) = ("canary", "canary");
    let ruling = rules("app", &[("port: 9000", canary)]);
    agent.apply(&ruling);
    answers(ruled, "one port has a rule");
    let foretold = agent.cli_with(&["preview", "--delete", "-"], ruling.as_bytes()).expect(0).stdout;
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
    agent.apply(&service("app", "10.99.0.1", "STATIC", &[(9000, &[("127.0.0.1", 9001)])]));
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
    let old = service("old", "10.99.1.0/24, \"fd99:1::/64\"", "NONE", &[(9000, &[]), (9100, &[])]);
    let old = old.replace("name: p9100,", "name: p9100, targetPort: 9200,");
    let new = service("new", "", "STATIC", &[(9000, &[("127.0.0.1", 9001)])]).replace("  addresses: []\n", "");
    agent.apply(&(old + &new + &rules("old", &[("port: 9000", &[("old", 90), ("new", 10)])])));
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
    let old = service("old", "10.99.1.0/24", "NONE", &[(9000, &[])]);
    let new = service("new", "", "STATIC", &[(9000, &[("127.0.0.1", 9001)])]).replace("  addresses: []\n", "");
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gate}\nspec:\n  \
         selector: {istio: ingressgateway}\n  servers: [{port: {number: 9000, name: tcp, protocol: TCP}, hosts: [\"*\"]}]\n---\n";
    let route = rules("old", &[("port: 9000", &[("old", 50), ("new", 50)])])
        .replace("  tcp:\n", "  gateways: [gate]\n  tcp:\n");
    let text = old + &new + gateway + &route;
    let said = "old.example.com:9000: resolution NONE leads nowhere from a gateway; its share is refused";
    let warned = agent.apply(&text).stderr;
    assert!(warned.contains(said), "{warned}");
    let tally = inside(&world).tally("127.0.0.1:9000", 200);
    let refused: usize = tally.iter().filter(|(name, _)| *name != "new").map(|(_, count)| count).sum();
    assert_share("refused", refused, 200, 0.5);
    let validated = agent.cli_with(&["validate", "-"], text.as_bytes()).expect(0);
    assert!(
        validated.stderr.contains("warning: VirtualService default/old: spec.tcp[0].route[0].destination.host"),
        "{validated:?}"
    );
    let analyzed = agent.cli_with(&["analyze", "-"], text.as_bytes()).expect(79);
    assert!(analyzed.stdout.contains("Error [TS0029] (VirtualService default/old "), "{analyzed:?}");
}
