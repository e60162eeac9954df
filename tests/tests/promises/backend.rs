//! A TCPRoute: its shares, and new ones in one word.

use serde_json::json;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, tally};
use tcpshift_tests::example::{entry, route};
use tcpshift_tests::objects::{Object, Objects, Other, object};
use tcpshift_tests::server::Server;
use tcpshift_tests::share::assert_share;
use tcpshift_tests::world::World;

/// The API group of the TCPRoute and its Gateway.
const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";

/// A Service for each version, with its endpoint, and the listener.
fn base() -> Objects {
    let listeners = json!([{ "name": "tcp", "protocol": "TCP", "port": 31_400 }]);
    let gateway = object(GATEWAY_API, "Gateway", "entrance").set("spec.gatewayClassName", "tcpshift");
    let service = |name: &str, version: &str| {
        let selector = json!({ "app": "tcp-echo", "version": version });
        let service = object("v1", "Service", name).set("spec.selector", selector);
        service.set("spec.ports", json!([{ "name": "tcp", "port": 9000 }]))
    };
    gateway.set("spec.listeners", listeners)
        + service("old", "v1")
        + service("new", "v2")
        + entry("v1", "v1", "127.0.0.1", 9000)
        + entry("v2", "v2", "127.0.0.1", 9100)
}

/// A TCPRoute that names no weights.
fn tcp_route() -> Object<Other> {
    let backends = ["old", "new"].map(|name| json!({ "name": name, "port": 9000 }));
    let route = object(GATEWAY_API, "TCPRoute", "tcp-echo").set("spec.parentRefs[0].name", "entrance");
    route.set("spec.rules[0]", json!({ "name": "main", "backendRefs": backends }))
}

#[test]
fn shift_moves_the_connections_of_a_tcp_route() {
    let world = World::new();
    let _versions = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + tcp_route());
    assert_share("weights that nobody wrote", tally(ENTRANCE, 600)["two"], 600, 0.5);

    let said = agent.cli(&["shift", "tcproute/tcp-echo", "new=20", "--dry-run"]).expect(0).stdout;
    assert!(said.starts_with("tcproute.gateway.networking.k8s.io/tcp-echo configured (dry run)\n"), "{said}");
    for part in ["\n  old:9000  50 % -> 80 %  (weight 80)\n  new:9000  50 % -> 20 %  (weight 20)\n", "30 % of clients"]
    {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(agent.objects("tcproute")[0]["spec"]["rules"][0]["backendRefs"][0].get("weight"), None);

    for (words, share) in [
        (&["tcproute/tcp-echo", "new=20"][..], 0.2),
        (&["tcp-echo", "old:9000=30", "--rule", "main"], 0.7),
        (&["tcp-echo", "default/new=2.5", "--rule", "0"], 0.025),
    ] {
        agent.cli(&[&["shift"], words].concat()).expect(0);
        let tally = tally(ENTRANCE, 800);
        assert_share(&format!("{words:?}"), tally.get("two").copied().unwrap_or_default(), 800, share);
        assert_eq!(tally.values().sum::<usize>(), tally["one"] + tally.get("two").copied().unwrap_or_default());
    }
    agent.cli(&["shift", "tcp-echo", "new=100"]).expect(0);
    assert_eq!(tally(ENTRANCE, 200).get("two"), Some(&200), "all is all");

    agent.cli(&["shift", "tcp-echo", "v3=1"]).expect(1).complains("one more backendRef");
    agent.cli(&["shift", "tcp-echo", "new=1", "--rule", "other"]).expect(1).complains("0 (main)");
    agent.cli(&["shift", "nobody", "new=1"]).expect(1).complains("\"nobody\" not found");
    // As soon as a VirtualService has the name too, it takes the kind to tell them apart.
    agent.apply(route(&[("v1", 1), ("v2", 0)]).namespace("prod"));
    agent.cli(&["shift", "tcp-echo", "new=1", "-n", "test"]).expect(1).complains("default, prod");
    agent.apply(route(&[("v1", 1), ("v2", 0)]));
    agent
        .cli(&["shift", "tcp-echo", "v2=1"])
        .expect(1)
        .complains("virtualservice.networking.istio.io/tcp-echo or tcproute.gateway.networking.k8s.io/tcp-echo");
    let weight = |kind: &str, list: &str, index: usize| {
        let object = agent.cli(&["get", kind, "tcp-echo", "-o", "json"]).expect(0).stdout;
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        object.pointer(&format!("/spec/{list}/{index}/weight")).and_then(serde_json::Value::as_u64)
    };
    assert_eq!(weight("tcproute", "rules/0/backendRefs", 1), Some(100), "what was refused changed nothing");
    agent.cli(&["shift", "virtualservice.networking.istio.io/tcp-echo", "v2=40"]).expect(0);
    assert_eq!((weight("vs", "tcp/0/route", 0), weight("vs", "tcp/0/route", 1)), (Some(60), Some(40)));
}

#[test]
fn a_route_of_a_file_is_shifted_in_its_file() {
    let world = World::new();
    let file = world.write("routes.yaml", (base() + tcp_route()).to_string());
    let agent = Agent::start(&world, &[&file]);
    let answer = agent.cli(&["shift", "tcp-echo", "new=12.5"]).expect(1);
    for part in ["routes.yaml:", "write the weights there", "old:9000 8750, new:9000 1250"] {
        assert!(answer.stderr.contains(part), "{answer:?}");
    }
}
