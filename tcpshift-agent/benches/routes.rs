//! 10,000 routes: how long they take to load, to analyze and to compile, and how long one edit among them takes until it is
//! in force; and the same of 1,000 routes that kernel programs decide by, which needs root. `cargo xtask bench` runs it in
//! a release build; it says which promise is not kept, and fails then.
#![allow(clippy::print_stdout, reason = "a table for people is what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken fails")]

use std::collections::HashMap;
use std::net::IpAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcpshift_agent::admin::api::{ApplyRequest, ObjectName, ShiftRequest, ShiftShare};
use tcpshift_agent::admin::client::Client;
use tcpshift_agent::analyze;
use tcpshift_agent::plan::diff::diff;
use tcpshift_agent::plan::{Host, Plan, Planner, Scope};
use tcpshift_agent::route::read::{Document, ReadDocument, read_all};
use tcpshift_agent::route::store::Store;

const ROUTES: usize = 10_000;
/// Routes that programs decide by.
const KERNEL_ROUTES: usize = 1_000;
/// Ports that the routes share; each port tells its routes apart by the client's subnet.
const PORTS: usize = 1_000;
const FIRST_PORT: usize = 20_000;
/// Services; each has a `DestinationRule` of two subsets.
const SERVICES: usize = 1_000;
/// Endpoints of each subset: a route leads to ten.
const ENDPOINTS: usize = 5;
/// Services whose endpoints are what DNS says of a name, each of so many addresses.
const NAMES: usize = 1_000;
const ADDRESSES: u8 = 10;
/// How often an endpoint that goes or comes is measured.
const EVENTS: usize = 10_000;
/// Routes in one file, and in one request.
const CHUNK: usize = 1_000;
/// How often an edit is measured.
const EDITS: u32 = 100;

/// How long an agent may still be at work for an edit that was answered.
const AFTER: Duration = Duration::from_millis(20);

