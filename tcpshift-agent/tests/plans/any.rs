//! What holds for the plan of every set of objects, whatever they refer to.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use tcpshift_agent::plan::register::{Register, Space};
use tcpshift_agent::plan::{EndpointAddress, EndpointSet, MeshListener, Plan, Planner, Route, RouteChanges, Sets};
use tcpshift_agent::route::kind::Kind;
use tcpshift_agent::route::store::Store;
use tcpshift_common::address::family;
use tcpshift_common::{DEFAULT_SEED, SLOTS};

/// Draws from few words, so that objects meet each other.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        // Knuth's generator, whose upper bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    /// The word, or nothing.
    fn maybe(&mut self, word: impl FnOnce(&mut Self) -> String) -> String {
        if self.below(2) == 0 { word(self) } else { String::new() }
    }

    /// One to three of them, in a list.
    fn some(&mut self, mut item: impl FnMut(&mut Self) -> String) -> String {
        let items: Vec<_> = (0..=self.below(3)).map(|_| item(self)).collect();
        format!("[{}]", items.join(", "))
    }
}

const NAMESPACES: &[&str] = &["default", "default", "default", "other", "istio-system"];
const HOSTS: &[&str] = &["a", "b", "a.default.svc.cluster.local", "b.other.svc.cluster.local", "x.example.com", "c"];
const EXPORTS: &[&str] = &["['.']", "['*']", "[default]", "[other]", "[default, other]"];
const LABELS: &[&str] = &["{v: '1'}", "{v: '2'}", "{v: '1', w: x}", "{}"];
const POOLS: &[&str] = &["{maxConnections: 3}", "{idleTimeout: 0s}", "{idleTimeout: 5s, maxConnectionDuration: 1m}"];
const PORTS: &[&str] = &["1001", "9000", "9000"];

fn policy(dice: &mut Dice) -> String {
    let pool = dice.one(POOLS);
    let simple = dice.one(&["RANDOM", "ROUND_ROBIN"]);
    let ports = dice.maybe(|dice| {
        let (port, pool) = (dice.one(PORTS), dice.one(POOLS));
        format!(", portLevelSettings: [{{port: {{number: {port}}}, connectionPool: {{tcp: {pool}}}}}]")
    });
    format!("{{loadBalancer: {{simple: {simple}}}, connectionPool: {{tcp: {pool}}}{ports}}}")
}

fn virtual_service(dice: &mut Dice) -> String {
    let export = dice.maybe(|dice| format!(", exportTo: {}", dice.one(EXPORTS)));
    let gateways =
        dice.some(|dice| dice.one(&["a", "default/a", "default/a", "other/a", "default/b", "mesh"]).to_owned());
    let rules = dice.some(|dice| {
        let matches = dice.maybe(|dice| {
            let blocks = dice.some(|dice| {
                let port = dice.maybe(|dice| format!("port: {}", dice.one(PORTS)));
                let source = dice.one(&["10.0.0.0/8", "10.1.0.0/16", "'2001:db8::/32'"]);
                let source = if port.is_empty() { format!("sourceSubnet: {source}") } else { String::new() };
                format!("{{{port}{source}}}")
            });
            format!("match: {blocks}, ")
        });
        let route = dice.some(|dice| {
            let host = dice.one(HOSTS);
            let subset = dice.maybe(|dice| format!(", subset: {}", dice.one(&["s", "t"])));
            let port = dice.maybe(|dice| format!(", port: {{number: {}}}", dice.one(PORTS)));
            format!("{{destination: {{host: {host}{subset}{port}}}, weight: {}}}", dice.below(5))
        });
        format!("{{{matches}route: {route}}}")
    });
    let hosts = dice.one(&["a.example.com", "'*.example.com'", "a", "b", "x.example.com", "'*.svc.cluster.local'"]);
    format!("spec: {{hosts: [{hosts}], gateways: {gateways}, tcp: {rules}{export}}}")
}

