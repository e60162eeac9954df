//! What programs decide by: how long it takes until an edit or an event is in force in the kernel, and the memory that it holds.
//! Needs root.

use std::collections::HashMap;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tcpshift_agent::kernel::{Kernel, KernelOptions, MAX_ROUTES};
use tcpshift_agent::plan::{Host, Plan, Planner, Scope};
use tcpshift_agent::route::read::Document;
use tcpshift_agent::route::store::Store;

use super::objects::{named, read, route};
use super::{ROUTES, median, row};

/// How often an edit is measured, and how often an event.
const EDITS: usize = 50;
const EVENTS: usize = 1_000;
/// Between two, so that what is done beside is done.
const BETWEEN: Duration = Duration::from_millis(50);
/// Of the first name, for its events.
const ADDRESSES: u8 = 10;

/// What was measured.
pub(super) struct Programs {
    /// The median of an edit's tables, from the plan to being in force.
    pub(super) edit: Duration,
    /// The median of an event, from what DNS says to being in force.
    pub(super) event: Duration,
    /// The median of the processor time for one, of all that follows too.
    pub(super) cost: Duration,
}

/// Puts plans and sets in force, without an agent around them.
pub(super) fn measure(documents: &[Document]) -> Programs {
    let mut store = Store::default();
    store.apply(read(documents), jiff::Timestamp::UNIX_EPOCH).unwrap();
    let name = Document { name: "name.yaml".to_owned(), text: named(super::PORTS) };
    store.apply(read(&[name]), jiff::Timestamp::UNIX_EPOCH).unwrap();
    let mut planner = Planner::new(Scope { namespace: "default".to_owned(), ..Scope::default() }, Host::new(1));
    let answered = |planner: &mut Planner, from: u8| {
        let addresses: Vec<IpAddr> = (from..=ADDRESSES).map(|last| [10, 201, 0, last].into()).collect();
        let name = format!("name-{}.example.com", super::PORTS);
        planner.memory.states.answered(Arc::new(HashMap::from([(name, addresses)])))
    };
    answered(&mut planner, 1);
    let mut plan = planner.plan(store.iter(), &Plan::empty(1));
    assert_eq!(plan.routes().count(), ROUTES + 1);

    let before = memory();
    let mut kernel =
        Kernel::load(&KernelOptions { max_routes: MAX_ROUTES, steering: Err("measured".to_owned()) }).unwrap();
    let made = memory();
    let begin = Instant::now();
    let prepared = kernel.prepare(&plan, planner.sets()).unwrap();
    kernel.publish(prepared).unwrap();
    row("programs: the first plan in force", begin.elapsed());
    std::thread::sleep(BETWEEN);
    println!("{:<52} {:>9} kB", "programs: memory of maps, without a plan", (made - before) / 1024);
    println!("{:<52} {:>9} kB", "programs: memory of maps, with a plan", (memory() - before) / 1024);

    let mut took: Vec<Duration> = (0..EDITS)
        .map(|edit| {
            let text = route(edit * 97 % ROUTES, 30 + edit % 50);
            store.apply(read(&[Document { name: "edit.yaml".to_owned(), text }]), jiff::Timestamp::UNIX_EPOCH).unwrap();
            let next = planner.plan(store.iter(), &plan);
            assert_eq!(next.generation, plan.generation + 1);
            plan = next;
            let begin = Instant::now();
            let prepared = kernel.prepare(&plan, planner.sets()).unwrap();
            kernel.publish(prepared).unwrap();
            let took = begin.elapsed();
            std::thread::sleep(BETWEEN);
            took
        })
        .collect();
    let edit = median(&mut took);
    row("programs: tables of an edit in force, median", edit);
    row("programs: tables of an edit in force, longest", took[EDITS - 1]);

    let (mut took, mut costs) = (Vec::new(), Vec::new());
    for event in 0..EVENTS {
        let (cost, begin) = (processor(), Instant::now());
        let found = answered(&mut planner, if event % 2 == 0 { 2 } else { 1 });
        assert_eq!((found.sets, found.plan), (1, false));
        planner.memory.states.settle(0, |_| false);
        let prepared = kernel.prepare(&plan, planner.sets()).unwrap();
        kernel.publish(prepared).unwrap();
        took.push(begin.elapsed());
        if event % 20 == 0 {
            std::thread::sleep(BETWEEN);
            costs.push(processor().saturating_sub(cost));
        }
    }
    let (event, cost) = (median(&mut took), median(&mut costs));
    row("programs: an endpoint goes or comes, median", event);
    row("programs: an endpoint goes or comes, longest", took[EVENTS - 1]);
    row("programs: processor time of that, median", cost);
    Programs { edit, event, cost }
}

/// Processor time of this process until now.
fn processor() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
}

/// Bytes that all maps of the host hold.
fn memory() -> u64 {
    let output = Command::new("bpftool").args(["-j", "map", "show"]).output().unwrap();
    let maps: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    maps.iter().filter_map(|map| map["bytes_memlock"].as_u64()).sum()
}