/// Loading, analyzing and planning must take less.
const LOAD: Duration = Duration::from_secs(2);
/// One edit, from the request to the answer that it is in force, must take less.
const EDIT: Duration = Duration::from_millis(50);
/// Processor time that the agent may take for one edit among 10,000 routes that it carries.
const EDIT_COST: Duration = Duration::from_millis(5);
/// And for one endpoint that goes or comes.
const EVENT: Duration = Duration::from_millis(1);
/// As many new routes as programs decide by must be in force in less.
const NEW: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let documents = documents(ROUTES);
    println!("{ROUTES} routes at {PORTS} ports, {SERVICES} services with two subsets each\n");
    let prepared = in_process(&documents);
    let event = events();
    let Measured { edit, cost, .. } = by_agent(&documents, "agent");
    println!("\n{KERNEL_ROUTES} routes at {PORTS} ports, decided by kernel programs\n");
    let kernel = rustix::process::geteuid().is_root().then(|| by_agent(&self::documents(KERNEL_ROUTES), "kernel"));
    println!();
    let held = |what: &str, took: Duration, promised: Duration| {
        let verdict = if took < promised { "held" } else { "MISSED" };
        println!("{what}: {took:.1?} of {promised:?}: {verdict}");
        took < promised
    };
    let load = held("load, analyze and compile", prepared, LOAD);
    let edit = held("one edit in force", edit, EDIT);
    let cost = held("one edit, processor time of the agent", cost, EDIT_COST);
    let event = held("one endpoint that goes or comes", event, EVENT);
    let kernel = if let Some(Measured { edit, new, .. }) = kernel {
        let edit = held("one edit in force, by kernel programs", edit, EDIT);
        held("1,000 new routes in force, by kernel programs", new, NEW) && edit
    } else {
        println!("kernel programs are left out: only root may load them");
        true
    };
    if load && edit && cost && event && kernel { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Load, analyze and compile, step by step. Returns what they took together.
fn in_process(documents: &[Document]) -> Duration {
    let begin = Instant::now();
    let (entries, problems) = read_all(documents, None);
    let objects: Vec<_> = entries
        .into_iter()
        .map(|entry| match entry {
            ReadDocument::Valid(object) => *object,
            _ => panic!("{problems:#?}"),
        })
        .collect();
    let objects_count = objects.len();
    let mut store = Store::default();
    store.apply(objects, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let load = begin.elapsed();
    row(&format!("read and check {objects_count} objects"), load);
    let input = analyze::Input { documents: documents.to_vec(), ..analyze::Input::default() };
    let (analysis, analyzed) = timed("read and analyze them", || analyze::analyze(input));
    assert_eq!(analysis.objects, objects_count);
    let scope = Scope { namespace: "default".to_owned(), ..Scope::default() };
    let mut planner = Planner::new(scope, Host::new(1));
    let (intent, resolved) = timed("resolve them", || planner.resolve(store.iter()));
    let (plan, assembled) = timed("assemble the first plan", || planner.assemble(&intent, &Plan::empty(1)));
    let sets = planner.sets().clone();
    assert_eq!(plan.routes().count(), ROUTES);
    let edited = Document { name: "edit.yaml".to_owned(), text: route(ROUTES / 2, 20) };
    let (entries, _) = read_all(&[edited], None);
    let Some(ReadDocument::Valid(edited)) = entries.into_iter().next() else { panic!("the edit is invalid") };
    let (mut next, _) = timed("of an edit: copy the store", || store.clone());
    next.apply(vec![*edited], jiff::Timestamp::UNIX_EPOCH).unwrap();
    let (changes, _) = timed("of an edit: what is different in the store", || store.changes(&next).len());
    assert_eq!(changes, 1);
    let (intent, _) = timed("of an edit: resolve", || planner.resolve(next.iter()));
    let (after, _) = timed("of an edit: assemble", || planner.assemble(&intent, &plan));
    let ((), _) = timed("of an edit: sweep the numbers", || {
        planner.memory.register.routes.sweep(|_| false);
        planner.memory.register.destinations.sweep(|_| false);
        planner.memory.states.sweep(|_| false);
    });
    let (_, _) = timed("of a preview: copy the numbers and sets", || planner.fork());
    let (found, _) = timed("of a preview: difference of the plans", || diff((&plan, &sets), (&after, planner.sets())));
    assert_eq!(found.routes.len(), 1);
    load + analyzed + resolved + assembled
}

/// Endpoints that go and come, as DNS says it: what it takes until the sets are replaced. Returns the median.
fn events() -> Duration {
    let text = (0..NAMES).map(named).collect();
    let (entries, problems) = read_all(&[Document { name: "names.yaml".to_owned(), text }], None);
    let objects = entries.into_iter().map(|entry| match entry {
        ReadDocument::Valid(object) => *object,
        _ => panic!("{problems:#?}"),
    });
    let mut store = Store::default();
    store.apply(objects.collect(), jiff::Timestamp::UNIX_EPOCH).unwrap();
    let mut planner = Planner::new(Scope { namespace: "default".to_owned(), ..Scope::default() }, Host::new(1));
    let addresses =
        |at: usize, from: u8| (from..=ADDRESSES).map(|last| [10, 1, (at % 250) as u8, last].into()).collect();
    let name = |at: usize| format!("name-{at}.example.com");
    let mut answers: HashMap<String, Vec<IpAddr>> = (0..NAMES).map(|at| (name(at), addresses(at, 1))).collect();
    planner.memory.states.answered(Arc::new(answers.clone()));
    let plan = planner.plan(store.iter(), &Plan::empty(1));
    assert_eq!(plan.routes().count(), NAMES);
    let mut took: Vec<Duration> = (0..EVENTS)
        .map(|event| {
            // The first address of a name goes, and comes back.
            let at = event / 2 * 97 % NAMES;
            answers.insert(name(at), addresses(at, if event % 2 == 0 { 2 } else { 1 }));
            let told = Arc::new(answers.clone());
            let begin = Instant::now();
            let event = planner.memory.states.answered(told);
            planner.memory.states.settle(|_| false);
            assert_eq!((event.sets, event.plan), (1, false));
            begin.elapsed()
        })
        .collect();
    took.sort();
    row(&format!("an endpoint of {NAMES} names goes or comes, median"), took[EVENTS / 2]);
    row("an endpoint goes or comes, longest", took[EVENTS - 1]);
    took[EVENTS / 2]
}

/// A service at a host name, and a route to it.
fn named(at: usize) -> String {
    let port = FIRST_PORT + at;
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: name-{at}}}\nspec:\n  \
         hosts: [name-{at}.example.com]\n  ports: [{{number: 9000, name: tcp, protocol: TCP}}]\n  resolution: DNS\n\
         ---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: gate-{at}}}\nspec:\n  servers:\n{}\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: route-{at}}}\nspec:\n  \
         hosts: ['*']\n  gateways: [gate-{at}]\n  tcp:\n  - route:\n    \
         - destination: {{host: name-{at}.example.com, port: {{number: 9000}}}}\n",
        format_server(port)
    )
}

