//! Objects that an agent or a cluster prints can be given back, to whoever has them or not.

use serde_json::Value;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{GATEWAY, answers};
use tcpshift_tests::routes::{entry, ground, route, together};
use tcpshift_tests::server::Server;
use tcpshift_tests::world::World;

/// The example's route under another name, of a certain age.
fn aged(name: &str, year: u32, weights: &[(&str, u32)]) -> String {
    let metadata = format!("  name: {name}\n  creationTimestamp: \"{year}-01-02T03:04:05Z\"\n");
    route(weights).replace("  name: tcp-echo\n", &metadata)
}

/// All objects without the version that the store gave them.
fn without_versions(agent: &Agent<'_>) -> Vec<Value> {
    let mut objects = agent.objects("all");
    for object in &mut objects {
        object["metadata"].as_object_mut().expect("metadata").remove("resourceVersion").expect("a version");
    }
    objects
}

#[test]
fn a_backup_is_restored_into_an_empty_agent() {
    let world = World::new();
    let _versions = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    // Their names alone would have the younger one first.
    let (young, old) = (aged("a", 2024, &[("v1", 1)]), aged("b", 2020, &[("v2", 1)]));
    let far = entry("far", "v1", "192.0.2.1", 1).replace("{name: far}", "{name: far, namespace: prod}");
    agent.apply(&together(&[&ground(), &young, &old, &far]));
    assert_eq!(answers(GATEWAY, 5), ["two"; 5], "the older route has the port");
    let before = without_versions(&agent);
    let yaml = agent.cli(&["get", "-A", "-o", "yaml"]).expect(0).stdout;
    let json = agent.cli(&["get", "all", "-A", "-o", "json"]).expect(0).stdout;
    assert!(yaml.starts_with("apiVersion: v1\nitems:\n") && yaml.contains("\nkind: List\n"), "{yaml}");
    for text in [&yaml, &json] {
        for _ in 0..2 {
            let output = agent.apply(text);
            assert_eq!(output.stdout.lines().filter(|line| !line.ends_with(" unchanged")).count(), 0, "{output:?}");
            assert_eq!(output.stderr, "");
        }
    }
    drop(agent);

    for (name, text) in [("yaml", &yaml), ("json", &json)] {
        let agent = Agent::named::<&str>(&world, name, &[]);
        let output = agent.apply(text);
        let warnings: Vec<_> = output.stderr.lines().filter(|line| line.contains("resourceVersion")).collect();
        assert!(
            matches!(warnings[..], [line] if line.contains(&format!("warning: {} objects", before.len()))),
            "{output:?}"
        );
        assert_eq!(without_versions(&agent), before);
        assert_eq!(answers(GATEWAY, 5), ["two"; 5], "ages are restored too");
        // By now each has a version of this agent; the same once more is no change, whatever version it names.
        let output = agent.apply(text);
        assert!(output.stdout.lines().all(|line| line.ends_with(" unchanged")), "{output:?}");
        assert_eq!(output.stderr, "");
    }
}

#[test]
fn a_backup_does_not_undo_what_came_after_it_unless_by_force() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(&together(&[&ground(), &route(&[("v1", 80), ("v2", 20)])]));
    let backup = agent.cli(&["get", "-A", "-o", "yaml"]).expect(0).stdout;
    agent.cli(&["shift", "tcp-echo", "v2=30"]).expect(0);
    agent.apply(&entry("tcp-echo-v1", "v1", "127.0.0.9", 9000));
    agent.cli(&["delete", "dr", "tcp-echo-destination"]).expect(0);
    let (objects, generation) = (agent.objects("all"), agent.generation());
    let refused = agent.cli_with(&["apply", "-f", "-"], backup.as_bytes()).expect(1);
    let errors: Vec<_> = refused.stderr.lines().filter(|line| line.contains("metadata.resourceVersion: ")).collect();
    assert_eq!(errors.len(), 2, "{refused:?}");
    for (error, object) in errors.iter().zip(["VirtualService default/tcp-echo", "WorkloadEntry default/tcp-echo-v1"]) {
        assert!(error.starts_with("<stdin>:") && error.contains(object) && error.contains("--force"), "{error}");
    }
    refused.complains("2 problems; nothing is changed");
    agent.cli_with(&["preview", "-"], backup.as_bytes()).expect(1).complains("--force");
    let said = agent.cli_with(&["preview", "--force", "-"], backup.as_bytes()).expect(0).stdout;
    assert!(said.contains("10 % of clients move: v2 -> v1 10 %"), "{said}");
    let dry = agent.cli_with(&["apply", "--force", "--dry-run", "-f", "-"], backup.as_bytes()).expect(0).stdout;
    assert!(dry.ends_with(&said), "{dry}");
    assert_eq!((agent.objects("all"), agent.generation()), (objects, generation), "none of it is changed");

    let output = agent.cli_with(&["apply", "--force", "-f", "-"], backup.as_bytes()).expect(0);
    let done = |word: &str| output.stdout.lines().filter(|line| line.ends_with(word)).count();
    assert_eq!((done(" created"), done(" configured")), (1, 2), "{output:?}");
    assert_eq!(agent.destination("default/tcp-echo", "v2").slots, 2_000);
}

