//! What a person reads in `status`.

use super::*;
use crate::admin::api::{Achieved, DestinationStatus, LimitStatus, ListenerStatus, RouteStatus};

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
        trouble: Vec::new(),
        notes: Vec::new(),
    }
}

#[test]
fn a_healthy_agent_is_short() {
    let expected = "\
agent 0.1.0, pid 12, up 3m12s, generation 4, datapath proxy, assignment kernel, 5 objects

default/tcp-echo-gateway:tcp at [::]:31400
datapath proxy: nothing listens at 10.0.0.1:9000
ROUTE              DESTINATION        WEIGHT   SLOTS   SHARE   OPENED   ACHIEVED              ACTIVE   FAILED   ENDPOINTS
default/tcp-echo   tcp-echo:9000/v1   80       8000    80 %    203      20.3 % [18.1, 22.7]   3        0        1
default/tcp-echo   tcp-echo:9000/v2   20       2000    20 %    203      20.3 % [18.1, 22.7]   3        0        1
";
    assert_eq!(text(&status(), false, false), expected);
    assert_eq!(text(&status(), false, true), format!("{expected}{EXPLAINED}"));
}

#[test]
fn each_route_has_its_datapath() {
    let mut status = status();
    let routes = &mut status.listeners[0].routes;
    routes.push(RouteStatus { name: "default/other".to_owned(), ..routes[0].clone() });
    let lines =
        |status: &StatusReply| text(status, false, false).lines().skip(3).map(str::to_owned).collect::<Vec<_>>();
    let why = "nothing listens at 10.0.0.1:9000";
    assert_eq!(lines(&status)[0], format!("datapath proxy: {why}"));
    assert!(lines(&status)[1].starts_with("ROUTE"), "{status:#?}");
    let other = &mut status.listeners[0].routes[1];
    (other.datapath, other.reason) = ("lookup".to_owned(), String::new());
    let expected = [format!("default/tcp-echo: datapath proxy: {why}"), "default/other: datapath lookup".to_owned()];
    assert_eq!(lines(&status)[..2], expected);
    (status.listeners[0].routes[1].datapath, status.listeners[0].routes[1].reason) =
        ("none".to_owned(), "no right".to_owned());
    assert!(lines(&status)[1].contains("datapath none") && lines(&status)[1].ends_with(": no right"));
}

#[test]
fn who_decides_is_said() {
    let mut status = status();
    let second_line = |status: &StatusReply, wide| text(status, wide, false).lines().nth(1).unwrap().to_owned();
    assert_eq!(second_line(&status, false), "");
    assert_eq!(second_line(&status, true), "0 of 406 carried connections decided by the agent");
    status.assignment.agent = 3;
    assert_eq!(second_line(&status, false), "3 of 409 carried connections decided by the agent");
    status.assignment.steered = 1;
    assert_eq!(second_line(&status, false), "1 connection steered, 3 of 409 carried connections decided by the agent");
    status.assignment.agent = 0;
    assert_eq!(second_line(&status, false), "1 connection steered");
    let reason = "this process lacks CAP_BPF".to_owned();
    status.assignment = AssignmentStatus { by: "agent".to_owned(), reason, kernel: 0, agent: 0, steered: 12 };
    let text = text(&status, true, false);
    assert!(text.contains(", assignment agent, 5 objects"), "{text}");
    assert!(
        text.contains("\nassignment by the agent: this process lacks CAP_BPF\n12 connections steered\n\n"),
        "{text}"
    );
}

#[test]
fn a_weight_that_is_not_given_is_not_nothing() {
    let mut status = status();
    status.objects = 1;
    let destinations = &mut status.listeners[0].routes[0].destinations;
    destinations.truncate(1);
    (destinations[0].weight, destinations[0].slots, destinations[0].achieved) = (0, 10_000, None);
    let text = text(&status, false, true);
    assert!(text.contains("tcp-echo:9000/v1   -        10000   100 %"), "{text}");
    assert!(text.contains(", 1 object\n") && !text.contains("by chance"), "{text}");
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

#[test]
fn what_is_wrong_is_said() {
    let mut status = status();
    status.draining = true;
    status.retired_active = 1;
    status.notes = vec!["default/x: note\x1b".to_owned()];
    status.trouble = vec![Trouble { reason: "no descriptors left".to_owned(), count: 7 }];
    let listener = &mut status.listeners[0];
    listener.down = Some("port 31400 is served by nginx (pid 5)".to_owned());
    listener.unrouted = 4;
    let v2 = &mut listener.routes[0].destinations[1];
    v2.unusable = Some("no endpoint".to_owned());
    v2.achieved = None;
    let failure = |reason: &str, count| Trouble { reason: reason.to_owned(), count };
    v2.failures = vec![failure("no endpoint", 3), failure("connect timeout", 1)];
    v2.ended = vec![failure("idle timeout", 5)];
    v2.limit = Some(LimitStatus { most: 50, carried: 7 });
    listener.routes.push(RouteStatus { destinations: vec![destination("b", 0)], ..listener.routes[0].clone() });
    listener.routes[1].destinations[0].unusable = Some("unknown port".to_owned());
    let text = text(&status, true, true);
    for said in [
        "seed 0x1f, digest 8c5f27e0b1, draining\n",
        "not served: port 31400 is served by nginx (pid 5)\n",
        "4 connections reset: no rule fitted\n",
        "SINCE-CHANGE   STEER-BY     DATAPATH   WHY\n",
        "connection   proxy      no endpoint (3); connect timeout (1); 5 ended by idle timeout; \
         7 of maxConnections 50 in use\n",
        "\n1 connection still open to destinations",
        "Trouble:\n  no descriptors left (7)\n",
        "connection   proxy      unknown port\n",
        "Notes:\n  default/x: note\u{fffd}\n",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}
