//! The kernel room by itself, without an agent: programs decide as the agent does, for any flow; every program loads and
//! stays within its budget. Needs root, as all tests of the kernel do, and touches nothing outside its own maps.
#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::print_stdout, reason = "counts of instructions are printed")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tcpshift_agent::connections::Connections;
use tcpshift_agent::kernel::{Kernel, KernelOptions, OnLoss, SteeringOptions};
use tcpshift_agent::plan::{Host, Listener, Plan, Planner, Scope, Sets};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::store::Store;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::{self, Decision, Inputs, outcome};
use tcpshift_common::hash;
use tcpshift_common::layout::Assignment;

/// Instructions that the verifier may follow in each program. A change that needs more has to say so here.
const BUDGET: &str = include_str!("../../tcpshift-ebpf/budget.txt");

/// Flows that both decide for.
const FLOWS: u64 = 1_000_000;

fn load(max_routes: u32, steering: Result<SteeringOptions, String>) -> Kernel {
    Kernel::load(&KernelOptions { max_routes, steering }).unwrap()
}

/// A service of two versions and one that has no endpoint, chosen from by one policy.
fn service(name: &str, load_balancer: &str) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{{name: tcp, port: 9000}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}}}\nspec:\n  host: {name}\n  \
         trafficPolicy: {{loadBalancer: {load_balancer}}}\n  subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  \
         - {{name: v2, labels: {{version: v2}}}}\n  - {{name: none, labels: {{version: none}}}}\n---\n"
    );
    let endpoints = (1..=9).map(|n| format!("10.0.0.{n}")).chain((1..=4).map(|n| format!("2001:db8::{n}")));
    for (number, address) in endpoints.enumerate() {
        let version = if number == 0 { "v1" } else { "v2" };
        writeln!(
            text,
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}-{number}}}\n\
             spec: {{address: \"{address}\", weight: {}, labels: {{app: {name}, version: {version}}}, ports: {{tcp: 9000}}}}\n---",
            number % 4 + 1
        )
        .unwrap();
    }
    text
}

/// A route at a port. `rules` is what stands under `tcp:`.
fn route(name: &str, annotations: &str, rules: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec:\n  hosts: [\"*\"]\n  gateways: [all]\n  tcp:\n{rules}---\n"
    )
}

fn split(port: u16, source: &str, service: &str, weights: [u32; 3]) -> String {
    let [v1, v2, none] = weights;
    format!(
        "  - match: [{{port: {port}{source}}}]\n    route:\n    \
         - {{destination: {{host: {service}, subset: v1}}, weight: {v1}}}\n    \
         - {{destination: {{host: {service}, subset: v2}}, weight: {v2}}}\n    \
         - {{destination: {{host: {service}, subset: none}}, weight: {none}}}\n"
    )
}

fn compiled() -> (Plan, Sets) {
    let mut text = String::from(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: all}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n",
    );
    for port in 31_400..31_405 {
        writeln!(text, "  - {{port: {{number: {port}, name: tcp-{port}, protocol: TCP}}, hosts: [\"*\"]}}").unwrap();
    }
    text.push_str("---\n");
    for (name, policy) in [
        ("least", "{simple: LEAST_REQUEST}"),
        ("turns", "{simple: ROUND_ROBIN}"),
        ("random", "{simple: RANDOM}"),
        ("ring", "{consistentHash: {useSourceIp: true}}"),
        ("maglev", "{consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}"),
    ] {
        text.push_str(&service(name, policy));
    }
    let steer = |by: &str| format!("tcpshift.io/steer-by: \"{by}\"");
    text.push_str(&route("a", "", &split(31_400, "", "least", [7_001, 2_499, 500])));
    text.push_str(&route("b", &steer("sequence"), &split(31_401, "", "turns", [33, 65, 2])));
    text.push_str(&route("c", &steer("source"), &split(31_402, "", "ring", [1, 1, 0])));
    text.push_str(&route("d", &steer("source/24,48"), &split(31_403, "", "maglev", [20, 80, 0])));
    // By subnets, one inside the other, of both families; the rest falls to no route.
    let rules = [
        (", sourceSubnet: 10.1.0.0/16", "random", [0, 1, 0]),
        (", sourceSubnet: 10.0.0.0/8", "turns", [1, 0, 0]),
        (", sourceSubnet: \"2001:db8::/32\"", "least", [1, 2, 1]),
        (", sourceSubnet: \"::/0\"", "random", [5, 4, 1]),
    ];
    let rules: String =
        rules.into_iter().map(|(source, service, weights)| split(31_404, source, service, weights)).collect();
    text.push_str(&route("e", "", &rules));

    let (entries, problems) = read_all(&[Document { name: "test".to_owned(), text }], None);
    let objects: Vec<_> = entries
        .into_iter()
        .map(|entry| match entry {
            ReadDocument::Valid(object) => *object,
            _ => panic!("{problems:#?}"),
        })
        .collect();
    let mut store = Store::default();
    store.apply(objects, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let labels = BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
    let mut planner = Planner::new(Scope { namespace: "default".to_owned(), labels }, Host::new(0x5eed));
    let plan = planner.plan(store.iter(), &Plan::empty(1));
    assert_eq!(plan.listeners.len(), 5, "{:?}", plan.notes);
    (plan, planner.sets().clone())
}

