//! 10,000 routes: how long they take to load, to analyze and to compile, and how long one edit among them takes until it is
//! in force; and the same where kernel programs decide by them, which needs root. `cargo xtask bench` runs it in
//! a release build; it says which promise is not kept, and fails then.
#![allow(clippy::print_stdout, reason = "a table for people is what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken fails")]

mod agent;
mod dns;
mod events;
mod objects;
mod programs;
mod sample;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tcpshift_agent::admin::api::{ApplyRequest, GetRequest, ObjectName, ShiftRequest, ShiftShare};
use tcpshift_agent::admin::client::Client;
use tcpshift_agent::analyze;
use tcpshift_agent::plan::diff::diff;
use tcpshift_agent::plan::{Host, Plan, Planner, Scope};
use tcpshift_agent::route::read::Document;
use tcpshift_agent::route::store::Store;

use agent::{Agent, ready};

const ROUTES: usize = 10_000;
/// Ports that the routes share; each port tells its routes apart by the client's subnet.
const PORTS: usize = 1_000;
const FIRST_PORT: usize = 20_000;
/// Services; each has a `DestinationRule` of two subsets.
const SERVICES: usize = 1_000;
/// Endpoints of each subset: a route leads to ten.
const ENDPOINTS: usize = 5;
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
/// Whoever asks while routes are applied must have an answer in less.
const ANSWER: Duration = Duration::from_millis(50);
/// A look at how counts have grown must take less: it is taken once a second, and in that time nobody is answered who reads.
const LOOK: Duration = Duration::from_millis(10);
/// And a sample of all that is counted.
const SAMPLE: Duration = Duration::from_millis(50);
/// A thousand new routes that programs decide by must be in force in less.
const NEW: Duration = Duration::from_secs(2);
/// The tables of one edit must be in force in less, where programs decide by 10,000 routes.
const TABLES: Duration = Duration::from_millis(20);
/// And one endpoint that goes or comes, and the processor time for it.
const SET: Duration = Duration::from_millis(5);
const SET_COST: Duration = Duration::from_millis(2);

