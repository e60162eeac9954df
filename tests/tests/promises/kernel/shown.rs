//! What `bpftool` shows of routes is what the route file says, before and after every edit, and whole at any moment.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

use serde_json::{Value, json};
use tcpshift_common::SLOTS;
use tcpshift_tests::admin::{documents, request};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::example::{entry, example_objects, route_of, rule};
use tcpshift_tests::maps::{dump, ours, pinned};
use tcpshift_tests::objects::{Object, Objects, VirtualService, destination_rule, gateway};
use tcpshift_tests::world::World;

use super::start;

/// The ports that are served.
const PORTS: [u16; 3] = [31_400, 31_401, 31_402];

/// The subsets of the service, and where their endpoints are.
const SUBSETS: [(&str, &[&str]); 3] =
    [("v1", &["127.0.0.1", "::1"]), ("v2", &["127.0.0.2"]), ("v3", &["::1", "127.0.0.3", "127.0.0.4"])];

/// A destination as an administrator reads it: listener, route, destination, weight, slots.
type Row = (String, String, String, u64, u64);

/// Service, endpoints, listeners and subsets.
fn base() -> Objects {
    let gateway = gateway("tcp-echo-gateway").ports(PORTS);
    let mut subsets = destination_rule("tcp-echo", "tcp-echo");
    let mut entries = Objects::default();
    for (subset, addresses) in SUBSETS {
        subsets = subsets.subset(subset);
        for (number, address) in addresses.iter().enumerate() {
            entries = entries + entry(&format!("{subset}-{number}"), subset, address, 9100);
        }
    }
    example_objects("services.yaml") + entries + gateway + subsets
}

/// Two rules of one route, at different ports.
fn two_rules(first: &[(&str, u32)], second: &[(&str, u32)]) -> Object<VirtualService> {
    route_of([rule(first).when("port", 31_400), rule(second).when("port", 31_401)])
}

/// A route of its own at the third port.
fn other(weights: &[(&str, u32)]) -> Object<VirtualService> {
    let route = route_of([rule(weights).when("port", 31_402)]).named("other");
    route.annotation("tcpshift.io/steer-by", "sequence")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// The values of `destinations`, in order. A table has at least one row; without a route, its fields are empty.
#[track_caller]
fn destinations(world: &World) -> Vec<Value> {
    let rows = dump(world, "destinations").into_iter().map(|mut row| row["value"].take());
    rows.filter(|row| row["route"] != "").collect()
}

fn row(value: &Value) -> Row {
    let [listener, route, name] = ["listener", "route", "name"].map(|field| text(&value[field]));
    (listener, route, name, number(&value["weight"]), number(&value["slots"]))
}

/// How many slots of a route's table belong to each destination, by its index; it has 10,000, or it is no table.
#[track_caller]
fn slots_by_index(world: &World, route: u64) -> BTreeMap<u64, u64> {
    let rows = dump(world, &format!("slots/{route}"));
    let slots = rows[0]["value"]["slots"].as_array().unwrap_or_else(|| panic!("no slots: {:?}", rows[0]));
    assert_eq!((rows.len(), slots.len()), (1, SLOTS as usize));
    let mut counts = BTreeMap::new();
    for index in slots {
        *counts.entry(number(index)).or_default() += 1;
    }
    counts
}

/// The addresses of an endpoint set, which is found as a program finds it.
#[track_caller]
fn endpoints(world: &World, set: u64) -> Vec<String> {
    let begins = number(&dump(world, "sets")[set as usize]["value"]);
    let (chunk, header) = (begins >> 32, (begins & u64::from(u32::MAX)) as usize);
    let rows = dump(world, &format!("endpoints-{chunk}"));
    let count = number(&rows[header]["value"]["set"]["decides"]["endpoints"]) as usize;
    let address = |row: &Value| {
        let endpoint = &row["value"]["endpoint"];
        let [high, low] = ["high", "low"].map(|half| number(&endpoint["address"][half]));
        let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).to_canonical();
        SocketAddr::new(ip, number(&endpoint["port"]) as u16).to_string()
    };
    rows[header + 1..][..count].iter().map(address).collect()
}

/// What status says of the same.
fn in_status(agent: &Agent<'_>) -> Vec<(Row, Vec<String>)> {
    let mut rows = Vec::new();
    for listener in agent.status().listeners {
        for route in listener.routes {
            for to in route.destinations {
                let row = (listener.address.clone(), route.name.clone(), to.name, to.weight, to.slots.into());
                rows.push((row, to.addresses));
            }
        }
    }
    rows
}

/// One rule as it is expected: its port, the name of its route, and subset, weight and slots of its destinations.
type Expected<'a> = (u16, &'a str, &'a [(&'a str, u64, u64)]);

/// Looks at everything that `bpftool` shows of routes.
#[track_caller]
fn assert_shown(world: &World, agent: &Agent<'_>, expected: &[Expected<'_>]) {
    let shown = destinations(world);
    let rows: Vec<Row> = shown.iter().map(row).collect();
    let of_file = expected.iter().flat_map(|(port, route, destinations)| {
        destinations.iter().map(move |(subset, weight, slots)| {
            let name = format!("tcp-echo.default.svc.cluster.local:9000/{subset}");
            (format!("[::]:{port}"), format!("default/{route}"), name, *weight, *slots)
        })
    });
    assert_eq!(rows, of_file.collect::<Vec<_>>(), "bpftool and the route file");
    let status = in_status(agent);
    assert_eq!(rows, status.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>(), "bpftool and status");

    for (value, (_, addresses)) in shown.iter().zip(&status) {
        assert_eq!(endpoints(world, number(&value["row"]["set"])), *addresses, "{value}");
    }

    let mut tables: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
    for value in &shown {
        let table = tables.entry(number(&value["route_number"])).or_default();
        table.insert(table.len() as u64, number(&value["slots"]));
    }
    assert_eq!(tables.len(), expected.len(), "each rule has a number");
    for (route, mut table) in tables.clone() {
        assert_eq!(table.values().sum::<u64>(), u64::from(SLOTS), "route {route}");
        table.retain(|_, slots| *slots > 0);
        assert_eq!(slots_by_index(world, route), table, "slots/{route}");
    }
    let files: Vec<String> =
        pinned(world).iter().filter_map(|path| path.strip_prefix(&ours("slots/")).map(str::to_owned)).collect();
    let mut numbers: Vec<String> = tables.keys().map(u64::to_string).collect();
    numbers.sort();
    assert_eq!(files, numbers, "a table for each route, and none besides");
}

