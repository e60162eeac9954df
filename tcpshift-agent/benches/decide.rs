//! One decision, the table of one route, and the plan it stands in: how long each takes, by criterion. `cargo xtask bench
//! decide` runs it in a release build; it says which promise is not kept, and fails then.
#![allow(clippy::format_push_string, reason = "objects for a measurement are written where it is not measured")]
#![allow(clippy::print_stdout, reason = "a table for people is what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken fails")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use criterion::Criterion;
use tcpshift_agent::plan::weigh::{Layout, WeightTable};
use tcpshift_agent::plan::{Host, Plan, Planner, Route, Scope, Sets};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::store::Store;
use tcpshift_common::address::{Address, Flow};
use tcpshift_common::decide::{Inputs, decide, outcome, steer};
use tcpshift_common::{SLOTS, hash};

/// Destinations of the route.
const DESTINATIONS: usize = 10;
/// Endpoints of each destination, of which the less loaded of two is taken.
const ENDPOINTS: usize = 2;
/// Endpoints of each destination in a larger route.
const MANY: usize = 10;
/// Clients that are decided for in turn.
const FLOWS: usize = 1024;
/// The port that is served.
const PORT: u16 = 31_400;

/// A decision must take less.
const DECISION: Duration = Duration::from_nanos(50);
/// A table of ten destinations must take less.
const TABLE: Duration = Duration::from_millis(5);

/// What is measured, and what is promised of it.
const MEASURED: [(&str, Option<Duration>); 7] = [
    ("decide by connection", Some(DECISION)),
    ("decide by source", Some(DECISION)),
    ("decide by sequence", Some(DECISION)),
    ("table, scattered", Some(TABLE)),
    ("table, sorted", Some(TABLE)),
    ("plan, from objects", None),
    ("decide by connection, among many endpoints", None),
];

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("decide");
    let mut criterion = Criterion::default()
        .output_directory(&folder)
        .sample_size(60)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots();
    let store = store(ENDPOINTS);
    let (plan, sets) = compiled(&store);
    let flows = flows();
    let route = plan.routes().next().unwrap();
    for (number, by) in [steer::CONNECTION, steer::SOURCE, steer::SEQUENCE].into_iter().enumerate() {
        decisions(&mut criterion, MEASURED[number].0, plan.seed, (route, &sets), by, &flows);
    }
    let weights: Vec<(String, u64)> = (0..DESTINATIONS).map(|at| (format!("v{at}"), 3 + 7 * at as u64)).collect();
    for (number, layout) in [(3, Layout::Scattered), (4, Layout::Sorted)] {
        criterion.bench_function(MEASURED[number].0, |bencher| {
            bencher.iter(|| assert_eq!(WeightTable::new(layout, black_box(&weights)).slots().len(), SLOTS as usize));
        });
    }
    criterion.bench_function(MEASURED[5].0, |bencher| bencher.iter(|| compiled(black_box(&store))));
    let (many, sets) = compiled(&self::store(MANY));
    let route = many.routes().next().unwrap();
    decisions(&mut criterion, MEASURED[6].0, many.seed, (route, &sets), steer::CONNECTION, &flows);
    verdicts(&folder)
}

/// Every decision is for another flow, and must find an endpoint.
fn decisions(
    criterion: &mut Criterion,
    name: &str,
    seed: u64,
    (route, sets): (&Route, &Sets),
    by: u32,
    flows: &[Flow; FLOWS],
) {
    let mut steer = route.steer;
    (steer.by, steer.v4_bits, steer.v6_bits) = (by, 32, 128);
    let mut inputs = Given::default();
    let mut at = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            at = (at + 1) % FLOWS;
            let decision = decide(seed, black_box(&steer), &flows[at], &sets.table(route), &mut inputs);
            assert_eq!(decision.outcome, outcome::CHOSEN);
            decision
        });
    });
}

/// Says of each promise whether it is held, by the median.
fn verdicts(folder: &Path) -> ExitCode {
    println!();
    let mut code = ExitCode::SUCCESS;
    for (name, promised) in MEASURED {
        let path = folder.join(name).join("new/estimates.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let estimates: serde_json::Value = serde_json::from_str(&text).unwrap();
        let took = Duration::from_secs_f64(estimates["median"]["point_estimate"].as_f64().unwrap() / 1e9);
        let verdict = match promised {
            Some(promised) if took < promised => format!("of {promised:?}: held"),
            Some(promised) => {
                code = ExitCode::FAILURE;
                format!("of {promised:?}: MISSED")
            }
            None => String::new(),
        };
        println!("{name:<44} {took:>10.1?} {verdict}");
    }
    code
}

/// Counters and words as a worker has them.
#[derive(Default)]
struct Given {
    count: u64,
}

impl Inputs for Given {
    fn sequence(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn turn(&mut self, _: u32) -> u64 {
        self.count += 1;
        self.count
    }

    fn random(&mut self) -> u32 {
        self.count += 1;
        (hash::mix(self.count) >> 32) as u32
    }

    fn load(&self, endpoint: u32) -> u32 {
        endpoint % 7
    }
}

/// Clients at many addresses and ports.
fn flows() -> [Flow; FLOWS] {
    let flow = |at: u16| Flow {
        source: Address::v4([10, 0, at as u8, (at >> 8) as u8]),
        destination: Address::v4([127, 0, 0, 1]),
        source_port: 10_000 + u32::from(at),
        destination_port: u32::from(PORT),
    };
    std::array::from_fn(|at| flow(at as u16))
}

fn compiled(store: &Store) -> (Plan, Sets) {
    let scope = Scope { namespace: "default".to_owned(), ..Scope::default() };
    let host = Host { listen_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..Host::new(1) };
    let mut planner = Planner::new(scope, host);
    let plan = planner.plan(store.iter(), &Plan::empty(1));
    (plan, planner.sets().clone())
}

/// One route with its destinations, each with endpoints.
fn store(endpoints: usize) -> Store {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{selector: {{app: a}}, ports: [{{name: tcp, port: 9000}}]}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: a}}\nspec:\n  servers:\n  \
         - {{port: {{number: {PORT}, name: tcp, protocol: TCP}}, hosts: ['*']}}\n"
    );
    let (mut subsets, mut routes) = (String::new(), String::new());
    for at in 0..DESTINATIONS {
        subsets += &format!("  - {{name: v{at}, labels: {{version: v{at}}}}}\n");
        routes += &format!("    - destination: {{host: a, subset: v{at}, port: {{number: 9000}}}}\n      weight: 10\n");
        for endpoint in 0..endpoints {
            text += &format!(
                "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: a-{at}-{endpoint}}}\n\
                 spec: {{address: 10.1.{at}.{endpoint}, labels: {{app: a, version: v{at}}}}}\n"
            );
        }
    }
    text += &format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec:\n  host: a\n  subsets:\n{subsets}\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: ['*']\n  gateways: [a]\n  \
         tcp:\n  - route:\n{routes}"
    );
    let (entries, problems) = read_all(&[Document { name: "bench.yaml".to_owned(), text }], None);
    let objects = entries.into_iter().map(|entry| match entry {
        ReadDocument::Valid(object) => *object,
        _ => panic!("{problems:#?}"),
    });
    let mut store = Store::default();
    store.apply(objects.collect(), jiff::Timestamp::UNIX_EPOCH).unwrap();
    store
}