fn main() -> ExitCode {
    let documents = objects::documents(ROUTES);
    println!("{ROUTES} routes at {PORTS} ports, {SERVICES} services with two subsets each\n");
    let (prepared, look, sample) = in_process(&documents);
    let event = events::by_names();
    let Measured { edit, cost, answer, among: among_names, .. } = by_agent(&documents, "agent");
    println!("\n{ROUTES} routes at {PORTS} ports, decided by kernel programs\n");
    let weighted = objects::weighted(ROUTES, 20);
    let programs = rustix::process::geteuid().is_root().then(|| programs::measure(&weighted));
    let kernel = rustix::process::geteuid().is_root().then(|| by_agent(&weighted, "kernel"));
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
    let look = held("a look at how counts have grown", look, LOOK);
    let sample = held("a sample", sample, SAMPLE);
    let answer = held("an answer while 1,000 routes are applied", answer, ANSWER);
    let among_names = among_names.is_none_or(|among| held("the longest edit among 1,000 events a second", among, EDIT));
    let kernel = if let (Some(Measured { edit, new, among, .. }), Some(programs)) = (kernel, programs) {
        let among = among.unwrap_or_default();
        [
            held("one edit in force, by kernel programs", edit, EDIT),
            held("1,000 new routes in force, by kernel programs", new, NEW),
            held("the longest edit among 1,000 events a second, by kernel programs", among, EDIT),
            held("tables of one edit", programs.edit, TABLES),
            held("one endpoint in force, by kernel programs", programs.event, SET),
            held("one endpoint, processor time", programs.cost, SET_COST),
        ]
        .into_iter()
        .all(|held| held)
    } else {
        println!("kernel programs are left out: only root may load them");
        true
    };
    if load && edit && cost && event && look && sample && answer && among_names && kernel {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Load, analyze and compile, step by step. Returns what they took together, and what a look at counts and a sample take.
fn in_process(documents: &[Document]) -> (Duration, Duration, Duration) {
    let begin = Instant::now();
    let objects = objects::read(documents);
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
    let edited = Document { name: "edit.yaml".to_owned(), text: objects::route(ROUTES / 2, 20) };
    let edited = objects::read(&[edited]);
    let (mut next, _) = timed("of an edit: copy the store", || store.clone());
    next.apply(edited, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let (changes, _) = timed("of an edit: what is different in the store", || store.changes(&next).len());
    assert_eq!(changes, 1);
    let (intent, _) = timed("of an edit: resolve", || planner.resolve(next.iter()));
    let (after, _) = timed("of an edit: assemble", || planner.assemble(&intent, &plan));
    let ((), _) = timed("of an edit: sweep the numbers", || {
        planner.memory.register.routes.sweep(|_| false);
        planner.memory.register.destinations.sweep(|_| false);
        planner.memory.states.sweep(0, |_| false);
    });
    let (_, _) = timed("of a preview: copy the numbers and sets", || planner.fork());
    let (found, _) = timed("of a preview: difference of the plans", || diff((&plan, &sets), (&after, planner.sets())));
    assert_eq!(found.routes.len(), 1);
    let (look, sample) = sample::measure(plan, sets);
    (load + analyzed + resolved + assembled, look, sample)
}

/// What somebody sees who asks the agent.
struct Measured {
    /// The median of the agent's processor time for one edit.
    cost: Duration,
    /// The median of one edit.
    edit: Duration,
    /// The longest of the requests for a thousand new routes.
    new: Duration,
    /// The longest of the answers to whoever only reads, while routes are applied.
    answer: Duration,
    /// The longest edit while endpoints go and come; only root can say.
    among: Option<Duration>,
}

/// Edits, as somebody who asks the agent sees them. `assign` says who decides.
fn by_agent(documents: &[Document], assign: &str) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(folder.path().join("admin.sock"));
    let mut agent = Agent::start(folder.path(), assign);
    let (new, answer) = runtime.block_on(async {
        ready(&client).await;
        let (mut all, mut longest, mut answer) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for (number, document) in documents.iter().enumerate() {
            let request = ApplyRequest {
                documents: vec![document.clone()],
                namespace: None,
                dry_run: false,
                force: false,
                strict: false,
            };
            let begin = Instant::now();
            tokio::select! {
                applied = client.apply(&request) => drop(applied.unwrap()),
                () = ask(&client, &mut answer) => {}
            }
            // The first one is what routes stand on.
            if number > 0 {
                all += begin.elapsed();
                longest = longest.max(begin.elapsed());
            }
        }
        row("the agent: longest answer to a question meanwhile", answer);
        row(&format!("the agent: {} applies of {CHUNK} routes", documents.len() - 1), all);
        (longest, answer)
    });
    agent.end();
    let begin = Instant::now();
    let agent = Agent::start(folder.path(), assign);
    runtime.block_on(async {
        ready(&client).await;
        row("the agent: start from its state until it answers", begin.elapsed());
        let (mut took, mut costs) = (Vec::new(), Vec::new());
        for edit in 0..EDITS {
            let before = agent.cost();
            took.push(self::edit(&client, edit).await);
            // What is done after the answer counts too.
            tokio::time::sleep(AFTER).await;
            costs.push(agent.cost().saturating_sub(before));
        }
        let cost = median(&mut costs);
        row("the agent: processor time of one edit, median", cost);
        println!("{:<52} {:>9} kB", "the agent: memory that it holds", agent.kilobytes());
        let edit = median(&mut took);
        row("the agent: one edit in force, median", edit);
        row("the agent: one edit in force, longest", took[took.len() - 1]);
        let among = match assign {
            _ if !rustix::process::geteuid().is_root() => None,
            "kernel" => {
                let listeners = events::among_listeners(&client).await;
                Some(listeners.max(events::among_names(&client).await))
            }
            _ => Some(events::among_names(&client).await),
        };
        Measured { cost, edit, new, answer, among }
    })
}

/// Asks for an object again and again. Keeps how long the longest answer took.
async fn ask(client: &Client, longest: &mut Duration) {
    let request = GetRequest { kind: "gateway".to_owned(), namespace: None, name: None };
    loop {
        let begin = Instant::now();
        // Before the first objects are there, none are the answer.
        drop(client.get(&request).await);
        *longest = (*longest).max(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Another weight for one of the routes. Returns how long it takes until it is in force.
async fn edit(client: &Client, number: u32) -> Duration {
    let object = ObjectName {
        kind: "vs".to_owned(),
        name: format!("route-{}", number as usize * 97 % ROUTES),
        resource_version: None,
    };
    let shares = vec![ShiftShare { subset: "v2".to_owned(), slots: 2_000 + number }];
    let request = ShiftRequest { object, namespace: None, rule: None, shares, dry_run: false, force: false };
    let begin = Instant::now();
    client.shift(&request).await.unwrap();
    begin.elapsed()
}

/// The median; sorts.
fn median(all: &mut [Duration]) -> Duration {
    all.sort();
    all[all.len() / 2]
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
