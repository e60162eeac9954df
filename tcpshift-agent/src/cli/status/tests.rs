//! What a person reads in `status`.

use super::*;
use crate::admin::api::{
    Achieved, BeforeStatus, DestinationStatus, EndpointStatus, LastFailureStatus, LimitStatus, ListenerStatus,
    RateStatus, RatesStatus, RouteStatus, Trouble,
};

fn destination(name: &str, weight: u64) -> DestinationStatus {
    DestinationStatus {
        name: name.to_owned(),
        weight,
        slots: u32::try_from(weight).unwrap() * 100,
        endpoints: 1,
        addresses: Vec::new(),
        by_endpoint: Vec::new(),
        unusable: None,
        opened: 203,
        opened_since_change: 203,
        achieved: Some(Achieved { share: 0.203, low: 0.181, high: 0.2271 }),
        active: 3,
        limit: None,
        failed: 0,
        failures: Vec::new(),
        ended: Vec::new(),
        steered: None,
        before: 0,
        bytes_sent: 0,
        bytes_received: 0,
        ready: Some(1),
        rates: RatesStatus::default(),
        last_failure: None,
    }
}

fn status() -> StatusReply {
    StatusReply {
        version: "0.1.0".to_owned(),
        pid: 12,
        uptime_seconds: 192,
        generation: 4,
        seed: 0x1f,
        digest: "8c5f27e0b1".to_owned(),
        sets: 9,
        datapath: "proxy".to_owned(),
        assignment: AssignmentStatus {
            by: "kernel".to_owned(),
            reason: String::new(),
            kernel: 406,
            agent: 0,
            steered: 0,
        },
        draining: false,
        labels: std::collections::BTreeMap::new(),
        objects: 5,
        listeners: vec![ListenerStatus {
            name: "default/tcp-echo-gateway:tcp".to_owned(),
            address: "[::]:31400".to_owned(),
            down: None,
            unrouted: 0,
            routes: vec![RouteStatus {
                name: "default/tcp-echo".to_owned(),
                steer_by: "connection".to_owned(),
                datapath: "proxy".to_owned(),
                reason: "nothing listens at 10.0.0.1:9000".to_owned(),
                destinations: vec![destination("tcp-echo:9000/v1", 80), destination("tcp-echo:9000/v2", 20)],
            }],
        }],
        retired_active: 0,
        before: None,
        trouble: Vec::new(),
        notes: Vec::new(),
    }
}

fn failed_ago(seconds: u64, reason: &str) -> LastFailureStatus {
    LastFailureStatus { at: "2026-01-02T03:04:05Z".to_owned(), seconds_ago: seconds, reason: reason.to_owned() }
}

fn trouble(reason: &str, count: u64) -> Trouble {
    Trouble { reason: reason.to_owned(), count }
}

#[test]
fn a_healthy_agent_is_short() {
    let expected = "\
agent 0.1.0, pid 12, up 3m12s, generation 4, 5 objects
datapath proxy, assignment kernel

default/tcp-echo-gateway:tcp at [::]:31400
datapath proxy: nothing listens at 10.0.0.1:9000
DESTINATION       SHARE  OPENED  ACHIEVED  ACTIVE  FAILED  HEALTH
default/tcp-echo:
tcp-echo:9000/v1  80 %   203     20.3 %    3       0       1/1
tcp-echo:9000/v2  20 %   203     20.3 %    3       0       1/1
";
    assert_eq!(text(&status(), false, false), expected);
    assert_eq!(text(&status(), false, true), format!("{expected}\n{}", paragraph(EXPLAINED, 0)));
}

#[test]
fn all_columns_are_wide() {
    let lines = text(&status(), true, false);
    let lines: Vec<_> = lines.lines().skip(5).map(|line| line.split("  ").map(str::trim).collect::<Vec<_>>()).collect();
    let cells =
        |line: &[&str]| line.iter().filter(|cell| !cell.is_empty()).map(ToString::to_string).collect::<Vec<_>>();
    let heading = "ROUTE DESTINATION WEIGHT SLOTS SHARE OPENED ACHIEVED ACTIVE FAILED ENDPOINTS HEALTH SINCE-CHANGE NEW/S \
                   STEER-BY DATAPATH";
    assert_eq!(cells(&lines[0]).join(" "), heading);
    let row =
        ["default/tcp-echo", "tcp-echo:9000/v1", "80", "8000", "80 %", "203", "20.3 % [18.1, 22.7]", "3", "0", "1"];
    assert_eq!(cells(&lines[1])[..10], row);
    assert_eq!(cells(&lines[1])[10..], ["1/1", "203", "0.0", "connection", "proxy"]);
}