fn tcp_route(dice: &mut Dice) -> String {
    let parents = format!("[{{name: {}, namespace: {}}}]", dice.one(&["a", "a", "b"]), dice.one(NAMESPACES));
    let backends = dice.some(|dice| {
        let (name, port) = (dice.one(&["a", "b", "c"]), dice.one(PORTS));
        let weight = dice.maybe(|dice| format!(", weight: {}", dice.below(3)));
        let namespace = dice.maybe(|dice| format!(", namespace: {}", dice.one(NAMESPACES)));
        format!("{{name: {name}, port: {port}{weight}{namespace}}}")
    });
    format!("spec: {{parentRefs: {parents}, rules: [{{backendRefs: {backends}}}]}}")
}

/// What identifies a document, and the document.
fn document(seed: u64) -> (String, String) {
    let dice = &mut Dice(seed);
    dice.below(1);
    let (name, namespace) = (dice.one(&["a", "a", "b"]), dice.one(NAMESPACES));
    let labels = dice.one(LABELS);
    let export = dice.maybe(|dice| format!(", exportTo: {}", dice.one(EXPORTS)));
    let ports = "[{name: x, port: 1001}, {name: y, port: 9000, targetPort: 7}]";
    let mut metadata = String::new();
    let (version, kind, body) = match dice.below(10) {
        0 => ("networking.istio.io/v1", "VirtualService", virtual_service(dice)),
        1 => {
            let host = dice.one(&["a", "a.default.svc.cluster.local", "'*.local'", "x.example.com"]);
            let subsets = dice.one(&["s", "t"]);
            let own = dice.maybe(|dice| format!(", trafficPolicy: {}", policy(dice)));
            let policy = dice.maybe(|dice| format!(", trafficPolicy: {}", policy(dice)));
            let subsets = format!("[{{name: {subsets}, labels: {labels}{own}}}]");
            (
                "networking.istio.io/v1",
                "DestinationRule",
                format!("spec: {{host: {host}, subsets: {subsets}{policy}{export}}}"),
            )
        }
        2 => {
            let servers: Vec<_> = ["1001", "9000"]
                .iter()
                .filter(|port| **port == "9000" || dice.below(2) == 0)
                .map(|port| format!("{{port: {{number: {port}, name: p{port}, protocol: TCP}}, hosts: ['*']}}"))
                .collect();
            ("networking.istio.io/v1", "Gateway", format!("spec: {{servers: [{}]}}", servers.join(", ")))
        }
        3 => {
            let hosts = "[x.example.com]";
            let ports = "[{name: x, number: 9000, protocol: TCP}]";
            let from = dice.one(&[
                "endpoints: [{address: 127.0.0.1, labels: {v: '1'}}]",
                "endpoints: [{address: '2001:db8::1', labels: {v: '1'}}, {address: 'unix:///run/x', labels: {v: '2'}}]",
                "workloadSelector: {labels: {v: '2'}}",
            ]);
            let addresses = dice.one(&["[240.0.0.1]", "[240.0.0.1, 'fd00::1']", "[240.0.0.0/8, 240.0.0.2]", "[]"]);
            (
                "networking.istio.io/v1",
                "ServiceEntry",
                format!(
                    "spec: {{hosts: {hosts}, ports: {ports}, addresses: {addresses}, resolution: STATIC, {from}{export}}}"
                ),
            )
        }
        4 => {
            let (last, weight) = (dice.below(4), dice.below(3));
            ("networking.istio.io/v1", "WorkloadEntry", {
                let address = dice.one(&["10.0.0.", "'2001:db8::", "10.0.0."]);
                let end = if address.starts_with('\'') { "'" } else { "" };
                format!("spec: {{address: {address}{last}{end}, labels: {labels}, weight: {weight}}}")
            })
        }
        5 => {
            let own = dice.one(&[
                "",
                ", clusterIP: 240.0.0.1",
                ", clusterIP: 'fd00::2', clusterIPs: ['fd00::2', 240.0.0.3], ipFamilyPolicy: PreferDualStack",
            ]);
            ("v1", "Service", format!("spec: {{selector: {labels}, ports: {ports}{own}}}"))
        }
        6 => {
            metadata = format!(", labels: {{kubernetes.io/service-name: {}, v: '1'}}", dice.one(&["a", "b"]));
            let ready = dice.one(&["true", "false"]);
            let endpoints = format!("[{{addresses: [10.3.0.{}], conditions: {{ready: {ready}}}}}]", dice.below(4));
            (
                "discovery.k8s.io/v1",
                "EndpointSlice",
                format!("addressType: IPv4\nports: [{{name: x, port: 5}}]\nendpoints: {endpoints}"),
            )
        }
        7 => {
            let from = dice.one(&["All", "Same"]);
            let allowed = format!("allowedRoutes: {{namespaces: {{from: {from}}}}}");
            let port = dice.one(PORTS);
            (
                "gateway.networking.k8s.io/v1",
                "Gateway",
                format!(
                    "spec: {{gatewayClassName: x, listeners: [{{name: x, protocol: TCP, port: {port}, {allowed}}}]}}"
                ),
            )
        }
        8 => ("gateway.networking.k8s.io/v1", "TCPRoute", tcp_route(dice)),
        _ => {
            let from =
                format!("[{{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: {}}}]", dice.one(NAMESPACES));
            (
                "gateway.networking.k8s.io/v1beta1",
                "ReferenceGrant",
                format!("spec: {{from: {from}, to: [{{group: '', kind: Service}}]}}"),
            )
        }
    };
    let age = dice.maybe(|dice| format!(", creationTimestamp: '2026-01-0{}T00:00:00Z'", dice.below(4) + 1));
    let text = format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}{age}{metadata}}}\n{body}\n"
    );
    (format!("{version} {kind} {namespace}/{name}"), text)
}