#[test]
fn what_bpftool_shows_is_the_route_file() {
    let world = World::new();
    let agent = start(&world);
    assert_shown(&world, &agent, &[]);
    agent.apply(base());
    assert_shown(&world, &agent, &[]);

    agent.apply(
        two_rules(&[("v1", 80), ("v2", 20)], &[("v1", 0), ("v2", 100)]) + other(&[("v1", 50), ("v2", 30), ("v3", 20)]),
    );
    let second: Expected<'_> = (31_401, "tcp-echo#1", &[("v1", 0, 0), ("v2", 100, 10_000)]);
    let third: Expected<'_> = (31_402, "other", &[("v1", 50, 5_000), ("v2", 30, 3_000), ("v3", 20, 2_000)]);
    assert_shown(&world, &agent, &[(31_400, "tcp-echo", &[("v1", 80, 8_000), ("v2", 20, 2_000)]), second, third]);

    agent.cli(&["shift", "vs/tcp-echo", "v2=30", "--rule", "0"]).expect(0);
    assert_shown(&world, &agent, &[(31_400, "tcp-echo", &[("v1", 70, 7_000), ("v2", 30, 3_000)]), second, third]);

    // Weights need not sum up to a hundred, destinations come and go, and one alone has all.
    agent.apply(two_rules(&[("v3", 1), ("v1", 2), ("v2", 5)], &[("v3", 7)]));
    let first: Expected<'_> = (31_400, "tcp-echo", &[("v3", 1, 1_250), ("v1", 2, 2_500), ("v2", 5, 6_250)]);
    assert_shown(&world, &agent, &[first, (31_401, "tcp-echo#1", &[("v3", 7, 10_000)]), third]);

    agent.cli(&["delete", "vs", "other"]).expect(0);
    assert_shown(&world, &agent, &[first, (31_401, "tcp-echo#1", &[("v3", 7, 10_000)])]);
    // The number of the deleted route is used again, and an endpoint goes: shares stay.
    agent.apply(other(&[("v1", 100), ("v2", 0)]));
    agent.cli(&["delete", "we", "v1-1"]).expect(0);
    let third: Expected<'_> = (31_402, "other", &[("v1", 100, 10_000), ("v2", 0, 0)]);
    assert_shown(&world, &agent, &[first, (31_401, "tcp-echo#1", &[("v3", 7, 10_000)]), third]);

    let agent = agent.kill_and_restart();
    assert_shown(&world, &agent, &[first, (31_401, "tcp-echo#1", &[("v3", 7, 10_000)]), third]);

    agent.cli(&["delete", "vs", "tcp-echo", "other"]).expect(0);
    assert_shown(&world, &agent, &[]);
}

/// Looks at the destinations, and at the slots of a route: each for itself, since there may be an edit between.
#[track_caller]
fn assert_whole(world: &World, route: u64) {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (_, route, _, _, slots) in destinations(world).iter().map(row) {
        *sums.entry(route).or_default() += slots;
    }
    assert_eq!(sums.len(), 3, "{sums:?}");
    assert!(sums.values().all(|sum| *sum == u64::from(SLOTS)), "{sums:?}");
    let counts = slots_by_index(world, route);
    assert!(counts.keys().all(|index| *index < 3), "slots/{route}: {counts:?}");
}

#[test]
fn no_table_is_ever_seen_half_written() {
    let world = World::new();
    let agent = start(&world);
    let edited = |edit: u32| {
        let v2 = edit % 101;
        match edit % 3 {
            0 => two_rules(&[("v1", 100 - v2), ("v2", v2)], &[("v3", 7)]),
            // Destinations come and go too.
            1 => two_rules(&[("v1", 7), ("v2", 1)], &[("v1", 3), ("v2", 1 + v2), ("v3", 9)]),
            _ => other(&[("v2", 1 + v2), ("v3", 5)]),
        }
    };
    agent.apply(base());
    agent.apply(edited(0) + edited(2));
    let numbers: Vec<u64> = destinations(&world).iter().map(|row| number(&row["route_number"])).collect();
    let (socket, mut looks) = (agent.socket(), 0);
    std::thread::scope(|scope| {
        let editor = scope.spawn(|| {
            for edit in 1..=1_000 {
                let answer = if edit % 6 == 5 {
                    let shares = json!([{ "subset": "v2", "slots": edit % 101 * 100 }]);
                    let shift = json!({ "object": { "kind": "vs", "name": "other" }, "shares": shares });
                    request(&socket, "POST", "/v1/shift", Some(&shift))
                } else {
                    request(&socket, "POST", "/v1/apply", Some(&documents(edited(edit))))
                };
                let answer = answer.unwrap();
                assert_eq!(answer.status, 200, "edit {edit}: {}", answer.body);
            }
        });
        while !editor.is_finished() {
            assert_whole(&world, numbers[looks % numbers.len()]);
            looks += 1;
        }
    });
    assert!(looks > 50, "{looks} looks");
    assert!(agent.generation() > 900);
}