/// A status in which everything is as long as it may be, and everything is wrong.
fn long() -> StatusReply {
    let mut status = status();
    let name = "a-namespace-with-a-long-name/".to_owned() + &"x".repeat(200);
    status.uptime_seconds = 7 * 3600 + 59 * 60;
    (status.generation, status.objects) = (u64::MAX, u64::MAX);
    status.datapath = "connect + lookup + proxy".to_owned();
    status.assignment.by = "agent".to_owned();
    status.assignment.reason = "this process lacks CAP_BPF, and what else it wants ".repeat(5);
    (status.assignment.steered, status.assignment.agent) = (u64::MAX / 2, u64::MAX / 4);
    status.draining = true;
    status.before = Some(BeforeStatus { agent: "pid 4194304".to_owned(), active: u64::MAX });
    status.retired_active = u64::MAX;
    status.notes = vec![format!("default/x: {}", "note ".repeat(40)), "z".repeat(300)];
    status.trouble = vec![trouble(&"no descriptors left ".repeat(6), 7)];
    let listener = &mut status.listeners[0];
    (listener.name, listener.address) = (name.clone(), "[fd00:1111:2222:3333:4444:5555:6666:7777]:65535".to_owned());
    listener.down = Some("port 31400 is served by nginx (pid 5) ".repeat(4));
    listener.unrouted = u64::MAX;
    let route = &mut listener.routes[0];
    route.name = name.clone();
    let mut to = destination(&name, 10);
    (to.slots, to.opened, to.active, to.failed) = (1_234, u64::MAX, 123_456_789, 999_999);
    (to.endpoints, to.ready, to.before) = (100_000, Some(99_999), u64::MAX);
    to.unusable = Some("no ReferenceGrant allows it".to_owned());
    to.failures = vec![trouble("no endpoint of the client's address family", 99_999); 7];
    to.last_failure = Some(failed_ago(7 * 86_400 + 23 * 3600, "no endpoint of the client's address family"));
    let rates = RateStatus { second: 123_456.7, ten: 123_456.7, minute: 123_456.7 };
    to.by_endpoint = vec![EndpointStatus {
        address: format!("unix:///{}", "y".repeat(100)),
        opened: u64::MAX,
        failed: u64::MAX,
        active: u64::MAX,
        unready: Some("nobody listens".to_owned()),
        rates: RatesStatus { opened: rates, failed: rates },
        last_failure: Some(failed_ago(8 * 365 * 86_400, "no endpoint of the client's address family")),
    }];
    route.destinations = vec![to; 2];
    let mut other = route.clone();
    (other.datapath, other.reason) = ("none".to_owned(), "a reason of many words ".repeat(9));
    listener.routes.push(other);
    status
}

#[test]
fn no_line_is_wider_than_a_screen() {
    for text in [text(&long(), false, true), of_routes(&long()), of_routes(&status()), text(&status(), false, true)] {
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?}\n{text}");
    }
    let text = text(&long(), false, true);
    for said in ["not served: port 31400", "draining", "still carried by the", "4194304)", "CAP_BPF", "7d23h ago"] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[test]
fn each_route_has_its_datapath() {
    let mut status = status();
    let routes = &mut status.listeners[0].routes;
    routes.push(RouteStatus { name: "default/other".to_owned(), ..routes[0].clone() });
    let why = "nothing listens at 10.0.0.1:9000";
    let narrow = text(&status, false, false);
    assert_eq!(narrow.matches(why).count(), 1, "{narrow}");
    let other = &mut status.listeners[0].routes[1];
    (other.datapath, other.reason) = ("lookup".to_owned(), String::new());
    for text in [text(&status, false, false), text(&status, true, false)] {
        for said in
            [format!("default/tcp-echo: datapath proxy: {why}\n"), "default/other: datapath lookup\n".to_owned()]
        {
            assert!(text.contains(&said), "{said:?} is not in\n{text}");
        }
    }
}