/// What somebody sees who asks the agent.
struct Measured {
    /// The median of the agent's processor time for one edit.
    cost: Duration,
    /// The median of one edit.
    edit: Duration,
    /// The longest of the requests for a thousand new routes.
    new: Duration,
}

/// Edits, as somebody who asks the agent sees them. `assign` says who decides.
fn by_agent(documents: &[Document], assign: &str) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(folder.path().join("admin.sock"));
    let mut agent = Agent::start(folder.path(), assign);
    let new = runtime.block_on(async {
        ready(&client).await;
        let (mut all, mut longest) = (Duration::ZERO, Duration::ZERO);
        for (number, document) in documents.iter().enumerate() {
            let request =
                ApplyRequest { documents: vec![document.clone()], namespace: None, dry_run: false, force: false };
            let begin = Instant::now();
            client.apply(&request).await.unwrap();
            // The first one is what routes stand on.
            if number > 0 {
                all += begin.elapsed();
                longest = longest.max(begin.elapsed());
            }
        }
        row(&format!("the agent: {} applies of {CHUNK} routes", documents.len() - 1), all);
        longest
    });
    agent.end();
    let begin = Instant::now();
    let agent = Agent::start(folder.path(), assign);
    runtime.block_on(async {
        ready(&client).await;
        row("the agent: start from its state until it answers", begin.elapsed());
        let (mut took, mut costs) = (Vec::new(), Vec::new());
        for edit in 0..EDITS {
            let object = ObjectName {
                kind: "vs".to_owned(),
                name: format!("route-{}", edit as usize * 97 % KERNEL_ROUTES),
                resource_version: None,
            };
            let shares = vec![ShiftShare { subset: "v2".to_owned(), slots: 2_000 + edit }];
            let request = ShiftRequest { object, namespace: None, rule: None, shares, dry_run: false };
            let (begin, before) = (Instant::now(), agent.cost());
            client.shift(&request).await.unwrap();
            took.push(begin.elapsed());
            // What is done after the answer counts too.
            tokio::time::sleep(AFTER).await;
            costs.push(agent.cost().saturating_sub(before));
        }
        costs.sort();
        let cost = costs[costs.len() / 2];
        row("the agent: processor time of one edit, median", cost);
        println!("{:<52} {:>9} kB", "the agent: memory that it holds", agent.kilobytes());
        took.sort();
        let median = took[took.len() / 2];
        row("the agent: one edit in force, median", median);
        row("the agent: one edit in force, longest", took[took.len() - 1]);
        Measured { cost, edit: median, new }
    })
}

