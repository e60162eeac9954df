//! Objects that an agent or a cluster prints can be applied again, to an agent that has them and to one that has not.

use serde_json::{Value, json};
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, answers};
use tcpshift_tests::example::{base, entry, route};
use tcpshift_tests::objects::{Object, VirtualService};
use tcpshift_tests::server::Server;
use tcpshift_tests::world::World;

/// The example's route under another name, of a certain age.
fn aged(name: &str, year: u32, weights: &[(&str, u32)]) -> Object<VirtualService> {
    route(weights).named(name).created(&format!("{year}-01-02T03:04:05Z"))
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
    let far = entry("far", "v1", "192.0.2.1", 1).namespace("prod");
    agent.apply(base() + young + old + far);
    assert_eq!(answers(ENTRANCE, 5), ["two"; 5], "the older route has the port");
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
        assert_eq!(answers(ENTRANCE, 5), ["two"; 5], "ages are restored too");
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
    agent.apply(base() + route(&[("v1", 80), ("v2", 20)]));
    let backup = agent.cli(&["get", "-A", "-o", "yaml"]).expect(0).stdout;
    agent.cli(&["shift", "tcp-echo", "v2=30"]).expect(0);
    agent.apply(entry("tcp-echo-v1", "v1", "127.0.0.9", 9000));
    agent.cli(&["delete", "--force", "dr", "tcp-echo-destination"]).expect(0);
    let (objects, generation) = (agent.objects("all"), agent.generation());
    let refused = agent.cli_with(&["apply", "-f", "-"], &backup).expect(1);
    let errors: Vec<_> = refused.stderr.lines().filter(|line| line.contains("metadata.resourceVersion: ")).collect();
    assert_eq!(errors.len(), 2, "{refused:?}");
    for (error, object) in errors.iter().zip(["VirtualService default/tcp-echo", "WorkloadEntry default/tcp-echo-v1"]) {
        assert!(error.starts_with("<stdin>:") && error.contains(object) && error.contains("--force"), "{error}");
    }
    refused.complains("2 problems; nothing is changed");
    agent.cli_with(&["preview", "-"], &backup).expect(1).complains("--force");
    let said = agent.cli_with(&["preview", "--force", "-"], &backup).expect(0).stdout;
    assert!(said.contains("10 % of clients move: v2 -> v1 10 %"), "{said}");
    let dry = agent.cli_with(&["apply", "--force", "--dry-run", "-f", "-"], &backup).expect(0).stdout;
    assert!(dry.ends_with(&said), "{dry}");
    assert_eq!((agent.objects("all"), agent.generation()), (objects, generation), "none of it is changed");

    let output = agent.cli_with(&["apply", "--force", "-f", "-"], &backup).expect(0);
    let done = |word: &str| output.stdout.lines().filter(|line| line.ends_with(word)).count();
    assert_eq!((done(" created"), done(" configured")), (1, 2), "{output:?}");
    assert_eq!(agent.destination("default/tcp-echo", "v2").slots, 2_000);
}

/// What an API server adds to the metadata of an object.
fn metadata_of_a_cluster(name: &str, number: u32) -> Value {
    json!({
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration":
                "{\"apiVersion\":\"networking.istio.io/v1alpha3\",\"kind\":\"Old\"}\n",
        },
        "creationTimestamp": "2023-11-05T10:20:30Z",
        "finalizers": ["example.com/hold"],
        "generation": 7,
        "labels": { "team": "shop" },
        "managedFields": [{
            "apiVersion": "networking.istio.io/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": {} },
            "manager": "kubectl",
            "operation": "Update",
            "time": "2024-01-01T00:00:00Z",
        }],
        "name": name,
        "namespace": "shop",
        "ownerReferences": [{
            "apiVersion": "example.com/v1",
            "blockOwnerDeletion": true,
            "controller": true,
            "kind": "Shop",
            "name": "shop",
            "uid": "1111-2222",
        }],
        "resourceVersion": format!("4821{number}"),
        "uid": format!("3333-{number}"),
    })
}

/// Two objects as `kubectl get -A -o yaml` prints them, among objects of kinds that tcpshift does not read.
fn of_a_cluster(weight: u32) -> String {
    let route = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": metadata_of_a_cluster("shop", 1),
        "spec": {
            "gateways": ["shop/entrance"],
            "hosts": ["*"],
            "tcp": [{ "route": [{ "destination": { "host": "till", "port": { "number": 9000 } }, "weight": weight }] }],
        },
        "status": {},
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata_of_a_cluster("till", 2),
        "spec": {
            "clusterIP": "10.96.7.7",
            "clusterIPs": ["10.96.7.7"],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{ "name": "tcp", "port": 9000, "protocol": "TCP", "targetPort": 9000 }],
            "selector": { "app": "till" },
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": { "loadBalancer": {} },
    });
    let other = |version: &str, kind: &str, name: &str, spec: Value| {
        let metadata = json!({ "name": name, "namespace": "shop" });
        json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec })
    };
    let pod = |name: &str| other("v1", "Pod", name, json!({ "containers": [] }));
    let deployment = other("apps/v1", "Deployment", "till", json!({ "replicas": 2 }));
    let list = json!({
        "apiVersion": "v1",
        "items": [route, service, pod("till-1"), pod("till-2"), deployment],
        "kind": "List",
        "metadata": { "resourceVersion": "" },
    });
    serde_yaml::to_string(&list).unwrap()
}

#[test]
fn what_a_cluster_prints_is_applied() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    let output = agent.apply(of_a_cluster(1));
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

    // resourceVersions of a cluster do not refer to this agent's objects.
    let again = agent.apply(of_a_cluster(1));
    assert!(again.stdout.lines().all(|line| line.ends_with(" unchanged")), "{again:?}");
    let refused = agent.cli_with(&["apply", "-f", "-"], of_a_cluster(2)).expect(1);
    refused
        .complains(
            "VirtualService shop/shop: metadata.resourceVersion: 48211 is another store's: the object has 1 here",
        )
        .complains("1 problem; nothing is changed");
    assert_eq!(agent.objects("vs")[0]["spec"]["tcp"][0]["route"][0]["weight"], 1);
    let forced = agent.cli_with(&["apply", "--force", "-f", "-"], of_a_cluster(2)).expect(0);
    assert!(forced.stdout.contains("virtualservice.networking.istio.io/shop configured\n"), "{forced:?}");
    let other = agent.cli_with(&["apply", "-n", "till", "-f", "-"], of_a_cluster(2)).expect(65);
    other.complains(
        "Service shop/till: metadata.namespace: the object is of namespace shop, the command of namespace till",
    );
}