#[test]
fn who_decides_is_said() {
    let mut status = status();
    let second_line = |status: &StatusReply, wide| text(status, wide, false).lines().nth(1).unwrap().to_owned();
    let begin = "datapath proxy, assignment kernel";
    assert_eq!(second_line(&status, false), begin);
    assert_eq!(second_line(&status, true), format!("{begin}, 0 of 406 carried connections decided by the agent"));
    status.assignment.agent = 3;
    status.assignment.steered = 1;
    let all = format!("{begin}, 1 connection steered, 3 of 409 carried connections decided by the agent");
    assert_eq!(second_line(&status, true), all);
    status.assignment.agent = 0;
    assert_eq!(second_line(&status, false), format!("{begin}, 1 connection steered"));
    let reason = "this process lacks CAP_BPF".to_owned();
    status.assignment = AssignmentStatus { by: "agent".to_owned(), reason, kernel: 0, agent: 0, steered: 12 };
    let text = text(&status, false, false);
    let said = "assignment agent, 12 connections steered\nassignment by the agent: this process lacks CAP_BPF\n\n";
    assert!(text.contains(said), "{text}");
}

#[test]
fn a_weight_that_is_not_given_is_not_nothing() {
    let mut status = status();
    status.objects = 1;
    let destinations = &mut status.listeners[0].routes[0].destinations;
    destinations.truncate(1);
    (destinations[0].weight, destinations[0].slots, destinations[0].achieved) = (0, 10_000, None);
    let wide = text(&status, true, true);
    assert!(wide.contains("tcp-echo:9000/v1   -        10000   100 %"), "{wide}");
    assert!(wide.contains(", 1 object,") && !wide.contains("by chance"), "{wide}");
    assert!(of_routes(&status).contains("weight -, 10000 of 10000 slots: 100 %"));
}

#[test]
fn where_nothing_is_served_the_notes_say_why() {
    let mut status = status();
    status.listeners.clear();
    assert!(text(&status, false, true).contains("Nothing is served: apply a Gateway"));
    status.notes = vec!["Gateway default/x: no server fits".to_owned()];
    let text = text(&status, false, true);
    assert!(text.contains("the notes below say why") && !text.contains("apply a Gateway"), "{text}");
}

/// A status in which v2 has trouble.
fn troubled() -> StatusReply {
    let mut status = status();
    status.draining = true;
    status.retired_active = 1;
    status.notes = vec!["default/x: note\x1b".to_owned()];
    status.trouble = vec![trouble("no descriptors left", 7)];
    let listener = &mut status.listeners[0];
    listener.down = Some("port 31400 is served by nginx (pid 5)".to_owned());
    listener.unrouted = 4;
    let v2 = &mut listener.routes[0].destinations[1];
    v2.unusable = Some("no endpoint".to_owned());
    v2.achieved = None;
    v2.failures = vec![trouble("no endpoint", 3), trouble("connect timeout", 1)];
    v2.ended = vec![trouble("idle timeout", 5)];
    v2.limit = Some(LimitStatus { most: 50, carried: 7 });
    v2.last_failure = Some(failed_ago(3, "connect timeout"));
    status
}

#[test]
fn what_is_wrong_is_said() {
    let status = troubled();
    let wide = text(&status, true, true);
    for said in [
        "seed 0x1f, digest 8c5f27e0b1, draining\n",
        "not served: port 31400 is served by nginx (pid 5)\n",
        "4 connections reset: no rule fitted\n",
        "3s ago: connect timeout",
        "connection   proxy      no endpoint (3); connect timeout (1); 5 ended by idle timeout; \
         7 of maxConnections 50 in use\n",
        "\n1 connection still open to destinations",
        "Trouble:\n  no descriptors left (7)\n",
        "Notes:\n  default/x: note\u{fffd}\n",
    ] {
        assert!(wide.contains(said), "{said:?} is not in\n{wide}");
    }
    let narrow = text(&status, false, true);
    let v2 = "\
tcp-echo:9000/v2  20 %   203     -         3       0       1/1     3s ago
  no endpoint (3); connect timeout (1); 5 ended by idle timeout; 7 of
  maxConnections 50 in use
";
    assert!(narrow.contains(v2), "{narrow}");
}