/// Documents of different objects.
pub(crate) fn documents(seeds: &[u64]) -> Vec<String> {
    let mut known = HashSet::new();
    let documents = seeds.iter().map(|seed| document(*seed)).filter(|(key, _)| known.insert(key.clone()));
    documents.map(|(_, text)| text).collect()
}

fn plan(documents: &[String]) -> (Plan, Sets) {
    let (store, _) = crate::store(documents);
    let mut planner = crate::planner();
    let plan = planner.plan(store.iter(), &Plan::empty(DEFAULT_SEED));
    (plan, planner.sets().clone())
}

/// The set of every destination.
pub(crate) fn each_set<'a>(plan: &Plan, sets: &'a Sets) -> Vec<&'a EndpointSet> {
    plan.routes().flat_map(|route| &route.destinations).map(|destination| sets.of(destination)).collect()
}

fn holds((plan, sets): &(Plan, Sets)) -> Result<(), TestCaseError> {
    prop_assert!(plan.listeners.is_sorted_by(|a, b| a.address < b.address));
    for listener in &plan.listeners {
        prop_assert!(!listener.routes.is_empty());
        prop_assert!(listener.rules.iter().all(|rule| (rule.route as usize) < listener.routes.len()));
    }
    let order = |listener: &Arc<MeshListener>| (listener.host.clone(), listener.port, listener.family());
    prop_assert!(plan.mesh.is_sorted_by(|a, b| order(a) < order(b)));
    let mut taken = HashSet::new();
    for listener in &plan.mesh {
        prop_assert!(!listener.routes.is_empty() && !listener.addresses.is_empty());
        prop_assert!(listener.rules.iter().all(|rule| (rule.route as usize) < listener.routes.len()));
        for address in &listener.addresses {
            prop_assert_eq!(address.family, listener.family());
            prop_assert!(taken.insert((*address, listener.port)), "{:#?}", listener);
        }
        let destinations = listener.routes.iter().flat_map(|route| &route.destinations);
        let endpoints = destinations.flat_map(|one| &*sets.of(one).endpoints);
        for endpoint in endpoints {
            let EndpointAddress::Tcp(address) = &endpoint.address else { panic!("{listener:#?}") };
            prop_assert!(address.is_ipv4() || listener.family() == family::V6);
        }
    }
    let numbers: HashSet<u32> = plan.routes().map(|route| route.number).collect();
    prop_assert_eq!(numbers.len(), plan.routes().count(), "each route once, and numbers tell them apart");
    let mesh = plan.mesh.iter().flat_map(|listener| &listener.routes);
    prop_assert!(mesh.clone().all(|route| numbers.contains(&route.number)));
    for route in plan.routes() {
        let slots: u32 = route.destinations.iter().map(|destination| destination.slots).sum();
        let nothing = route.kind == Kind::TcpRoute && route.destinations.iter().all(|one| one.weight == 0);
        prop_assert_eq!(slots, if nothing { 0 } else { SLOTS }, "{:#?}", route);
        let names: HashSet<_> = route.destinations.iter().map(|destination| &destination.name).collect();
        prop_assert_eq!(names.len(), route.destinations.len());
        for destination in &route.destinations {
            let set = sets.of(destination);
            prop_assert_eq!(set.unusable.is_some(), set.endpoints.is_empty());
            prop_assert_eq!(set.decides.endpoints as usize, set.endpoints.len());
            let sum: u32 = set.endpoints.iter().map(|endpoint| endpoint.decides.weight).sum();
            prop_assert_eq!(set.decides.weight, sum);
            prop_assert_eq!(set.decides(destination).number, destination.number);
        }
    }
    Ok(())
}