/// Two objects as `kubectl get -A -o yaml` prints them, among what tcpshift does not read.
fn of_a_cluster(weight: u32) -> String {
    let metadata = |name: &str, namespace: &str, uid: u32| {
        format!(
            "  metadata:\n    annotations:\n      kubectl.kubernetes.io/last-applied-configuration: |\n        \
             {{\"apiVersion\":\"networking.istio.io/v1alpha3\",\"kind\":\"Old\"}}\n    creationTimestamp: \"2023-11-05T10:20:30Z\"\n    \
             finalizers:\n    - example.com/hold\n    generation: 7\n    labels:\n      team: shop\n    managedFields:\n    \
             - apiVersion: networking.istio.io/v1\n      fieldsType: FieldsV1\n      fieldsV1:\n        f:spec: {{}}\n      \
             manager: kubectl\n      operation: Update\n      time: \"2024-01-01T00:00:00Z\"\n    name: {name}\n    \
             namespace: {namespace}\n    ownerReferences:\n    - apiVersion: example.com/v1\n      blockOwnerDeletion: true\n      \
             controller: true\n      kind: Shop\n      name: shop\n      uid: 1111-2222\n    resourceVersion: \"4821{uid}\"\n    \
             uid: 3333-{uid}\n"
        )
    };
    [
        "apiVersion: v1\nitems:\n",
        "- apiVersion: networking.istio.io/v1\n  kind: VirtualService\n",
        &metadata("shop", "shop", 1),
        "  spec:\n    gateways:\n    - shop/entrance\n    hosts:\n    - '*'\n    tcp:\n    - route:\n      - destination:\n          \
         host: till\n          port:\n            number: 9000\n        weight: ",
        &weight.to_string(),
        "\n  status: {}\n",
        "- apiVersion: v1\n  kind: Service\n",
        &metadata("till", "shop", 2),
        "  spec:\n    clusterIP: 10.96.7.7\n    clusterIPs:\n    - 10.96.7.7\n    internalTrafficPolicy: Cluster\n    ipFamilies:\n    \
         - IPv4\n    ipFamilyPolicy: SingleStack\n    ports:\n    - name: tcp\n      port: 9000\n      protocol: TCP\n      \
         targetPort: 9000\n    selector:\n      app: till\n    sessionAffinity: None\n    type: ClusterIP\n  status:\n    \
         loadBalancer: {}\n",
        "- apiVersion: v1\n  kind: Pod\n  metadata: {name: till-1, namespace: shop}\n  spec: {containers: []}\n",
        "- apiVersion: v1\n  kind: Pod\n  metadata: {name: till-2, namespace: shop}\n  spec: {containers: []}\n",
        "- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: till, namespace: shop}\n  spec: {replicas: 2}\n",
        "kind: List\nmetadata:\n  resourceVersion: \"\"\n",
    ]
    .concat()
}

#[test]
fn what_a_cluster_prints_is_applied() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    let output = agent.apply(&of_a_cluster(1));
    assert_eq!(output.stdout, "virtualservice.networking.istio.io/shop created\nservice/till created\n");
    let lines: Vec<_> = output.stderr.lines().filter(|line| !line.contains("entrance")).collect();
    let [version, passed_over] = lines[..] else { panic!("{output:?}") };
    assert!(
        version.contains("2 objects are not there yet") && version.contains("VirtualService shop/shop"),
        "{version}"
    );
    assert!(
        passed_over.contains("3 objects passed over") && passed_over.contains(": 2 pod, 1 deployment.apps"),
        "{passed_over}"
    );
    let metadata = &agent.objects("vs")[0]["metadata"];
    assert_eq!(
        (&metadata["namespace"], &metadata["creationTimestamp"]),
        (&"shop".into(), &"2023-11-05T10:20:30Z".into())
    );
    assert!(
        ["uid", "generation", "managedFields", "annotations"].iter().all(|name| metadata.get(name).is_none()),
        "{metadata}"
    );

    // Its versions count changes of the cluster, and say nothing of this agent's objects.
    let again = agent.apply(&of_a_cluster(1));
    assert!(again.stdout.lines().all(|line| line.ends_with(" unchanged")), "{again:?}");
    let refused = agent.cli_with(&["apply", "-f", "-"], of_a_cluster(2).as_bytes()).expect(1);
    refused
        .complains(
            "VirtualService shop/shop: metadata.resourceVersion: 48211 is another store's: the object has 1 here",
        )
        .complains("1 problem; nothing is changed");
    assert_eq!(agent.objects("vs")[0]["spec"]["tcp"][0]["route"][0]["weight"], 1);
    let forced = agent.cli_with(&["apply", "--force", "-f", "-"], of_a_cluster(2).as_bytes()).expect(0);
    assert!(forced.stdout.contains("virtualservice.networking.istio.io/shop configured\n"), "{forced:?}");
    let other = agent.cli_with(&["apply", "-n", "till", "-f", "-"], of_a_cluster(2).as_bytes()).expect(65);
    other.complains(
        "Service shop/till: metadata.namespace: the object is of namespace shop, the command of namespace till",
    );
}
