//! A TCPRoute: its shares, and new ones in one word.

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{GATEWAY, tally};
use tcpshift_tests::routes::{entry, route, together};
use tcpshift_tests::server::Server;
use tcpshift_tests::share::assert_share;
use tcpshift_tests::world::World;

/// A Service for each version, and the listener.
fn ground() -> String {
    let service = |name: &str, version: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: tcp-echo, version: {version}}}\n  \
             ports: [{{name: tcp, port: 9000}}]\n"
        )
    };
    together(&[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: entrance}\nspec:\n  \
         gatewayClassName: tcpshift\n  listeners: [{name: tcp, protocol: TCP, port: 31400}]\n",
        &service("old", "v1"),
        &service("new", "v2"),
        &entry("v1", "v1", "127.0.0.1", 9000),
        &entry("v2", "v2", "127.0.0.1", 9100),
    ])
}

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: tcp-echo}\nspec:\n  \
                     parentRefs: [{name: entrance}]\n  rules:\n  - name: main\n    backendRefs:\n    - {name: old, port: 9000}\n    \
                     - {name: new, port: 9000}\n";

#[test]
fn shift_moves_the_connections_of_a_tcp_route() {
    let world = World::new();
    let _versions = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(&together(&[&ground(), ROUTE]));
    assert_share("weights that nobody wrote", tally(GATEWAY, 600)["two"], 600, 0.5);

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
        let tally = tally(GATEWAY, 800);
        assert_share(&format!("{words:?}"), tally.get("two").copied().unwrap_or_default(), 800, share);
        assert_eq!(tally.values().sum::<usize>(), tally["one"] + tally.get("two").copied().unwrap_or_default());
    }
    agent.cli(&["shift", "tcp-echo", "new=100"]).expect(0);
    assert_eq!(tally(GATEWAY, 200).get("two"), Some(&200), "all is all");

    agent.cli(&["shift", "tcp-echo", "v3=1"]).expect(1).complains("one more backendRef");
    agent.cli(&["shift", "tcp-echo", "new=1", "--rule", "other"]).expect(1).complains("0 (main)");
    agent.cli(&["shift", "nobody", "new=1"]).expect(1).complains("\"nobody\" not found");
    // As soon as a VirtualService has the name too, it takes the kind to tell them apart.
    agent.apply(&route(&[("v1", 1), ("v2", 0)]).replace("  name: tcp-echo\n", "  name: tcp-echo\n  namespace: prod\n"));
    agent.cli(&["shift", "tcp-echo", "new=1", "-n", "test"]).expect(1).complains("default, prod");
    agent.apply(&route(&[("v1", 1), ("v2", 0)]));
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
    let file = world.write("routes.yaml", together(&[&ground(), ROUTE]));
    let agent = Agent::start(&world, &[&file]);
    let answer = agent.cli(&["shift", "tcp-echo", "new=12.5"]).expect(1);
    for part in ["routes.yaml:", "write the weights there", "old:9000 8750, new:9000 1250"] {
        assert!(answer.stderr.contains(part), "{answer:?}");
    }
}