#[test]
fn most_of_the_drawn_objects_are_valid_and_some_plans_lead_somewhere() {
    let drawn = documents(&(0..400).collect::<Vec<_>>());
    let (store, errors) = crate::store(&drawn);
    assert!(store.len() * 10 >= drawn.len() * 7, "{} of {}: {errors:#?}", store.len(), drawn.len());
    let serves = |seeds: std::ops::Range<u64>| {
        let (plan, sets) = plan(&documents(&seeds.collect::<Vec<_>>()));
        each_set(&plan, &sets).iter().any(|set| !set.endpoints.is_empty())
    };
    let serving = (0..100).filter(|at| serves(at * 90..at * 90 + 90)).count();
    assert!(serving > 30, "{serving} of 100");
}

/// Routes of a plan that another one does not have at the same place, by address of the value.
fn beside(plan: &Plan, other: &Plan) -> BTreeSet<*const Route> {
    let pointers = |routes: &[Arc<Route>]| routes.iter().map(Arc::as_ptr).collect::<BTreeSet<_>>();
    let at = |address| other.listeners.iter().filter(move |other| other.address == address);
    let listeners = plan.listeners.iter().map(|listener| {
        let there: BTreeSet<_> = at(listener.address).flat_map(|other| pointers(&other.routes)).collect();
        &pointers(&listener.routes) - &there
    });
    let name = |listener: &MeshListener| (listener.host.clone(), listener.port);
    let mesh = plan.mesh.iter().map(|listener| {
        let there = other.mesh.iter().filter(|other| name(other) == name(listener));
        let there: BTreeSet<_> = there.flat_map(|other| pointers(&other.routes)).collect();
        &pointers(&listener.routes) - &there
    });
    listeners.chain(mesh).flatten().collect()
}

