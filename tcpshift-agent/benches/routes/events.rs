//! Events: endpoints that go and come.

use std::collections::HashMap;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tcpshift_agent::admin::api::ApplyRequest;
use tcpshift_agent::admin::client::Client;
use tcpshift_agent::plan::{Host, Plan, Planner, Scope};
use tcpshift_agent::route::read::Document;
use tcpshift_agent::route::store::Store;

use super::dns::Dns;
use super::objects::{local, named, read};
use super::{EDITS, PORTS, edit, row};

/// Services whose endpoints are what DNS says of a name, each of so many addresses.
const NAMES: usize = 1_000;
const ADDRESSES: u8 = 10;
/// Services whose names are asked for while edits are made, each once a second: then all addresses go, and as many come.
const NAMES_TOLD: usize = 50;
/// How often an endpoint that goes or comes is measured.
const EVENTS: usize = 10_000;

/// The port of the listener whose endpoints begin and end to listen.
const LOCAL_PORT: u16 = 19_999;
/// How often one of them does, and for how long in all.
const EVERY: Duration = Duration::from_millis(1);
const FOR: Duration = Duration::from_secs(10);
/// Between two edits meanwhile.
const BETWEEN: Duration = Duration::from_millis(50);

/// Endpoints that go and come, as DNS says it: what it takes until the sets are replaced. Returns the median.
pub(super) fn by_names() -> Duration {
    let text = (0..NAMES).map(named).collect();
    let objects = read(&[Document { name: "names.yaml".to_owned(), text }]);
    let mut store = Store::default();
    store.apply(objects, jiff::Timestamp::UNIX_EPOCH).unwrap();
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
            planner.memory.states.settle(0, |_| false);
            assert_eq!((event.sets, event.plan), (1, false));
            begin.elapsed()
        })
        .collect();
    took.sort();
    row(&format!("an endpoint of {NAMES} names goes or comes, median"), took[EVENTS / 2]);
    row("an endpoint goes or comes, longest", took[EVENTS - 1]);
    took[EVENTS / 2]
}

/// A thousand times a second an endpoint of this host stops to listen or listens again, for ten seconds, while edits are made.
/// Returns the longest edit.
pub(super) async fn among_listeners(client: &Client) -> Duration {
    let mut listeners: Vec<Option<TcpListener>> =
        (0..10).map(|_| Some(TcpListener::bind("127.0.0.1:0").unwrap())).collect();
    let ports: Vec<u16> = listeners.iter().flatten().map(|listener| listener.local_addr().unwrap().port()).collect();
    let documents = vec![local(LOCAL_PORT, &ports)];
    client
        .apply(&ApplyRequest { documents, namespace: None, dry_run: false, force: false, strict: false })
        .await
        .unwrap();
    let generation = client.status().await.unwrap().generation;
    let (is_over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flapping = std::thread::spawn({
        let (is_over, made) = (Arc::clone(&is_over), Arc::clone(&made));
        move || {
            let begin = Instant::now();
            while !is_over.load(Relaxed) {
                let event = made.fetch_add(1, Relaxed);
                let at = event % ports.len();
                listeners[at] = match listeners[at].take() {
                    Some(_) => None,
                    None => TcpListener::bind(("127.0.0.1", ports[at])).ok(),
                };
                std::thread::sleep((EVERY * (event as u32 + 1)).saturating_sub(begin.elapsed()));
            }
        }
    });
    let begin = Instant::now();
    let (longest, edits) = edits(client).await;
    is_over.store(true, Relaxed);
    flapping.join().unwrap();
    let made = made.load(Relaxed) as f64 / begin.elapsed().as_secs_f64();
    row(&format!("{made:.0} listeners a second come or go: longest edit"), longest);
    let more = client.status().await.unwrap().generation - generation;
    assert_eq!(more, u64::from(edits), "an endpoint that goes or comes makes no generation");
    longest
}

/// A thousand times a second an endpoint goes or comes, as DNS says it, for ten seconds, while edits are made. Returns the
/// longest edit.
pub(super) async fn among_names(client: &Client) -> Duration {
    let dns = Dns::get(ADDRESSES);
    let asked = dns.answered();
    let text = (0..NAMES_TOLD).map(|at| named(PORTS + at)).collect();
    let documents = vec![Document { name: "names.yaml".to_owned(), text }];
    client
        .apply(&ApplyRequest { documents, namespace: None, dry_run: false, force: false, strict: false })
        .await
        .unwrap();
    let told = Instant::now();
    while dns.answered() - asked < 3 * NAMES_TOLD {
        assert!(told.elapsed() < FOR, "names are asked for");
        tokio::time::sleep(BETWEEN).await;
    }
    let (begin, answered, before) = (Instant::now(), dns.answered(), client.status().await.unwrap());
    let (longest, edits) = edits(client).await;
    let made = (dns.answered() - answered) * 2 * usize::from(ADDRESSES);
    let made = made as f64 / begin.elapsed().as_secs_f64();
    row(&format!("{made:.0} addresses a second come or go: longest edit"), longest);
    assert!(made > 900.0, "names are asked for once a second");
    let after = client.status().await.unwrap();
    assert_eq!(
        after.generation - before.generation,
        u64::from(edits),
        "an address that goes or comes makes no generation"
    );
    assert!(after.sets - before.sets >= 20, "sets follow what DNS says");
    longest
}

/// Edits, one after the other for ten seconds. Returns the longest, and how many they were.
async fn edits(client: &Client) -> (Duration, u32) {
    // Other weights than those that were measured before.
    static NEXT: AtomicU32 = AtomicU32::new(EDITS);
    let (begin, mut longest, mut edits) = (Instant::now(), Duration::ZERO, 0);
    while begin.elapsed() < FOR {
        longest = longest.max(edit(client, NEXT.fetch_add(1, Relaxed)).await);
        edits += 1;
        tokio::time::sleep(BETWEEN).await;
    }
    (longest, edits)
}
