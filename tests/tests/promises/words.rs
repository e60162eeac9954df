//! The command line: kubectl's words, columns and short names, exit codes, and JSON everywhere.

use serde_json::{Value, json};
use tcpshift_tests::agent::{Agent, cli, socket_word};
use tcpshift_tests::client::{ENTRANCE, answers};
use tcpshift_tests::example::{base, example_file, route};
use tcpshift_tests::server::Server;
use tcpshift_tests::world::World;

fn served(world: &World) -> Agent<'_> {
    let agent = Agent::start::<&str>(world, &[]);
    agent.apply(base() + route(&[("v1", 80), ("v2", 20)]));
    agent
}

#[test]
fn apply_says_what_it_did_as_kubectl_does() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base());
    let name = "virtualservice.networking.istio.io/tcp-echo";
    let lines = |output: tcpshift_tests::process::Output| output.stdout.trim().to_owned();
    assert_eq!(lines(agent.apply(route(&[("v1", 1)]))), format!("{name} created"));
    assert_eq!(lines(agent.apply(route(&[("v2", 1)]))), format!("{name} configured"));
    assert_eq!(lines(agent.apply(route(&[("v2", 1)]))), format!("{name} unchanged"));
    let deleted = lines(agent.cli(&["delete", "virtualservice", "tcp-echo"]).expect(0));
    assert!(deleted.starts_with("virtualservice.networking.istio.io") && deleted.ends_with(" deleted"), "{deleted}");
    agent.cli(&["delete", "virtualservice", "tcp-echo"]).expect(1).complains("tcp-echo");
    agent.cli(&["delete", "virtualservice", "tcp-echo", "--ignore-not-found"]).expect(0);
}

#[test]
fn get_knows_every_name_of_a_kind() {
    let world = World::new();
    let agent = served(&world);
    for (words, header, row) in [
        (
            &["vs", "virtualservice", "virtualservices", "VirtualService", "virtualservices.networking.istio.io"][..],
            "GATEWAYS",
            "tcp-echo-gateway",
        ),
        (&["dr", "destinationrule", "destinationrules"], "HOST", "tcp-echo-destination"),
        (&["gw", "gateway", "gateways"], "AGE", "tcp-echo-gateway"),
        (&["we", "workloadentry", "workloadentries"], "ADDRESS", "127.0.0.1"),
        (&["svc", "service", "services"], "NAME", "tcp-echo"),
    ] {
        for word in words {
            let output = agent.cli(&["get", word]).expect(0);
            assert!(output.stdout.contains(header) && output.stdout.contains(row), "get {word}: {}", output.stdout);
            assert!(!output.stdout.contains('\u{1b}'), "colours though nobody sees them");
        }
    }
    agent.cli(&["get", "se"]).expect(0);
    agent.cli(&["get", "unicorns"]).expect(1).complains("unicorns");
    agent.cli(&["get", "vs", "nobody"]).expect(1).complains("nobody");
}

#[test]
fn get_keeps_namespaces_apart() {
    let world = World::new();
    let agent = served(&world);
    let other = route(&[("v1", 1)]).named("elsewhere").namespace("prod");
    agent.apply(other);
    let names = |words: &[&str]| agent.cli(words).expect(0).stdout;
    assert!(!names(&["get", "vs"]).contains("elsewhere"));
    assert!(names(&["get", "vs", "-n", "prod"]).contains("elsewhere"));
    let all = names(&["get", "vs", "-A"]);
    assert!(all.contains("NAMESPACE") && all.contains("prod") && all.contains("elsewhere"), "{all}");
    assert_eq!(
        names(&["get", "vs", "-n", "prod", "-o", "name"]).trim(),
        "virtualservice.networking.istio.io/elsewhere"
    );
    agent.cli(&["delete", "vs", "elsewhere"]).expect(1);
    agent.cli(&["delete", "vs", "elsewhere", "-n", "prod"]).expect(0);
}

#[test]
fn what_get_prints_can_be_applied_again() {
    let world = World::new();
    let agent = served(&world);
    agent.apply(route(&[("v1", 80), ("v2", 20)]).annotation("tcpshift.io/steer-by", "source/24,64"));
    let shown = agent.cli(&["get", "vs", "tcp-echo", "-o", "yaml"]).expect(0).stdout;
    for part in ["resourceVersion", "creationTimestamp", "weight: 80", "weight: 20", "source/24,64"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let output = agent.apply(&shown);
    assert!(output.stdout.contains("unchanged"), "{output:?}");
    let all = agent.cli(&["get", "vs", "-A", "-o", "yaml"]).expect(0).stdout;
    serde_yaml::from_str::<serde_yaml::Value>(&all).unwrap();
    let one: Value =
        serde_json::from_str(&agent.cli(&["get", "vs", "tcp-echo", "-o", "json"]).expect(0).stdout).unwrap();
    assert_eq!(one["spec"]["tcp"][0]["route"][0]["weight"], 80);
    agent.cli(&["get", "vs", "-o", "wide"]).expect(0);
}

#[test]
fn the_leavings_of_kubectl_are_accepted() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    let route = route(&[("v1", 1)]).created("2024-05-06T07:08:09Z").set("metadata.uid", "0000-1111");
    let route = route.set("metadata.generation", 3).set("metadata.managedFields[0].manager", "kubectl");
    agent.apply(base() + route.set("status", json!({ "conditions": [] })));
    let object = &agent.objects("vs")[0];
    assert_eq!(object["metadata"]["creationTimestamp"], "2024-05-06T07:08:09Z");
    assert!(object.get("status").is_none() && object["metadata"].get("managedFields").is_none(), "{object}");
}

