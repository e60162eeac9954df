//! Which gateway and which rule gets a connection.

use tcpshift_common::address::{Address, Flow};

use super::world::{GATEWAY, SERVICE, World, only, route, to};

#[test]
fn the_older_route_comes_first_and_the_one_behind_it_is_noted() {
    let mut world = World::new();
    let dated = |name: &str, date: &str, subset: &str| {
        route(name, &format!("[{{route: [{}]}}]", to(subset, 1)))
            .replace("{name", &format!("{{creationTimestamp: '{date}', name"))
    };
    let plan = world.compile(&[
        SERVICE,
        GATEWAY,
        &dated("a", "2026-02-01T00:00:00Z", "v1"),
        &dated("b", "2026-01-01T00:00:00Z", "v2"),
    ]);
    assert_eq!(only(plan).object, "b");
    assert!(
        plan.notes.iter().any(|note| note.contains("default/a") && note.contains("never reached")),
        "{:?}",
        plan.notes
    );
    let undated = route("c", &format!("[{{route: [{}]}}]", to("v1", 1)));
    let plan = world.compile(&[SERVICE, GATEWAY, &dated("b", "2026-01-01T00:00:00Z", "v2"), &undated]);
    assert_eq!(only(plan).object, "c", "without a date it is the oldest");
}

#[test]
fn prefixes_ports_and_gateways_of_a_match_decide() {
    let mut world = World::new();
    let tcp = format!(
        "[{{match: [{{port: 31400, sourceSubnet: 10.0.0.0/8}}], route: [{}]}}, \
          {{match: [{{port: 9, sourceSubnet: 10.1.0.0/16}}, {{gateways: [other]}}], route: [{}]}}, \
          {{match: [{{destinationSubnets: [192.0.2.0/24, '2001:db8::/32']}}], route: [{}]}}]",
        to("v1", 1),
        to("v2", 1),
        to("v2", 1)
    );
    let plan = world.compile(&[SERVICE, GATEWAY, &route("r", &tcp)]);
    let listener = &plan.listeners[0];
    let rule = |source: [u8; 4], destination: [u8; 4]| {
        let flow = Flow { source: Address::v4(source), destination: Address::v4(destination), ..Flow::default() };
        listener.route(&flow).map(|route| route.rule)
    };
    assert_eq!(rule([10, 1, 2, 3], [192, 0, 2, 1]), Some(0));
    assert_eq!(rule([11, 1, 2, 3], [192, 0, 2, 1]), Some(2));
    assert_eq!(rule([11, 1, 2, 3], [192, 0, 3, 1]), None);
}

#[test]
fn a_gateway_for_others_and_a_host_of_others_are_noted() {
    let mut world = World::new();
    let route = route("r", &format!("[{{route: [{}]}}]", to("v1", 1)));
    let plan = world.compile(&[SERVICE, &GATEWAY.replace("ingressgateway", "egressgateway"), &route]);
    assert!(plan.listeners.is_empty() && plan.notes[0].contains("--label"), "{:?}", plan.notes);
    let plan = world.compile(&[
        SERVICE,
        &GATEWAY.replace("hosts: ['*']", "hosts: [a.example.com]"),
        &route.replace("'*'", "b.example.com"),
    ]);
    assert!(plan.listeners.is_empty() && plan.notes[0].contains("none of its hosts"), "{:?}", plan.notes);
}

#[test]
fn bind_wins_over_the_listen_addresses_and_the_older_gateway_over_the_younger() {
    let mut world = World::new();
    world.planner.host.listen_addresses = vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let bound = GATEWAY.replace("hosts:", "bind: 127.0.0.9, hosts:").replace("gate}", "bound}");
    let younger = GATEWAY.replace("gate}", "younger, creationTimestamp: '2026-01-01T00:00:00Z'}");
    let route = route("r", &format!("[{{route: [{}]}}]", to("v1", 1))).replace("[gate]", "[gate, bound, younger]");
    let plan = world.compile(&[SERVICE, GATEWAY, &bound, &younger, &route]);
    let listeners: Vec<_> = plan.listeners.iter().map(|one| (one.address.to_string(), one.name.as_str())).collect();
    assert_eq!(
        listeners,
        [
            ("127.0.0.1:31400".to_owned(), "default/gate:tcp"),
            ("127.0.0.2:31400".to_owned(), "default/gate:tcp"),
            ("127.0.0.9:31400".to_owned(), "default/bound:tcp"),
        ]
    );
    assert!(plan.notes.iter().any(|note| note.contains("younger") && note.contains("older")), "{:?}", plan.notes);
}