fn changes_are_found(last: &Plan, next: &Plan) -> Result<(), TestCaseError> {
    let changes = RouteChanges::between(last, next);
    let pointers = |routes: &[Arc<Route>]| routes.iter().map(Arc::as_ptr).collect::<BTreeSet<_>>();
    prop_assert_eq!(pointers(&changes.gone), beside(last, next));
    prop_assert_eq!(pointers(&changes.new), beside(next, last));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_accepted_set_has_a_sound_plan(seeds in proptest::collection::vec(any::<u64>(), 0..120)) {
        holds(&plan(&documents(&seeds)))?;
    }

    #[test]
    fn only_age_orders_objects(seeds in proptest::collection::vec(any::<u64>(), 2..120), turn in any::<usize>()) {
        let mut documents = documents(&seeds);
        let expected = plan(&documents);
        let turn = turn % documents.len();
        documents.reverse();
        documents.rotate_left(turn);
        let is_expected = |found: &(Plan, Sets)| {
            prop_assert_eq!(&found.0, &expected.0);
            prop_assert_eq!(each_set(&found.0, &found.1), each_set(&expected.0, &expected.1));
            Ok(())
        };
        is_expected(&plan(&documents))?;
        // As documents of one file.
        let joined = documents.join("---\n");
        is_expected(&plan(&[joined]))?;
    }

    #[test]
    fn what_stays_as_it_is_stays_the_same(seeds in proptest::collection::vec(any::<u64>(), 0..120)) {
        let (store, _) = crate::store(&documents(&seeds));
        let mut planner = crate::planner();
        let first = planner.plan(store.iter(), &Plan::empty(DEFAULT_SEED));
        let version = planner.sets().version;
        let second = planner.plan(store.iter(), &first);
        prop_assert_eq!(&second, &first);
        prop_assert_eq!(planner.sets().version, version, "no set is replaced");
        prop_assert!(first.listeners.iter().zip(&second.listeners).all(|(a, b)| Arc::ptr_eq(a, b)));
        prop_assert_eq!(first.listeners.len(), second.listeners.len());
        prop_assert!(first.mesh.iter().zip(&second.mesh).all(|(a, b)| Arc::ptr_eq(a, b)));
        prop_assert_eq!(first.mesh.len(), second.mesh.len());
        prop_assert!(beside(&first, &second).is_empty());
        changes_are_found(&first, &second)?;
    }

    #[test]
    fn an_edit_compiles_as_if_nothing_were_remembered(
        mut seeds in proptest::collection::vec(any::<u64>(), 40..120),
        edits in proptest::collection::vec((any::<usize>(), any::<u64>()), 1..8),
    ) {
        let (mut store, mut planner, mut plan) = (Store::default(), crate::planner(), Plan::empty(DEFAULT_SEED));
        let mut last = None;
        for (at, seed) in edits {
            let at = at % seeds.len();
            seeds[at] = seed;
            store.update(crate::all_of_files(&store, crate::objects(&documents(&seeds)).0));
            let mut forgetful = planner.fork();
            let expected = forgetful.plan(store.iter(), &plan);
            let next = planner.plan(store.iter(), &plan);
            changes_are_found(&plan, &next)?;
            plan = next;
            prop_assert_eq!(&plan, &expected);
            prop_assert_eq!(each_set(&plan, planner.sets()), each_set(&expected, forgetful.sets()));
            // And the same numbers are asked for.
            for planner in [&mut planner, &mut forgetful] {
                let Register { listeners, routes, destinations, targets, .. } = &mut planner.memory.register;
                for space in [listeners, routes, destinations, targets] {
                    space.sweep(|_| true);
                }
                planner.memory.states.sweep(0, |_| false);
            }
            // Each held what the other one has replaced.
            planner.memory.states.settle(0, |_| false);
            forgetful.memory.states.settle(0, |_| false);
            prop_assert_eq!(each_set(&plan, planner.sets()), each_set(&expected, forgetful.sets()));
            let (one, other) = (&planner.memory.register, &forgetful.memory.register);
            for (one, other, what) in [
                (&one.routes, &other.routes, "routes"),
                (&one.destinations, &other.destinations, "destinations"),
                (&one.targets, &other.targets, "targets"),
                (&one.listeners, &other.listeners, "listeners"),
            ] {
                let retired = |space: &Space| space.retired().collect::<BTreeSet<_>>();
                prop_assert_eq!(retired(one), retired(other), "{}", what);
            }
            last = Some(forgetful);
        }
        // The same numbers of endpoints are free.
        let others: Vec<u64> = seeds.iter().map(|seed| !seed).collect();
        let (others, _) = crate::store(&documents(&others));
        let free = |planner: &Planner| {
            let mut planner = planner.fork();
            let plan = planner.plan(others.iter(), &Plan::empty(DEFAULT_SEED));
            let sets = each_set(&plan, planner.sets());
            sets.into_iter().cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(Some(free(&planner)), last.as_ref().map(free));
        // One that remembers nothing at all makes the same, but for the numbers.
        let mut new = crate::planner();
        let anew = new.plan(store.iter(), &Plan::empty(DEFAULT_SEED));
        prop_assert_eq!(crate::text(&plan, planner.sets()), crate::text(&anew, new.sets()));
    }
}
