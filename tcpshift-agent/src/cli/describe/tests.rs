//! Descriptions of objects of each kind, with a fixed plan.

use serde_json::json;

use super::*;
use crate::admin::api::{DestinationStatus, EndpointStatus, RouteStatus};

fn endpoint(address: &str, [opened, failed, active]: [u64; 3]) -> EndpointStatus {
    EndpointStatus { address: address.to_owned(), opened, failed, active, ..EndpointStatus::default() }
}

fn destination(subset: &str, address: Option<&str>) -> DestinationStatus {
    DestinationStatus {
        name: format!("echo.default.svc.cluster.local:9000/{subset}"),
        weight: 50,
        slots: 5_000,
        endpoints: 1,
        addresses: address.map(str::to_owned).into_iter().collect(),
        by_endpoint: address.map(|address| endpoint(address, [12, 1, 3])).into_iter().collect(),
        unusable: address.is_none().then(|| "no endpoint".to_owned()),
        opened: 0,
        opened_since_change: 0,
        achieved: None,
        active: 0,
        limit: None,
        before: 0,
        bytes_sent: 0,
        bytes_received: 0,
        ready: Some(1),
        rates: crate::admin::api::RatesStatus::default(),
        last_failure: None,
        failed: 0,
        failures: Vec::new(),
        ended: Vec::new(),
        steered: None,
    }
}

fn plan() -> Vec<ListenerStatus> {
    let route = |name: &str| RouteStatus {
        name: name.to_owned(),
        steer_by: "connection".to_owned(),
        datapath: "proxy".to_owned(),
        reason: String::new(),
        destinations: vec![destination("v1", Some("10.0.0.1:9000")), destination("v2", None)],
    };
    vec![ListenerStatus {
        name: "default/gate:tcp".to_owned(),
        address: "[::]:31400".to_owned(),
        down: Some("taken".to_owned()),
        unrouted: 0,
        routes: vec![route("default/echo"), route("default/echo#1"), route("default/other")],
    }]
}

fn of(kind: Kind, spec: Value, name: &str) -> Description {
    let metadata = json!({"name": name, "namespace": "default", "annotations": {"a": "b"}, "creationTimestamp": "2020-01-01T00:00:00Z"});
    let mut object = json!({"apiVersion": "g/v1", "kind": kind.name(), "metadata": metadata});
    object["spec"] = spec;
    let listeners = part::of(kind, &object, &EntryUsers::default(), &plan());
    Description {
        kind,
        item: Item { object, origin: "a.yaml:1".to_owned() },
        listeners,
        notes: vec!["VirtualService default/echo: a note".to_owned()],
        neighbours: vec!["service/echo".to_owned()],
    }
}

fn shape(description: &Description) -> (usize, usize) {
    let routes = description.listeners.iter().flat_map(|listener| &listener.routes);
    (routes.clone().count(), routes.flat_map(|route| &route.destinations).count())
}

#[test]
fn each_kind_finds_its_part_of_the_plan() {
    assert_eq!(shape(&of(Kind::VirtualService, json!({}), "echo")), (2, 4));
    assert_eq!(shape(&of(Kind::VirtualService, json!({}), "ech")), (0, 0));
    assert_eq!(shape(&of(Kind::Gateway, json!({}), "gate")), (3, 6));
    assert_eq!(shape(&of(Kind::DestinationRule, json!({"host": "echo"}), "x")), (3, 6));
    assert_eq!(shape(&of(Kind::DestinationRule, json!({"host": "*.svc.cluster.local"}), "x")), (3, 6));
    assert_eq!(shape(&of(Kind::Service, json!({}), "echo")), (3, 6));
    assert_eq!(shape(&of(Kind::ServiceEntry, json!({"hosts": ["Echo.default.svc.cluster.local"]}), "x")), (3, 6));
    let slice = |ip: &str| json!({"kind": "EndpointSlice", "endpoints": [{"addresses": [ip]}]});
    assert_eq!(part::of(Kind::EndpointSlice, &slice("10.0.0.1"), &EntryUsers::default(), &plan())[0].routes.len(), 3);
    assert!(part::of(Kind::EndpointSlice, &slice("10.0.0.2"), &EntryUsers::default(), &plan()).is_empty());
    assert_eq!(shape(&of(Kind::WorkloadEntry, json!({"address": "10.0.0.1"}), "x")), (0, 0), "nothing selects it");
}

#[test]
fn a_route_is_told_whole() {
    let to = |subset: &str| json!({"destination": {"host": "echo", "port": {"number": 9000}, "subset": subset}, "weight": 50});
    let spec = json!({"hosts": ["*"], "gateways": ["gate"], "tcp": [{"match": [{"port": 31400}], "route": [to("v1"), to("v2")]}]});
    let text = of(Kind::VirtualService, spec, "echo").text();
    for said in [
        "Name:         echo\n",
        "Labels:       <none>\n",
        "Annotations:  a=b\n",
        "Origin:       a.yaml:1\n",
        "Rules:        tcp[0] port 31400 -> echo:9000/v1=50, echo:9000/v2=50\n",
        "default/gate:tcp at [::]:31400\nnot served: taken\n",
        "\nEndpoints:\n  echo.default.svc.cluster.local:9000/v1:\n    \
         ADDRESS         OPENED   FAILED   ACTIVE\n    10.0.0.1:9000   12       1        3\n",
        "  echo.default.svc.cluster.local:9000/v2: no endpoint\n",
        "Notes:\n  VirtualService default/echo: a note\n",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[test]
fn every_kind_can_be_told_from_nothing() {
    for kind in Kind::ALL {
        let text = of(kind, json!({}), "x").text();
        assert!(text.contains("In the plan:  <nothing>\n"), "{text}");
    }
}

#[test]
fn ties_are_by_all_labels() {
    let workload = json!({"spec": {"labels": {"app": "echo", "version": "v1"}}});
    let service = |selector: Value| json!({"spec": {"selector": selector}});
    let tied = |service: &Value| saying::tied(Kind::WorkloadEntry, &workload, Kind::Service, service);
    assert!(tied(&service(json!({"app": "echo"}))));
    assert!(!tied(&service(json!({"app": "echo", "x": "y"}))));
    assert!(!tied(&service(json!({}))));
}

#[test]
fn a_note_names_its_object_whole() {
    let key = "VirtualService default/echo";
    assert!(names("VirtualService default/echo: x", key));
    assert!(names("served by the older VirtualService default/echo.", key));
    assert!(!names("VirtualService default/echo-2: x", key));
    assert!(!names("VirtualService default/echo.x: x", key));
}