async fn ready(client: &Client) {
    let begin = Instant::now();
    while client.status().await.is_err() {
        assert!(begin.elapsed() < Duration::from_mins(1), "the agent does not answer");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An agent with a folder of its own; it ends with the measurement.
struct Agent(Child);

impl Agent {
    fn start(folder: &std::path::Path, assign: &str) -> Self {
        let agent = env!("CARGO_BIN_EXE_tcpshift-agent");
        let mut command = if assign == "kernel" {
            // What it pins goes with a mount of its own, however it ends.
            let mut command = Command::new("unshare");
            command.args(["--mount", "--", "sh", "-c", "mount -t bpf bpf /sys/fs/bpf && exec \"$0\" \"$@\"", agent]);
            command
        } else {
            Command::new(agent)
        };
        if assign == "agent" {
            command.args(["run", "--datapath", "proxy"]);
        } else {
            command.arg("run");
        }
        command
            .args(["--assign", assign, "--state-dir"])
            .arg(folder.join("state"))
            .env("RUST_LOG", "error")
            .stdin(Stdio::null());
        command.env("TCPSHIFT_ADMIN", format!("unix:{}", folder.join("admin.sock").display()));
        Self(command.spawn().unwrap())
    }

    /// Processor time of all its threads until now.
    fn cost(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let nanoseconds = tasks.map(|task| {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Memory that it holds, in kilobytes.
    fn kilobytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let done = work();
    let took = begin.elapsed();
    row(what, took);
    (done, took)
}

fn row(what: &str, took: Duration) {
    println!("{what:<52} {:>9.2} ms", took.as_secs_f64() * 1e3);
}

/// The services, then as many routes, a thousand in each.
fn documents(routes: usize) -> Vec<Document> {
    let mut ground =
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gate}\nspec:\n  servers:\n".to_owned();
    for at in 0..PORTS {
        let port = FIRST_PORT + at;
        ground.push_str(&format_server(port));
    }
    for at in 0..SERVICES {
        ground.push_str(&service(at));
    }
    let mut documents = vec![Document { name: "ground.yaml".to_owned(), text: ground }];
    for first in (0..routes).step_by(CHUNK) {
        let text = (first..first + CHUNK).map(|at| route(at, 0)).collect();
        documents.push(Document { name: format!("routes-{first}.yaml"), text });
    }
    documents
}

fn format_server(port: usize) -> String {
    format!("  - {{port: {{number: {port}, name: tcp-{port}, protocol: TCP}}, bind: 127.0.0.1, hosts: ['*']}}\n")
}

fn service(at: usize) -> String {
    let (high, low) = (at / 250, at % 250);
    let entry = |version: usize| {
        let entries = (0..ENDPOINTS).map(|number| {
            let second = version * 10 + number;
            format!(
                "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
                 metadata: {{name: service-{at}-v{version}-{number}}}\n\
                 spec: {{address: 10.{second}.{high}.{low}, labels: {{app: service-{at}, version: v{version}}}}}\n"
            )
        });
        entries.collect::<String>()
    };
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: service-{at}}}\nspec:\n  selector: {{app: service-{at}}}\n  \
         ports: [{{name: tcp, port: 9000}}]\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: service-{at}}}\nspec:\n  host: service-{at}\n  subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  \
         - {{name: v2, labels: {{version: v2}}}}\n{}{}",
        entry(1),
        entry(2)
    )
}

fn route(at: usize, v2: usize) -> String {
    let (port, subnet, service) = (FIRST_PORT + at % PORTS, at / PORTS, at % SERVICES);
    let to = |version: usize, weight: usize| {
        format!(
            "    - destination: {{host: service-{service}, subset: v{version}, port: {{number: 9000}}}}\n      weight: {weight}\n"
        )
    };
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: route-{at}}}\nspec:\n  hosts: ['*']\n  \
         gateways: [gate]\n  tcp:\n  - match: [{{port: {port}, sourceSubnet: 10.{subnet}.0.0/16}}]\n    route:\n{}{}",
        to(1, 100 - v2),
        to(2, v2)
    )
}
