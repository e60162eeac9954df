//! Which connections are meant: by route, destination and endpoint; and what is said of names that are not there.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::steer::{ENTRANCE, GATEWAY_ROUTE, versions};
use tcpshift_tests::world::World;

use super::{Way, clients, close, list, route};

#[test]
fn connections_are_listed_by_route_destination_and_endpoint() {
    for way in Way::ALL {
        let world = World::new();
        let _versions = versions();
        let agent = way.start(&world, [100, 0]);
        let ones = clients(ENTRANCE, 3);
        agent.apply(route(GATEWAY_ROUTE, [0, 100]));
        let twos = clients(ENTRANCE, 5);
        let count = |words: &[&str]| list(&agent, words).total;
        for route in ["default/entrance", "vs/entrance", "entrance"] {
            assert_eq!((count(&[route]), count(&[route, "--destination", "v1"])), (8, 3), "{route}");
        }
        for two in ["v2", "echo.example.com:9000/v2", "echo.example.com/v2"] {
            assert_eq!(count(&["--destination", two]), 5, "{two}");
        }
        for both in ["echo.example.com", "echo.example.com:9000"] {
            assert_eq!(count(&["--destination", both]), 8, "{both}");
        }
        for (endpoint, expected) in [("127.0.0.1:9001", 3), ("127.0.0.1:9002", 5), ("127.0.0.1", 8)] {
            assert_eq!(count(&["--endpoint", endpoint]), expected, "{endpoint}");
        }
        assert_eq!(count(&["--endpoint", "127.0.0.1:9001", "--destination", "v2"]), 0);
        drop((ones, twos));
    }
}

#[test]
fn names_that_are_not_there_are_errors_with_a_cure() {
    let world = World::new();
    let _versions = versions();
    let agent = Way::Carried.start(&world, [50, 50]);
    let _clients = clients(ENTRANCE, 2);
    let fails = |words: &[&str], cure: &str| {
        for command in [&["connections"][..], &["connections", "close"]] {
            agent.cli(&[command, words].concat()).expect(1).complains(cure);
        }
    };
    fails(&["default/entrence"], "no route is called \"default/entrence\"; did you mean \"default/entrance\"?");
    fails(&["vs/entrance", "-n", "other"], "there are: default/entrance");
    fails(&["--destination", "stable"], "echo.example.com:9000/v1, echo.example.com:9000/v2");
    fails(&["--endpoint", "10.0.0.1"], "127.0.0.1:9001");
    agent.cli(&["connections", "close"]).expect(2).complains("--all");
    agent.cli(&["connections", "close", "--all", "default/entrance"]).expect(2);
    let answer = agent.request("POST", "/v1/connections/close", Some(&serde_json::json!({})));
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(list(&agent, &[]).total, 2, "nothing was ended");
}

#[test]
fn a_program_reads_one_connection_a_line() {
    let world = World::new();
    let _versions = versions();
    let agent = Way::Carried.start(&world, [100, 0]);
    let clients = clients(ENTRANCE, 3);
    let table = agent.cli(&["connections"]).expect(0).stdout;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..5], ["CLIENT", "ROUTE", "DESTINATION", "ENDPOINT", "DATAPATH"]);
    assert_eq!(rows.len(), 4, "{table}");
    for client in &clients {
        let address = client.local_addr().unwrap().to_string();
        let row = rows.iter().find(|row| row[0] == address).unwrap_or_else(|| panic!("{address} is not in {table}"));
        assert_eq!(row[1..6], ["default/entrance", "echo.example.com:9000/v1", "127.0.0.1:9001", "proxy", "open"]);
        assert_eq!((row.len(), row[8], row[9]), (10, "6", "10"));
    }
}

/// What no route leads to any more has its name as long as it has connections.
#[test]
fn a_destination_that_is_gone_is_listed_and_ended_by_its_name() {
    for way in Way::ALL {
        let world = World::new();
        let _versions = versions();
        let agent = way.start(&world, [100, 0]);
        let ones = clients(ENTRANCE, 4);
        let names = || {
            let listed = list(&agent, &["--destination", "v1"]).connections;
            assert_eq!(listed.len(), 4, "{listed:?}");
            let one = &listed[0];
            (one.route.clone().unwrap(), one.destination.clone().unwrap(), one.endpoint.clone().unwrap())
        };
        let before = names();
        replace_v1(&agent);
        assert_eq!(names(), before);
        let twos = clients(ENTRANCE, 2);
        let closed = close(&agent, &["default/entrance", "--destination", "v1"]);
        assert_eq!(closed.carried + closed.steered, 4, "{closed:?}");
        super::await_listed(&agent, &[], 2);
        agent.cli(&["connections", "--destination", "v1"]).expect(1);
        drop((ones, twos));
    }
}

/// Leads the route to v2 alone, and takes the endpoint of v1 away.
fn replace_v1(agent: &Agent<'_>) {
    use tcpshift_tests::objects::virtual_service;
    let alone = virtual_service("entrance").to("echo.example.com/v2", 1).at("entrance");
    agent.apply(super::base(&[super::TWO]) + alone);
}
