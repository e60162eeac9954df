//! The task itself, by hand with the example files: all to v1, then a fifth to v2, then away.

use std::process::Command;

use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, answers, ask, refused, tally};
use tcpshift_tests::echo::both_versions;
use tcpshift_tests::example::{example_file, example_text, route, together};
use tcpshift_tests::process::run;
use tcpshift_tests::share::share;
use tcpshift_tests::until::seconds;
use tcpshift_tests::world::World;

const ENTRANCE6: &str = "[::1]:31400";

/// The example's files, in the order in which they are applied.
const FILES: [&str; 4] = ["services.yaml", "workload-entries.yaml", "all-v1.yaml", "20-v2.yaml"];

fn served(world: &World) -> Agent<'_> {
    let agent = Agent::start::<&str>(world, &[]);
    for file in &FILES[..3] {
        agent.apply_file(&example_file(file));
    }
    agent
}

#[test]
fn the_whole_task_by_hand() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = Agent::start::<&str>(&world, &[]);
    assert!(refused(ENTRANCE), "nothing is applied, and the port is open");
    for file in &FILES[..3] {
        agent.apply_file(&example_file(file));
    }
    for gateway in [ENTRANCE, ENTRANCE6] {
        assert_eq!(answers(gateway, 10), ["one"; 10]);
    }

    agent.apply_file(&example_file("20-v2.yaml"));
    for gateway in [ENTRANCE, ENTRANCE6] {
        let tally = tally(gateway, 5_000);
        assert_eq!(tally.values().sum::<usize>(), tally["one"] + tally["two"], "some were not answered: {tally:?}");
        let two = share(tally["two"], 5_000);
        assert!((0.175..=0.225).contains(&two), "at {gateway} a share of {two} went to v2");
    }

    let shown = agent.cli(&["get", "virtualservice", "tcp-echo", "-o", "yaml"]).expect(0).stdout;
    let shown: serde_yaml::Value = serde_yaml::from_str(&shown).expect("get -o yaml prints YAML");
    let route = &shown["spec"]["tcp"][0]["route"];
    assert_eq!((route[0]["weight"].as_u64(), route[1]["weight"].as_u64()), (Some(80), Some(20)));

    // The last file names an object that the third names too.
    for file in FILES[..3].iter().rev() {
        let path = example_file(file);
        agent.cli(&["delete", "-f", path.to_str().unwrap()]).expect(0);
    }
    assert!(refused(ENTRANCE) && refused(ENTRANCE6), "all is deleted, and the port is open");
    let path = example_file("20-v2.yaml");
    agent.cli(&["delete", "-f", path.to_str().unwrap()]).expect(1).complains("tcp-echo");
    agent.cli(&["delete", "--ignore-not-found", "-f", path.to_str().unwrap()]).expect(0);
}

#[test]
fn a_folder_is_applied_as_one() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = Agent::start::<&str>(&world, &[]);
    let folder = world.folder("routes");
    for file in &FILES[..3] {
        std::fs::copy(example_file(file), folder.join(file)).unwrap();
    }
    agent.cli(&["apply", "-f", folder.to_str().unwrap()]).expect(0);
    assert_eq!(answers(ENTRANCE, 10), ["one"; 10]);
    agent.cli(&["delete", "-f", folder.to_str().unwrap()]).expect(0);
    assert!(refused(ENTRANCE));
}

#[test]
fn by_sequence_any_ten_in_a_row_are_exactly_eight_and_two() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = served(&world);
    agent.apply(route(&[("v1", 80), ("v2", 20)]).annotation("tcpshift.io/steer-by", "sequence"));
    let answers = answers(ENTRANCE, 200);
    for (first, ten) in answers.windows(10).enumerate() {
        assert_eq!(ten.iter().filter(|who| *who == "two").count(), 2, "connections {first} and on: {ten:?}");
    }
}

#[test]
fn the_documents_of_all_years_are_taken() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = Agent::start::<&str>(&world, &[]);
    let today = together(&FILES.map(example_text)[..3].iter().map(String::as_str).collect::<Vec<_>>());
    for version in ["v1alpha3", "v1beta1", "v1"] {
        let text = today.replace("networking.istio.io/v1", &format!("networking.istio.io/{version}"));
        agent.apply(&text);
        assert_eq!(answers(ENTRANCE, 3), ["one"; 3], "{version}");
        let shift =
            example_text("20-v2.yaml").replace("networking.istio.io/v1", &format!("networking.istio.io/{version}"));
        agent.apply(&shift);
        assert_eq!(agent.destination("default/tcp-echo", "v2").slots, 2_000, "{version}");
        agent.cli_with(&["delete", "-f", "-"], &text).expect(0);
        assert!(refused(ENTRANCE), "{version}");
    }
}

#[test]
fn deployments_are_noted_and_passed_over() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    let output = agent.apply_file(&example_file("services.yaml"));
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(all.contains("2 objects passed over") && all.contains("2 deployment.apps"), "not noted: {all}");
    assert_eq!(agent.objects("svc").len(), 1);
    assert_eq!(agent.status().objects, 1);
    let path = example_file("services.yaml");
    agent.cli(&["delete", "-f", path.to_str().unwrap()]).expect(0);
}

#[test]
fn netcat_as_the_task_page_uses_it() {
    let world = World::new();
    let _versions = both_versions(&world);
    let _agent = served(&world);
    let mut command = Command::new("sh");
    command.args(["-c", "(date; sleep 1) | nc -N 127.0.0.1 31400"]);
    let output = run(command, b"", seconds(20)).expect(0);
    assert!(output.stdout.starts_with("one ") && output.stdout.ends_with('\n'), "{output:?}");
    let mut command = Command::new("sh");
    command.args(["-c", "date | nc -N ::1 31400"]);
    let output = run(command, b"", seconds(20)).expect(0);
    assert!(output.stdout.starts_with("one "), "over IPv6: {output:?}");
}

#[test]
fn the_second_port_of_the_service_is_served_too() {
    let world = World::new();
    let _versions = both_versions(&world);
    let agent = served(&world);
    agent.apply(route(&[("v2", 100)]).set("spec.tcp[0].route[0].destination.port.number", 9001));
    let destination = agent.destination("default/tcp-echo", "v2");
    assert!(destination.name.contains(":9001/"), "{destination:?}");
    assert_eq!(ask(ENTRANCE).unwrap(), "two");
}