#[test]
fn one_route_has_all_of_its_endpoints() {
    let mut status = troubled();
    let v1 = &mut status.listeners[0].routes[0].destinations[0];
    v1.rates.opened = RateStatus { second: 12.0, ten: 11.25, minute: 3.0 };
    (v1.endpoints, v1.before) = (2, 8);
    let endpoint = |address: &str| EndpointStatus { address: address.to_owned(), opened: 100, ..Default::default() };
    v1.by_endpoint = vec![endpoint("10.0.0.1:9000"), endpoint("10.0.0.2:9000")];
    v1.by_endpoint[1].unready = Some("nobody listens".to_owned());
    let text = of_routes(&status);
    for said in [
        "default/tcp-echo at default/tcp-echo-gateway:tcp, [::]:31400\n",
        "  weight 80, 8000 of 10000 slots: 80 %\n",
        "  achieved 20.3 % [18.1, 22.7]: 203 connections since the weights changed\n",
        "  203 opened, 3 active, 0 failed; 1/2 endpoints ready\n",
        "  CONNECTIONS A SECOND  1 s   10 s  60 s\n  new                   12.0  11.2  3.0\n",
        "  nobody listens at 10.0.0.2:9000; 8 more still carried by the agent before this\n  one\n",
        "  10.0.0.1:9000  100     0       0       0.0    ready\n",
        "  10.0.0.2:9000  100     0       0       0.0    -\n    nobody listens\n",
        "  last failure 3s ago: connect timeout\n",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[test]
fn a_route_is_found_by_its_name() {
    let named = |names: &[&str]| {
        let mut status = status();
        let route = &status.listeners[0].routes[0];
        let routes = names.iter().map(|name| RouteStatus { name: (*name).to_owned(), ..route.clone() });
        status.listeners[0].routes = routes.collect();
        status
    };
    let all =
        ["default/tcp-echo", "default/tcp-echo#1", "other/tcp-echo", "ServiceEntry default/tcp-echo", "default/x"];
    let found = |wanted: &str| {
        let mut status = named(&all);
        only(&mut status, wanted).ok()?;
        Some(status.listeners[0].routes.iter().map(|route| route.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(found("default/tcp-echo").unwrap(), all[..2]);
    assert_eq!(found("tcp-echo").unwrap(), all[..4]);
    assert_eq!(found("default/tcp-echo#1").unwrap(), all[1..2]);
    assert_eq!(found("ServiceEntry default/tcp-echo").unwrap(), all[3..4]);
    assert_eq!(found("echo"), None);
}

fn v2(listener: &mut ListenerStatus) -> &mut DestinationStatus {
    &mut listener.routes[0].destinations[1]
}

#[test]
fn a_refused_share_is_found() {
    let checked = |change: &dyn Fn(&mut ListenerStatus)| {
        let mut status = status();
        change(&mut status.listeners[0]);
        check::check(&status)
    };
    assert_eq!(checked(&|_| {}), ("no share is refused: 1 route".to_owned(), false));
    let no_endpoint = |listener: &mut ListenerStatus| v2(listener).unusable = Some("no endpoint".to_owned());
    let said = "refused: default/tcp-echo to tcp-echo:9000/v2 (20 %): no endpoint";
    assert_eq!(checked(&no_endpoint), (said.to_owned(), true));
    let no_share = |listener: &mut ListenerStatus| {
        no_endpoint(listener);
        v2(listener).slots = 0;
    };
    assert!(!checked(&no_share).1, "nobody is sent there");
    let silent = |listener: &mut ListenerStatus| {
        let to = v2(listener);
        to.ready = Some(0);
        let unready = Some("nobody listens".to_owned());
        to.by_endpoint = vec![EndpointStatus { address: "10.0.0.1:1".to_owned(), unready, ..Default::default() }];
    };
    assert!(checked(&silent).0.ends_with("(20 %): nobody listens at 10.0.0.1:1"));
    assert!(checked(&|listener| v2(listener).limit = Some(LimitStatus { most: 5, carried: 5 })).1);
    assert!(!checked(&|listener| v2(listener).limit = Some(LimitStatus { most: 5, carried: 4 })).1);
    let down = |listener: &mut ListenerStatus| listener.down = Some("port 31400 is taken".to_owned());
    assert_eq!(checked(&down).0, "refused: default/tcp-echo (100 %): port 31400 is taken");
    let handed_over = |listener: &mut ListenerStatus| {
        down(listener);
        listener.routes[0].datapath = "lookup".to_owned();
    };
    assert!(!checked(&handed_over).1);
    assert!(checked(&|listener| listener.routes[0].datapath = "none".to_owned()).1);
    let several = |listener: &mut ListenerStatus| {
        no_endpoint(listener);
        listener.routes[0].destinations[0].unusable = Some("unknown port".to_owned());
    };
    assert!(checked(&several).0.ends_with("unknown port; and 1 more"));
}