/// Numbers without end, always the same ones.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash::mix(self.0)
    }

    /// A client near those that the rules are for, or anybody.
    fn client(&mut self) -> Address {
        let word = self.next();
        let [a, b, c, d, ..] = word.to_le_bytes();
        match self.next() % 5 {
            0 => Address::v4([10, a % 3, c, d]),
            1 => Address::v4([a, b, c, d]),
            2 => Address { high: 0x2001_0db8 << 32 | u64::from(a), low: word },
            3 => Address { high: word, low: self.next() },
            _ => Address::v4([127, 0, 0, a]),
        }
    }
}

/// The agent's inputs, from counters of the test's own and words that are told.
struct Mirror<'a> {
    sequences: &'a mut HashMap<u32, u64>,
    turns: &'a mut HashMap<u32, u64>,
    loads: &'a Connections,
    route: u32,
    random: [u32; 2],
}

fn next(counters: &mut HashMap<u32, u64>, number: u32) -> u64 {
    let counter = counters.entry(number).or_default();
    *counter += 1;
    *counter - 1
}

impl Inputs for Mirror<'_> {
    fn sequence(&mut self) -> u64 {
        next(self.sequences, self.route)
    }

    fn turn(&mut self, destination: u32) -> u64 {
        next(self.turns, destination)
    }

    fn random(&mut self) -> u32 {
        let [next, after] = self.random;
        self.random = [after, 0];
        next
    }

    fn load(&self, endpoint: u32) -> u32 {
        self.loads.endpoints.load(endpoint) as u32
    }
}

/// What a program has to answer where the agent would decide so.
fn expected(
    (plan, sets): (&Plan, &Sets),
    listener: &Listener,
    flow: &Flow,
    inputs: impl FnOnce(u32) -> Decision,
) -> Assignment {
    let mut assignment = Assignment { generation: plan.generation, ..Assignment::default() };
    let Some(place) = tcpshift_common::listener::route(&listener.rules, flow) else {
        assignment.decision.outcome = outcome::NO_ROUTE;
        return assignment;
    };
    let route = &listener.routes[place as usize];
    let decision = inputs(place);
    (assignment.route, assignment.route_place, assignment.decision) = (route.number, place, decision);
    if decision.outcome != outcome::NO_DESTINATION {
        let destination = &route.destinations[decision.place as usize];
        assignment.destination = destination.number;
        if decision.outcome == outcome::CHOSEN {
            assignment.endpoint = sets.of(destination).endpoints[decision.endpoint as usize].decides.number;
        }
    }
    assignment
}

