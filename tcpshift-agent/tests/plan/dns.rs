//! Endpoints that are host names.

use tcpshift_agent::plan::Unusable;

use super::world::{GATEWAY, World, addresses, route};

/// Addresses of the only destination of a route to a host of a ServiceEntry, or why there are none.
fn dns(world: &mut World, host: &str, entry: &str) -> Result<Vec<String>, Unusable> {
    // Istio takes DYNAMIC_DNS for protocols alone that name the host.
    let protocol = if entry.contains("DYNAMIC_DNS") { "TLS" } else { "TCP" };
    let entry = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e}}\n\
         spec: {{ports: [{{number: 9000, name: tcp, protocol: {protocol}, targetPort: 9900}}], {entry}}}"
    );
    let workload = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: w}\n\
                    spec: {address: b.example.com, labels: {app: named}}";
    let rule = format!("[{{route: [{{destination: {{host: {host}, port: {{number: 9000}}}}}}]}}]");
    world.compile(&[GATEWAY, &entry, workload, &route("r", &rule)]);
    let set = world.set(0);
    match &set.unusable {
        Some(unusable) => Err(unusable.clone()),
        None => Ok(addresses(set).iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn host_names_become_endpoints_by_what_dns_answered() {
    let mut world = World::new();
    let (own, two) = (
        "hosts: [A.example.com], resolution: DNS",
        "endpoints: [{address: A.example.com, ports: {tcp: 7000}, weight: 3}",
    );
    assert_eq!(dns(&mut world, "a.example.com", own), Err(Unusable::Unresolved));
    assert_eq!(world.plan.names.iter().collect::<Vec<_>>(), ["a.example.com"]);
    world.answer("a.example.com", &["10.0.0.2", "10.0.0.1", "fd00::1"]);
    let all = ["10.0.0.1:9900", "10.0.0.2:9900", "[fd00::1]:9900"];
    assert_eq!(dns(&mut world, "a.example.com", own).unwrap(), all);
    let first = own.replace("DNS", "DNS_ROUND_ROBIN");
    assert_eq!(dns(&mut world, "a.example.com", &first).unwrap(), ["10.0.0.2:9900"], "only the first of the answer");
    let mixed =
        format!("hosts: [x.example.com], resolution: DNS, {two}, {{address: 10.0.0.9}}, {{address: b.example.com}}]");
    let expected = ["10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.9:9900", "[fd00::1]:7000"];
    assert_eq!(dns(&mut world, "x.example.com", &mixed).unwrap(), expected, "what is not resolved is left out");
    assert_eq!(world.plan.names.iter().collect::<Vec<_>>(), ["a.example.com", "b.example.com"]);
    assert!(!world.plan.names.contains("x.example.com"));
    let dynamic = "hosts: ['*.example.com'], resolution: DYNAMIC_DNS";
    assert_eq!(dns(&mut world, "a.example.com", dynamic).unwrap(), ["10.0.0.2:9900"]);
    assert_eq!(dns(&mut world, "c.example.com", dynamic), Err(Unusable::Unresolved));
    assert_eq!(dns(&mut world, "a.example.org", dynamic), Err(Unusable::UnknownHost));
}

#[test]
fn workload_entries_with_a_host_name_are_for_services_of_dns() {
    let mut world = World::new();
    world.answer("b.example.com", &["10.0.0.3"]);
    let selecting = "hosts: [x.example.com], workloadSelector: {labels: {app: named}}, resolution: ";
    assert_eq!(dns(&mut world, "x.example.com", &format!("{selecting}DNS")).unwrap(), ["10.0.0.3:9900"]);
    assert_eq!(dns(&mut world, "x.example.com", &format!("{selecting}STATIC")), Err(Unusable::NoEndpoint));
    assert!(world.plan.names.is_empty(), "nobody is asked for nothing");
}
