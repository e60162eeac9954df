//! From route files to plans: what is listened on, which rule leads where, and what destinations are.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tcpshift_agent::plan::{EndpointAddress, EndpointSet, Host, Plan, Planner, Route, Scope, Sets, Unusable};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::store::Store;
use tcpshift_common::DEFAULT_SEED;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::destination::policy;

struct World {
    planner: Planner,
    plan: Plan,
}

impl World {
    fn new() -> Self {
        let labels = BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
        let scope = Scope { namespace: "default".to_owned(), labels };
        let planner = Planner::new(scope, Host::new(DEFAULT_SEED));
        Self { planner, plan: Plan::empty(DEFAULT_SEED) }
    }

    fn sets(&self) -> &Sets {
        self.planner.sets()
    }

    /// The endpoints of a destination of the only route.
    fn set(&self, destination: usize) -> &EndpointSet {
        self.sets().of(&only(&self.plan).destinations[destination])
    }

    /// What DNS answers is this and nothing else.
    fn answer(&mut self, name: &str, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.planner.memory.states.answered(Arc::new(HashMap::from([(name.to_owned(), addresses)])));
    }

    fn compile(&mut self, texts: &[&str]) -> &Plan {
        let text = texts.join("\n---\n");
        let (entries, problems) = read_all(&[Document { name: "test.yaml".to_owned(), text }], None);
        let errors: Vec<_> = problems.iter().filter(|problem| !problem.to_string().contains(": warning: ")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let objects = entries.into_iter().filter_map(|entry| match entry {
            ReadDocument::Valid(object) => Some(*object),
            _ => None,
        });
        let mut store = Store::default();
        store.replace_files(objects.collect());
        self.plan = self.planner.plan(store.iter(), &self.plan);
        &self.plan
    }
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{name: tcp, port: 9000}, {name: other, port: 9001, targetPort: 9901}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: one}
spec: {address: 10.0.0.1, labels: {app: echo, version: v1}, ports: {tcp: 7000}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: two}
spec: {address: 10.0.0.2, labels: {app: echo, version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}";

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gate}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ['*']}]";

fn route(name: &str, tcp: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\n\
         spec: {{hosts: ['*'], gateways: [gate], tcp: {tcp}}}"
    )
}

fn to(subset: &str, weight: u32) -> String {
    format!("{{destination: {{host: echo, port: {{number: 9000}}, subset: {subset}}}, weight: {weight}}}")
}

fn only(plan: &Plan) -> &Route {
    assert_eq!((plan.listeners.len(), plan.listeners[0].routes.len()), (1, 1), "{plan:#?}");
    &plan.listeners[0].routes[0]
}

fn addresses(set: &EndpointSet) -> Vec<SocketAddr> {
    set.endpoints
        .iter()
        .filter_map(|endpoint| match endpoint.address {
            EndpointAddress::Tcp(address) => Some(address),
            EndpointAddress::Unix(_) | EndpointAddress::Original(_) => None,
        })
        .collect()
}

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
fn numbers_and_unchanged_parts_survive_edits() {
    let mut world = World::new();
    let edit = |a, b| route("r", &format!("[{{route: [{}, {}]}}]", to("v1", a), to("v2", b)));
    let first = only(world.compile(&[SERVICE, GATEWAY, &edit(80, 20)])).clone();
    let endpoints = Arc::clone(&world.set(1).endpoints);
    let second = only(world.compile(&[SERVICE, GATEWAY, &edit(50, 50)])).clone();
    assert_eq!(first.number, second.number);
    assert_eq!(first.destinations[1].number, second.destinations[1].number);
    assert_eq!(endpoints, world.set(1).endpoints);
    let before = world.plan.listeners.clone();
    world.compile(&[SERVICE, GATEWAY, &edit(50, 50)]);
    assert!(Arc::ptr_eq(&before[0], &world.plan.listeners[0]), "an equal listener is the same one");
}

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

#[test]
fn a_listener_that_another_gateway_had_meanwhile_is_compiled_anew() {
    let mut world = World::new();
    let tcp = format!("[{{route: [{}]}}]", to("v1", 1));
    let route = route("r", &tcp);
    let entry = |address: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: one}}\n\
             spec: {{address: {address}, labels: {{app: echo, version: v1}}, ports: {{tcp: 7000}}}}"
        )
    };
    let service = SERVICE.split("---").next().unwrap();
    let rule = SERVICE.split("---").find(|text| text.contains("DestinationRule")).unwrap();
    let port = GATEWAY.split("number: ").nth(1).unwrap().split([',', '}']).next().unwrap();
    // Older, since its name is smaller.
    let other = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: a}}\n\
         spec: {{gatewayClassName: x, listeners: [{{name: tcp, port: {port}, protocol: TCP}}]}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {{name: t}}\n\
         spec: {{parentRefs: [{{name: a}}], rules: [{{backendRefs: [{{name: echo, port: 9001}}]}}]}}"
    );
    let mut store = Store::default();
    let mut compile = |texts: &[&str]| {
        let text = texts.join("\n---\n");
        let (entries, problems) = read_all(&[Document { name: "test.yaml".to_owned(), text }], None);
        assert!(problems.iter().all(|problem| problem.to_string().contains(": warning: ")), "{problems:#?}");
        // Objects that stay the same stay the same ones.
        let objects = entries.into_iter().filter_map(|entry| match entry {
            ReadDocument::Valid(mut object) => {
                object.origin = tcpshift_agent::route::object::Origin::Applied;
                Some(*object)
            }
            _ => None,
        });
        store.replace_files(objects.collect());
        world.plan = world.planner.plan(store.iter(), &world.plan);
        let destination = &world.plan.routes().next().unwrap().destinations[0];
        world.sets().of(destination).endpoints[0].address.to_string()
    };
    assert_eq!(compile(&[service, rule, GATEWAY, &route, &entry("10.0.0.1")]), "10.0.0.1:7000");
    assert_eq!(compile(&[service, rule, GATEWAY, &route, &entry("10.0.0.1"), &other]), "10.0.0.1:9901");
    assert_eq!(compile(&[service, rule, GATEWAY, &route, &entry("10.0.0.8"), &other]), "10.0.0.8:9901");
    assert_eq!(compile(&[service, rule, GATEWAY, &route, &entry("10.0.0.8")]), "10.0.0.8:7000");
}