#[test]
fn programs_decide_as_the_agent_does_for_a_million_flows() {
    let (plan, sets) = compiled();
    let mut kernel = load(100, Err("not asked for".to_owned()));
    let shared = Connections::sharing(kernel.words().unwrap());
    let flow = |noise: &mut Noise, port: u16| Flow {
        source: noise.client(),
        destination: Address::from(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        source_port: (noise.next() % 65_536) as u32,
        destination_port: port.into(),
    };
    let mut noise = Noise(1);
    let one = flow(&mut noise, 31_400);
    assert_eq!(kernel.explain(plan.listeners[0].number, &one, [0, 0]).unwrap(), None, "there is no plan yet");
    let prepared = kernel.prepare(&plan, &sets).unwrap();
    assert_eq!(kernel.explain(plan.listeners[0].number, &one, [0, 0]).unwrap(), None, "nothing is in force yet");
    kernel.publish(prepared).unwrap();

    let (mut sequences, mut turns) = (HashMap::new(), HashMap::new());
    let mut outcomes = [0_u64; 4];
    for number in 0..FLOWS {
        let listener = &plan.listeners[(noise.next() % 5) as usize];
        let flow = flow(&mut noise, listener.address.port());
        let word = noise.next();
        let random = [word as u32, (word >> 32) as u32];
        if number % 64 == 0 {
            let endpoint = (noise.next() % 100) as u32;
            shared.endpoints.get(endpoint).active.store(noise.next() % 10, Relaxed);
        }
        let expected = expected((&plan, &sets), listener, &flow, |place| {
            let route = &*listener.routes[place as usize];
            let mut mirror =
                Mirror { sequences: &mut sequences, turns: &mut turns, loads: &shared, route: route.number, random };
            decide::decide(plan.seed, &route.steer, &flow, &sets.table(route), &mut mirror)
        });
        let answer = kernel.explain(listener.number, &flow, random).unwrap();
        assert_eq!(answer, Some(expected), "flow {number} at {}: {flow:?}", listener.address);
        outcomes[expected.decision.outcome as usize] += 1;
    }
    println!("chosen, no destination, no endpoint, no route: {outcomes:?}");
    assert!(outcomes[outcome::CHOSEN as usize] > FLOWS / 2, "{outcomes:?}");
    assert!(outcomes[outcome::NO_ENDPOINT as usize] > 1_000, "{outcomes:?}");
    assert!(outcomes[outcome::NO_ROUTE as usize] > 1_000, "{outcomes:?}");
    for (route, given) in sequences {
        assert_eq!(shared.sequences.get(route).load(Relaxed), given, "route {route}");
    }
    assert_eq!(kernel.explain(9_999, &one, [0, 0]).unwrap(), None, "a listener that no plan has");
    kernel.stand_aside();
    assert_eq!(kernel.explain(plan.listeners[0].number, &one, [0, 0]).unwrap(), None, "the agent is to decide");
}

#[test]
fn every_program_stays_within_its_budget() {
    // Nobody is steered: no plan is in force, and the programs are gone with the test.
    let asked = SteeringOptions { cgroup: None, on_loss: OnLoss::Keep, patience: Duration::from_secs(3) };
    let verified = load(1, Ok(asked)).verified().unwrap();
    assert_eq!(verified.len(), 9, "{verified:?}");
    let budget: BTreeMap<&str, u32> = BUDGET
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, most) = line.split_once(' ').unwrap();
            (name, most.parse().unwrap())
        })
        .collect();
    for (name, count) in &verified {
        let most = budget.get(name).unwrap_or_else(|| panic!("{name} has no budget"));
        println!("{name}: {count} instructions verified, of {most}");
        assert!(
            *count > 0 && count <= most,
            "{name}: the verifier followed {count} instructions, the budget has {most}"
        );
    }
    assert_eq!(verified.len(), budget.len(), "a budget without a program, or a program without one");
}

#[test]
fn a_plan_that_is_given_up_leaves_no_trace() {
    let (plan, sets) = compiled();
    // Slot tables for two plans of five routes and one for good: what is given up has to be free again.
    let mut kernel = load(plan.routes().count() as u32, Err("not asked for".to_owned()));
    let prepared = kernel.prepare(&plan, &sets).unwrap();
    kernel.publish(prepared).unwrap();
    let mut other = plan.clone();
    other.generation += 1;
    other.seed += 1;
    let flow =
        Flow { source: Address::v4([10, 1, 2, 3]), source_port: 1_234, destination_port: 31_402, ..Flow::default() };
    let listener = plan.listeners[2].number;
    let before = kernel.explain(listener, &flow, [0, 0]).unwrap();
    for _ in 0..50 {
        let prepared = kernel.prepare(&other, &sets).unwrap();
        drop(prepared);
        assert_eq!(kernel.explain(listener, &flow, [0, 0]).unwrap(), before);
    }
    for _ in 0..50 {
        other.generation += 1;
        let prepared = kernel.prepare(&other, &sets).unwrap();
        kernel.publish(prepared).unwrap();
        let answer = kernel.explain(listener, &flow, [0, 0]).unwrap().unwrap();
        assert_eq!(answer.generation, other.generation);
    }
}

#[test]
fn too_many_routes_are_refused_with_the_cure() {
    let (plan, sets) = compiled();
    let mut kernel = load(1, Err("not asked for".to_owned()));
    let error = format!("{:#}", kernel.prepare(&plan, &sets).unwrap_err());
    assert!(error.contains("--max-routes"), "{error}");
    // What it could not take did it no harm.
    let mut small = plan.clone();
    small.listeners.truncate(1);
    let prepared = kernel.prepare(&small, &sets).unwrap();
    kernel.publish(prepared).unwrap();
}