#[test]
fn the_age_is_set_once_and_kept() {
    let world = World::new();
    let agent = served(&world);
    let stamp = || agent.objects("vs")[0]["metadata"]["creationTimestamp"].as_str().unwrap().to_owned();
    let born = stamp();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    agent.apply(route(&[("v2", 1)]));
    assert_eq!(stamp(), born);
}

#[test]
fn shift_edits_weights_in_one_word() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = served(&world);
    let slots = |subset| agent.destination("default/tcp-echo", subset).slots;
    agent.cli(&["shift", "vs/tcp-echo", "v2=30"]).expect(0);
    assert_eq!((slots("v1"), slots("v2")), (7_000, 3_000));
    agent.cli(&["shift", "virtualservice/tcp-echo", "v1=12.5%", "v2=87.5%"]).expect(0);
    assert_eq!((slots("v1"), slots("v2")), (1_250, 8_750));
    agent.cli(&["shift", "vs/tcp-echo", "v2=100"]).expect(0);
    assert_eq!(answers(ENTRANCE, 20), ["two"; 20]);
    agent.cli(&["shift", "vs/tcp-echo", "v9=10"]).complains("v9");
    agent.cli(&["shift", "vs/nobody", "v2=10"]).expect(1).complains("nobody");
    // A malformed share is a usage error, 2. Shares that do not sum up to 100 % are refused by the agent, 1.
    agent.cli(&["shift", "vs/tcp-echo", "v2=101"]).expect(2).complains("101");
    agent.cli(&["shift", "vs/tcp-echo", "v2"]).expect(2);
    agent.cli(&["shift", "vs/tcp-echo", "v1=60", "v2=60"]).expect(1).complains("120 %");
    agent.cli(&["shift", "vs/tcp-echo", "v1=10", "v2=60"]).expect(1).complains("70 %");
    agent.cli(&["shift", "vs/tcp-echo", "v2=10", "v2=20"]).expect(1).complains("twice");
    assert_eq!(slots("v2"), 10_000);
}

#[test]
fn a_dry_run_checks_and_stores_nothing() {
    let world = World::new();
    let agent = served(&world);
    let before = agent.generation();
    let output = agent.cli_with(&["apply", "--dry-run", "-f", "-"], route(&[("v2", 1)])).expect(0);
    assert!(output.stdout.contains("configured") && output.stdout.contains("dry run"), "{output:?}");
    let broken = route(&[("v1", 1)]).set("spec.tcp[0].route[0].weight", "x");
    agent.cli_with(&["apply", "--dry-run", "-f", "-"], &broken).expect(65).complains("weight");
    assert_eq!(agent.generation(), before);
    assert_eq!(agent.destination("default/tcp-echo", "v2").weight, 20);
}

#[test]
fn validate_needs_no_agent() {
    let world = World::new();
    let nowhere = [("TCPSHIFT_ADMIN", "unix:/nonexistent/admin.sock")];
    let files = ["services.yaml", "workload-entries.yaml", "all-v1.yaml"].map(example_file);
    let words: Vec<_> = [std::path::PathBuf::from("validate")].into_iter().chain(files).collect();
    cli(&nowhere, &words, b"").expect(0);
    let broken = route(&[("v1", 1)]).set("spec.tcp[0].route[0].weight", -3).to_string();
    let line = 1 + broken.lines().position(|line| line.contains("weight: -3")).unwrap();
    let broken = world.write("broken.yaml", broken);
    let output = cli(&nowhere, &[std::path::Path::new("validate"), &broken], b"").expect(65);
    assert!(
        format!("{}{}", output.stdout, output.stderr).contains(&format!("broken.yaml:{line}: error:")),
        "{output:?}"
    );
    cli(&nowhere, &["validate", "/nonexistent.yaml"], b"").expect(1).complains("/nonexistent.yaml");
}

#[test]
fn without_an_agent_every_command_says_so_and_is_1() {
    let world = World::new();
    let socket = socket_word(&world, "nobody");
    for words in [&["status"][..], &["get", "vs"], &["delete", "vs", "x"], &["shift", "vs/x", "v1=1"]] {
        cli(&[("TCPSHIFT_ADMIN", &socket)], words, b"").expect(1).complains("nobody.sock");
        let flag = [words, &["--admin", &socket]].concat();
        cli(&[], &flag, b"").expect(1).complains("nobody.sock");
    }
}

