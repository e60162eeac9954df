//! From weights, subsets and services to slots and endpoints.

use tcpshift_agent::plan::Unusable;

use super::world::{GATEWAY, SERVICE, World, addresses, only, route, to};

#[test]
fn weights_subsets_and_ports_become_slots_and_endpoints() {
    let mut world = World::new();
    let plan =
        world.compile(&[SERVICE, GATEWAY, &route("r", &format!("[{{route: [{}, {}]}}]", to("v1", 80), to("v2", 20)))]);
    let route = only(plan);
    let [one, two] = route.destinations.as_slice() else { panic!("{route:#?}") };
    assert_eq!((one.name.as_str(), one.slots, two.slots), ("echo.default.svc.cluster.local:9000/v1", 8_000, 2_000));
    assert_eq!(addresses(world.set(0)), ["10.0.0.1:7000".parse().unwrap()], "the entry's own port comes first");
    assert_eq!(addresses(world.set(1)), ["10.0.0.2:9000".parse().unwrap()], "then the service's port");
    let by_target = to("v2", 1).replace("9000", "9001");
    world.compile(&[SERVICE, GATEWAY, &self::route("r", &format!("[{{route: [{by_target}]}}]"))]);
    assert_eq!(addresses(world.set(0)), ["10.0.0.2:9901".parse().unwrap()], "before it the target port");
}

#[test]
fn a_single_destination_gets_everything_whatever_its_weight() {
    let mut world = World::new();
    for weight in [0, 1, 100] {
        let plan = world.compile(&[SERVICE, GATEWAY, &route("r", &format!("[{{route: [{}]}}]", to("v1", weight)))]);
        assert_eq!(only(plan).destinations[0].slots, 10_000);
    }
}

#[test]
fn the_same_destination_twice_adds_up() {
    let mut world = World::new();
    let tcp = format!("[{{route: [{}, {}, {}]}}]", to("v1", 30), to("v2", 40), to("v1", 30));
    let plan = world.compile(&[SERVICE, GATEWAY, &route("r", &tcp)]);
    let slots: Vec<_> = only(plan).destinations.iter().map(|one| (one.weight, one.slots)).collect();
    assert_eq!(slots, [(60, 6_000), (40, 4_000)]);
}

#[test]
fn what_does_not_exist_is_unusable_with_its_reason() {
    let mut world = World::new();
    let other = |what: &str, with: &str| to("v1", 1).replace(what, with);
    let tcp = [other("host: echo", "host: nobody"), other("v1", "v9"), other("9000", "9999"), to("v3", 1), to("v1", 1)];
    world.compile(&[SERVICE, GATEWAY, &route("r", &format!("[{{route: [{}]}}]", tcp.join(", ")))]);
    let destinations = only(&world.plan).destinations.iter();
    let reasons: Vec<_> = destinations.map(|one| (world.sets().of(one).unusable.clone(), one.slots)).collect();
    let expected = [Unusable::UnknownHost, Unusable::UnknownSubset, Unusable::UnknownPort, Unusable::NoEndpoint];
    let mut expected: Vec<_> = expected.into_iter().map(|reason| (Some(reason), 2_000)).collect();
    expected.push((None, 2_000));
    assert_eq!(reasons, expected);
}

#[test]
fn on_empty_redistribute_gives_the_share_to_the_others() {
    let mut world = World::new();
    let text = route("r", &format!("[{{route: [{}, {}, {}]}}]", to("v1", 60), to("v2", 20), to("v3", 20)))
        .replace("{name: r}", "{name: r, annotations: {tcpshift.io/on-empty: redistribute}}");
    let slots: Vec<_> =
        only(world.compile(&[SERVICE, GATEWAY, &text])).destinations.iter().map(|one| one.slots).collect();
    assert_eq!(slots, [7_500, 2_500, 0]);
}

#[test]
fn a_service_entry_provides_endpoints_in_place_or_by_label() {
    let mut world = World::new();
    let entry = |endpoints: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: echo}}\nspec: {{hosts: [echo.example.com], \
             ports: [{{number: 9000, name: tcp, protocol: TCP, targetPort: 9500}}], resolution: STATIC, {endpoints}}}"
        )
    };
    let tcp = "[{route: [{destination: {host: echo.example.com}}]}]";
    let in_place = entry("endpoints: [{address: '2001:db8::1'}, {address: 10.0.0.9, ports: {tcp: 1}, weight: 3}]");
    world.compile(&[GATEWAY, &in_place, &route("r", tcp)]);
    let (destination, set) = (&only(&world.plan).destinations[0], world.set(0));
    assert_eq!(addresses(set), ["10.0.0.9:1".parse().unwrap(), "[2001:db8::1]:9500".parse().unwrap()]);
    assert_eq!((destination.port, set.decides.weight), (9_000, 4), "its only port is meant");
    let by_label = entry("workloadSelector: {labels: {version: v2}}");
    world.compile(&[SERVICE, GATEWAY, &by_label, &route("r", tcp)]);
    assert_eq!(addresses(world.set(0)), ["10.0.0.2:9500".parse().unwrap()]);
}

#[test]
fn an_endpoint_that_is_a_listener_of_the_agent_is_none() {
    let mut world = World::new();
    let entry = |address: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: echo}}\nspec: {{hosts: [echo.example.com], \
             ports: [{{number: 31400, name: tcp, protocol: TCP}}], resolution: STATIC, endpoints: [{{address: {address}}}]}}"
        )
    };
    let route = route("r", "[{route: [{destination: {host: echo.example.com}}]}]");
    for (address, unusable) in
        [("127.0.0.1", Some(Unusable::OwnListener)), ("'::1'", Some(Unusable::OwnListener)), ("10.0.0.9", None)]
    {
        world.compile(&[GATEWAY, &entry(address), &route]);
        assert_eq!(world.set(0).unusable, unusable, "{address}");
    }
    let bound = GATEWAY.replace("hosts:", "bind: 127.0.0.9, hosts:");
    for (address, unusable) in [("127.0.0.1", None), ("127.0.0.9", Some(Unusable::OwnListener))] {
        world.compile(&[&bound, &entry(address), &route]);
        assert_eq!(world.set(0).unusable, unusable, "{address}");
    }
}
