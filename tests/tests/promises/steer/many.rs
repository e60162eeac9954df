//! A thousand edits under as many connections as a host has, half of them by either datapath: none of them is touched.

use std::fmt::Write;
use std::time::{Duration, Instant};

use tcpshift_common::layout::COOKIES;
use tcpshift_tests::crowd::{Crowd, Location};
use tcpshift_tests::echo::tcp_echo;
use tcpshift_tests::maps::{bpftool, path};
use tcpshift_tests::world::World;

use super::{
    ENTRANCE, GATEWAY_ROUTE, MESH_ROUTE, ONE, SERVICE, TWO, assert_split, await_counted, await_datapath, base, direct,
    inside, route, start, versions,
};

/// Endpoints of each version, each a process; and processes of clients for each datapath.
const PROCESSES: u16 = 3;

/// What was done, and what it took.
struct Figures {
    connections: usize,
    opened: Duration,
    edits: u32,
    edited: Duration,
}

fn edits_under(each: usize, edits: u32) -> Figures {
    let world = World::new();
    let mut endpoints = Vec::new();
    let mut servers = Vec::new();
    for (version, name, base) in [("v1", "one", 9001_u16), ("v2", "two", 9101)] {
        for port in base..base + PROCESSES {
            endpoints.push((version, "127.0.0.1", port));
            servers.push(tcp_echo(&world, &port.to_string(), name, "127.0.0.1"));
        }
    }
    let agent = start(&world, &[]);
    agent.apply(base(&endpoints) + route(MESH_ROUTE, [50, 50]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    let began = Instant::now();
    let mut crowds = Vec::new();
    for (kind, location, address) in [(1, inside(&world), SERVICE), (2, Location::Here, ENTRANCE)] {
        for number in 1..=PROCESSES {
            // The ports of a single address are searched through for long when most of them are taken.
            let sources: Vec<String> = (1..=5).map(|last| format!("127.{kind}.{number}.{last}")).collect();
            crowds.push(Crowd::hold(&world, &format!("crowd-{kind}-{number}"), location, address, each, &sources));
        }
    }
    for crowd in &crowds {
        crowd.reach(each);
    }
    let (connections, opened) = (each * crowds.len(), began.elapsed());
    let began = Instant::now();
    for edit in 0..edits {
        let v2 = edit % 101;
        agent.post(route(MESH_ROUTE, [100 - v2, v2]) + route(GATEWAY_ROUTE, [v2, 100 - v2]));
    }
    let edited = began.elapsed();
    for crowd in crowds {
        let tally = crowd.finish();
        assert_eq!(tally.values().sum::<usize>(), each, "{tally:?}");
        assert_split(&tally, 0.5);
    }
    Figures { connections, opened, edits, edited }
}

/// Fills every cell of the map `cookies` with a cookie that no socket has.
pub(crate) fn take_all_places(world: &World) {
    let (cookie, rest) = ("1 0 0 0 0 0 0 0", "0 ".repeat(52));
    // In the middle stands that its connection is open.
    let row = format!("{cookie} {}2 0 0 0 {rest}", "0 ".repeat(48));
    let mut lines = String::new();
    for cell in 0..COOKIES {
        let [a, b, c, d] = cell.to_le_bytes();
        writeln!(lines, "map update pinned {} key {a} {b} {c} {d} value {row}", path("cookies")).unwrap();
    }
    let file = world.write("cells", lines);
    bpftool(world, &["batch", "file", &file.display().to_string()]);
}

#[test]
fn sockets_that_find_no_place_are_steered_and_counted_alike() {
    let world = World::new();
    let (_direct, _versions) = (direct(), versions());
    let agent = start(&world, &[]);
    agent.apply(base(&[ONE, TWO]) + route(MESH_ROUTE, [50, 50]) + route(GATEWAY_ROUTE, [50, 50]));
    await_datapath(&agent, GATEWAY_ROUTE, "lookup");
    take_all_places(&world);
    let seen = inside(&world).ask(SERVICE, 200);
    assert_split(&seen.tally(), 0.5);
    assert_eq!(seen.peers.into_iter().collect::<Vec<_>>(), [SERVICE]);
    assert_split(&Location::Here.tally(ENTRANCE, 200), 0.5);
    await_counted(&agent, MESH_ROUTE, 200, 0);
    await_counted(&agent, GATEWAY_ROUTE, 200, 0);
}

#[test]
fn edits_under_thousands_of_connections_touch_none() {
    let figures = edits_under(700, 100);
    assert_eq!((figures.connections, figures.edits), (4_200, 100));
}

/// Run by `cargo xtask soak`, in release.
#[test]
#[ignore = "takes minutes: cargo xtask soak"]
fn soak_steer() {
    let Figures { connections, opened, edits, edited } = edits_under(16_700, 1_000);
    assert!(connections >= 100_000, "{connections}");
    let (opened, edited) = (opened.as_secs_f64(), edited.as_secs_f64());
    eprintln!(
        "{connections} connections were opened in {opened:.1} s and had {edits} edits in {edited:.1} s: none was touched"
    );
}