#[test]
fn usage_errors_are_2() {
    for words in
        [&["fly"][..], &["run", "--no-such-flag"], &["get"], &["shift", "vs/x"], &["run", "--datapath", "warp"], &[]]
    {
        cli(&[], words, b"").expect(2);
    }
    cli(&[], &["--version"], b"").expect(0);
    cli(&[], &["--help"], b"").expect(0);
    cli(&[], &["--admin", "unix:/tmp/x", "validate", example_file("20-v2.yaml").to_str().unwrap()], b"").expect(0);
}

#[test]
fn json_is_everywhere() {
    let world = World::new();
    let agent = served(&world);
    let file = world.write("route.yaml", route(&[("v1", 50), ("v2", 50)]).to_string());
    let file = file.to_str().unwrap();
    for words in [
        &["apply", "-f", file, "-o", "json"][..],
        &["apply", "-f", file, "--dry-run", "-o", "json"],
        &["shift", "vs/tcp-echo", "v2=10", "-o", "json"],
        &["get", "vs", "-o", "json"],
        &["status", "-o", "json"],
        &["validate", file, "-o", "json"],
        &["delete", "-f", file, "-o", "json"],
    ] {
        let output = agent.cli(words).expect(0);
        serde_json::from_str::<Value>(&output.stdout)
            .unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", output.stdout));
    }
}

#[test]
fn status_shows_the_split_and_its_interval() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = served(&world);
    answers(ENTRANCE, 100);
    let status = agent.status();
    let route = &status.listeners[0].routes[0];
    assert_eq!((route.name.as_str(), route.steer_by.as_str()), ("default/tcp-echo", "connection"));
    assert_eq!(route.destinations.iter().map(|to| to.opened).sum::<u64>(), 100);
    assert_eq!(route.destinations.iter().map(|to| to.slots).collect::<Vec<_>>(), [8_000, 2_000]);
    let v2 = route.destinations[1].achieved.unwrap();
    // An interval of 95 % may miss the true share, but not by this much.
    assert!(v2.low - 0.1 < 0.2 && 0.2 < v2.high + 0.1 && v2.high - v2.low < 0.25, "{v2:?}");
    let table = agent.cli(&["status"]).expect(0).stdout;
    for part in ["default/tcp-echo", "31400", "v1", "v2", "80", "20"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
}

#[test]
fn a_folder_is_applied_in_the_order_of_its_files() {
    let world = World::new();
    let _servers = [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")];
    let agent = Agent::start::<&str>(&world, &[]);
    let folder = example_file("");
    let folder = folder.to_str().unwrap();
    // It has the route twice, and the file that comes last counts.
    for time in ["created", "unchanged"] {
        let output = agent.cli(&["apply", "-f", folder]).expect(0);
        assert!(output.stdout.contains(&format!("virtualservice.networking.istio.io/tcp-echo {time}\n")), "{output:?}");
        let warned = output.stderr.lines().any(|line| line.contains("20-v2.yaml:") && line.contains("all-v1.yaml:"));
        assert!(warned, "{output:?}");
    }
    assert_eq!(answers(ENTRANCE, 20), ["one"; 20]);
    agent.apply_file(&example_file("20-v2.yaml"));
    assert_eq!(agent.destination("default/tcp-echo", "v2").weight, 20);
    agent.cli(&["delete", "-f", folder]).expect(0);
    assert!(agent.objects("all").is_empty() && agent.status().listeners.is_empty());
}

#[test]
fn a_workload_entry_is_described_with_what_leads_to_it() {
    let world = World::new();
    let agent = served(&world);
    // Both versions are at one address.
    for (name, own, other) in [("tcp-echo-v1", "9000/v1", "9000/v2"), ("tcp-echo-v2", "9000/v2", "9000/v1")] {
        let text = agent.cli(&["describe", "we", name]).expect(0).stdout;
        assert!(text.contains(own) && !text.contains(other), "{name}:\n{text}");
    }
}

#[test]
fn analyze_looks_at_what_an_agent_has() {
    let world = World::new();
    let agent = served(&world);
    let socket = socket_word(&world, "agent");
    let output = cli(&[], &["analyze", "--admin", &socket], b"").expect(0);
    assert!(output.stdout.is_empty() && output.stderr.contains("the objects of the running agent"), "{output:?}");
    agent.cli(&["delete", "--force", "dr", "tcp-echo-destination"]).expect(0);
    let output = cli(&[], &["analyze", "--admin", &socket], b"").expect(79);
    assert!(output.stdout.contains("VirtualService default/tcp-echo"), "{output:?}");
    agent.cli(&["analyze"]).expect(2).complains("--admin");
}
