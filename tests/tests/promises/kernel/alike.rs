//! The kernel decides in real handshakes as the agent's own function does for the same flows.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tcpshift_agent::plan::{Host, Plan, Planner, Scope, Sets};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::source::{Source, Update};
use tcpshift_agent::route::store::Store;
use tcpshift_common::DEFAULT_SEED;
use tcpshift_common::address::Flow;
use tcpshift_common::decide::{Inputs, decide, outcome};
use tcpshift_tests::client::{connect_from, converse};
use tcpshift_tests::example::{entry, example_objects, route_of, rule};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::objects::{Objects, destination_rule, gateway};
use tcpshift_tests::process::{command, run};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

use super::{assigned, start};

/// Clients that work at the same time.
const CLIENTS: u64 = 4;

/// The addresses of each subset's endpoints, each of which answers by its own name.
const SUBSETS: [(&str, &[&str]); 3] = [
    ("v1", &["127.0.0.1:9000"]),
    ("v2", &["127.0.0.2:9100", "127.0.0.3:9100", "[::1]:9100"]),
    ("v3", &["127.0.0.4:9200"]),
];

/// Listeners that steer by connection, by a client's address, and by its prefix; and two rules, told apart by the client.
const PORTS: [u16; 4] = [31_400, 31_401, 31_402, 31_403];

/// The objects. Endpoints are chosen by the client's hash: any other way has chance in it.
fn objects() -> Objects {
    let gateway = gateway("tcp-echo-gateway").ports(PORTS);
    let by_hash = destination_rule("tcp-echo", "tcp-echo")
        .set("spec.trafficPolicy.loadBalancer.consistentHash.useSourceIp", true);
    let subsets = SUBSETS.iter().fold(by_hash, |rule, (subset, _)| rule.subset(subset));
    let mut all = example_objects("services.yaml") + gateway + subsets;
    for (subset, addresses) in SUBSETS {
        for (number, address) in addresses.iter().enumerate() {
            let address: SocketAddr = address.parse().unwrap();
            all = all + entry(&format!("{subset}-{number}"), subset, &address.ip().to_string(), address.port());
        }
    }
    let to_all = || rule(&[("v1", 60), ("v2", 30), ("v3", 10)]);
    for (port, steer) in PORTS.iter().zip(["connection", "source", "source/20,96"]) {
        let route = route_of([to_all().when("port", port)]).annotation("tcpshift.io/steer-by", steer);
        all = all + route.named(&format!("at-{port}"));
    }
    let near = to_all().when("port", 31_403).when("sourceSubnet", "127.64.0.0/10");
    let far = rule(&[("v3", 1), ("v2", 1)]).when("port", 31_403);
    all + route_of([near, far]).named("two-rules")
}

/// The plan that an agent makes of objects, but for its numbers, and its endpoint sets.
fn plan(text: String) -> (Plan, Sets) {
    let labels = BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
    let scope = Scope { namespace: "default".to_owned(), labels };
    let mut planner = Planner::new(scope, Host::new(DEFAULT_SEED));
    let (entries, _) = read_all(&[Document { name: "test.yaml".to_owned(), text }], None);
    let objects = entries.into_iter().filter_map(|entry| match entry {
        ReadDocument::Valid(object) => Some(*object),
        _ => None,
    });
    let mut store = Store::default();
    store.update(Update::first(Source::Files, objects.collect()));
    let plan = planner.plan(store.iter(), &Plan::empty(DEFAULT_SEED));
    (plan, planner.sets().clone())
}

/// Nothing that is decided here asks for any of these.
struct Nothing;

impl Inputs for Nothing {
    fn sequence(&mut self) -> u64 {
        panic!("no route is steered by its sequence")
    }

    fn turn(&mut self, destination: u32) -> u64 {
        panic!("destination {destination} has no turns")
    }

    fn random(&mut self) -> u32 {
        panic!("no destination draws")
    }

    fn load(&self, endpoint: u32) -> u32 {
        panic!("nobody compares the load of {endpoint}")
    }
}

/// The endpoint that the agent's function chooses for a client at an address.
fn expected((plan, sets): &(Plan, Sets), client: SocketAddr, server: SocketAddr) -> String {
    let flow = Flow {
        source: client.ip().into(),
        destination: server.ip().into(),
        source_port: client.port().into(),
        destination_port: server.port().into(),
    };
    let listener = plan.listener(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), server.port())).unwrap();
    let route = listener.route(&flow).unwrap();
    let decision = decide(plan.seed, &route.steer, &flow, &sets.table(route), &mut Nothing);
    assert_eq!(decision.outcome, outcome::CHOSEN);
    sets.of(&route.destinations[decision.place as usize]).endpoints[decision.endpoint as usize].address.to_string()
}

/// So many handshakes of one client, from addresses and to addresses that it is told. Who answered how often.
fn shake_hands(
    plan: &(Plan, Sets),
    seed: u64,
    count: usize,
    address: impl Fn(&mut Noise) -> IpAddr,
) -> BTreeMap<String, usize> {
    let (mut noise, mut tally) = (Noise::new(seed), BTreeMap::new());
    for number in 0..count {
        let (source, target) = (address(&mut noise), address(&mut noise));
        let server = SocketAddr::new(target, PORTS[number % PORTS.len()]);
        let stream = connect_from(source, &server.to_string()).unwrap();
        let client = stream.local_addr().unwrap();
        let who = converse(&stream, "hello").unwrap_or_else(|error| panic!("{client} to {server}: {error}"));
        assert_eq!(who, expected(plan, client, server), "{client} to {server}");
        *tally.entry(who).or_default() += 1;
    }
    tally
}

/// Handshakes by all clients together. Every endpoint has its part.
fn assert_alike(plan: &(Plan, Sets), count: u64, address: impl Fn(&mut Noise) -> IpAddr + Sync) {
    let mut all = BTreeMap::new();
    std::thread::scope(|scope| {
        let address = &address;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || shake_hands(plan, client, (count / CLIENTS) as usize, address)))
            .collect();
        for client in clients {
            for (who, answers) in client.join().unwrap() {
                *all.entry(who).or_insert(0) += answers;
            }
        }
    });
    assert_eq!(all.values().sum::<usize>(), count as usize);
    assert_eq!(all.len(), SUBSETS.iter().map(|(_, addresses)| addresses.len()).sum::<usize>(), "{all:?}");
}

#[test]
fn twenty_thousand_handshakes_are_decided_alike() {
    let world = World::new();
    // The whole of 127.0.0.0/8 is there; of IPv6 there is one address, and these.
    for host in 0..64 {
        let mut ip = command("ip");
        ip.args(["-6", "address", "add", &format!("fd00:{host}::{:x}/128", host * 331 + 1), "dev", "lo", "nodad"]);
        run(ip, b"", seconds(20)).expect(0);
    }
    let _servers: Vec<Server> =
        SUBSETS.iter().flat_map(|(_, addresses)| *addresses).map(|address| Server::named(address, address)).collect();
    let agent = start(&world);
    agent.apply(objects());
    let plan = plan(objects().to_string());
    assert_alike(&plan, 14_000, |noise| {
        let [_, a, b, c] = (noise.number() as u32).to_be_bytes();
        Ipv4Addr::new(127, a, b, c.clamp(1, 254)).into()
    });
    assert_alike(&plan, 6_000, |noise| {
        let host = noise.below(64);
        format!("fd00:{host}::{:x}", host * 331 + 1).parse().unwrap()
    });
    assert_eq!(assigned(&agent), (20_000, 0));
}
