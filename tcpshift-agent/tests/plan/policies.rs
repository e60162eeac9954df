//! Policies of services and DestinationRules.

use tcpshift_common::destination::policy;

use super::world::{GATEWAY, SERVICE, World, route, to};

#[test]
fn policies_are_found_on_their_level() {
    let mut world = World::new();
    let rule = |policy: &str, subset: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: echo}}\n\
             spec: {{host: echo, trafficPolicy: {policy}, subsets: [{{name: v1, labels: {{version: v1}}{subset}}}]}}"
        )
    };
    let service = SERVICE.rsplit_once("---").unwrap().0;
    let route = route("r", &format!("[{{route: [{}]}}]", to("v1", 1)));
    let (robin, random) =
        ("{loadBalancer: {simple: ROUND_ROBIN}}", ", trafficPolicy: {loadBalancer: {simple: RANDOM}}");
    let at = |number: u32, more: &str| format!("portLevelSettings: [{{port: {{number: {number}}}{more}}}]");
    let ports = |number| {
        format!(
            "{{loadBalancer: {{simple: ROUND_ROBIN}}, {}}}",
            at(number, ", connectionPool: {tcp: {maxConnections: 1}}")
        )
    };
    for (policy, subset, expected) in [
        ("{connectionPool: {tcp: {maxConnections: 1}}}", "", policy::LEAST_REQUEST),
        (robin, "", policy::ROUND_ROBIN),
        (robin, random, policy::RANDOM),
        (robin, ", trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}", policy::ROUND_ROBIN),
        (&ports(9000), "", policy::LEAST_REQUEST),
        (&ports(9001), "", policy::ROUND_ROBIN),
    ] {
        world.compile(&[service, GATEWAY, &rule(policy, subset), &route]);
        assert_eq!(world.set(0).decides.policy, expected, "{policy} {subset}");
    }
}

#[test]
fn a_hash_chooses_where_the_service_or_its_destination_rule_says_so() {
    let service = |affinity: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: e}}\n\
             spec: {{selector: {{app: e}}, {affinity}ports: [{{name: tcp, port: 9000}}]}}"
        )
    };
    let rule = |balancer: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: e}}\n\
             spec: {{host: e, trafficPolicy: {{loadBalancer: {{{balancer}}}}}}}"
        )
    };
    let entry = |name: &str, address: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}}}\n\
             spec: {{address: \"{address}\", labels: {{app: e}}}}"
        )
    };
    let to = "[{route: [{destination: {host: e, port: {number: 9000}}}]}]";
    let sticky = "sessionAffinity: ClientIP, ";
    let maglev = "consistentHash: {useSourceIp: true, maglev: {tableSize: 101}}";
    for (affinity, balancer, policy, places) in [
        ("", None, policy::LEAST_REQUEST, 0),
        (sticky, None, policy::SOURCE_HASH, 4_096),
        (sticky, Some("simple: RANDOM"), policy::RANDOM, 0),
        (sticky, Some(maglev), policy::SOURCE_HASH, 101),
        ("", Some("consistentHash: {useSourceIp: true, minimumRingSize: 5000}"), policy::SOURCE_HASH, 5_000),
    ] {
        let mut world = World::new();
        let mut texts =
            vec![service(affinity), entry("a", "10.0.0.1"), entry("b", "unix:///run/e.sock"), route("r", to)];
        texts.extend(balancer.map(rule));
        let texts: Vec<&str> = texts.iter().map(String::as_str).chain([GATEWAY]).collect();
        world.compile(&texts);
        let set = world.set(0);
        assert_eq!((set.decides.policy, set.decides.places), (policy, places), "{affinity}{balancer:?}");
        let names: Vec<String> = set.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
        assert_eq!(names, ["10.0.0.1:9000", "unix:///run/e.sock"]);
        assert_eq!(set.hashing.is_some(), places > 0);
    }
}
