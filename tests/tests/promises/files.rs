//! Watched files: the unit is the object, an error costs nothing but itself, and files belong to the user.

use std::path::Path;

use tcpshift_tests::agent::{Agent, cli};
use tcpshift_tests::client::{ENTRANCE, ask, refused};
use tcpshift_tests::example::{base, route, route_of, rule, together};
use tcpshift_tests::process::{built, command};
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// The weight of the first destination of a route.
const WEIGHT: &str = "spec.tcp[0].route[0].weight";

fn versions() -> [Server; 2] {
    [Server::named("127.0.0.1:9000", "one"), Server::named("127.0.0.1:9100", "two")]
}

/// Waits until v2 has a weight, which a change of a file must bring within a second.
#[track_caller]
fn until_weight(agent: &Agent<'_>, weight: u64) {
    until_so(&format!("v2 has weight {weight}; the log:\n{}", agent.log()), seconds(3), || {
        let routes = agent.request("GET", "/v1/status", None).body["listeners"][0]["routes"][0]["destinations"].clone();
        routes.as_array().is_some_and(|all| {
            all.iter().any(|to| to["name"].as_str().is_some_and(|name| name.ends_with("v2")) && to["weight"] == weight)
        })
    });
}

#[test]
fn files_and_folders_are_read_at_start_and_watched() {
    let world = World::new();
    let _versions = versions();
    let folder = world.folder("routes");
    let file = world.write("base.yaml", base().to_string());
    let agent = Agent::start(&world, &[&file, &folder]);
    assert!(refused(ENTRANCE), "there is a Gateway and no route, and the port is open");
    world.write("routes/route.yaml", route(&[("v1", 1)]).to_string());
    until_so("a new file is in force", seconds(3), || ask(ENTRANCE).is_ok_and(|who| who == "one"));
    world.write("routes/notes.txt", "no: [route");
    std::fs::remove_file(folder.join("route.yaml")).unwrap();
    until_so("a removed file is gone", seconds(3), || refused(ENTRANCE));
    drop(agent);
}

#[test]
fn a_strict_agent_does_not_start_with_an_invalid_file_and_another_does() {
    let world = World::new();
    let _versions = versions();
    let valid = world.write("all.yaml", (base() + route(&[("v1", 1)])).to_string());
    let invalid = world.write("other.yaml", "kind: Gateway\nmetadata: {name: x}\nspec: {servers: 7}\n");
    drop(Agent::start(&world, &[&valid, &invalid]));
    let strict = Path::new("--strict");
    let mut ends = Agent::launch(&world, "ends", command(built("tcpshift-agent")), &[strict, &valid, &invalid]);
    let mut status = None;
    until_so("it ends", seconds(20), || {
        status = ends.process().ended();
        status.is_some()
    });
    let said = ends.log();
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{said}");
    assert!(said.contains("other.yaml") && said.contains("--strict does not start with"), "{said}");
    let agent = Agent::start(&world, &[strict, &valid]);
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    world.write("all.yaml", "apiVersion: [");
    until_so("the error is said", seconds(3), || agent.log().contains("all.yaml"));
    assert_eq!(ask(ENTRANCE).unwrap(), "one", "what is in force stays");
}

#[test]
fn sighup_reads_the_files_again() {
    let world = World::new();
    let _versions = versions();
    let file = world.write("all.yaml", (base() + route(&[("v1", 90), ("v2", 10)])).to_string());
    let agent = Agent::start(&world, &[&file]);
    until_weight(&agent, 10);
    world.write("all.yaml", (base() + route(&[("v1", 60), ("v2", 40)])).to_string());
    agent.reload();
    until_weight(&agent, 40);
    assert_eq!(agent.status().pid, agent.pid());
}

#[test]
fn an_invalid_object_keeps_its_last_valid_version_while_others_advance() {
    let world = World::new();
    let _versions = versions();
    let entries = |port: u16| base().set("WorkloadEntry/tcp-echo-v1", "spec.ports.tcp", port);
    let _moved = Server::named("127.0.0.1:9777", "moved");
    let file = world.write("all.yaml", (entries(9000) + route(&[("v1", 1)])).to_string());
    let agent = Agent::start(&world, &[&file]);
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    let broken = route(&[("v1", 1)]).set(WEIGHT, "heavy");
    world.write("all.yaml", (entries(9777) + broken).to_string());
    until_so("the valid object has advanced", seconds(3), || ask(ENTRANCE).is_ok_and(|who| who == "moved"));
    let problem = agent.log();
    assert!(problem.contains("all.yaml:") && problem.contains("weight"), "no line number in the log:\n{problem}");
    let notes = agent.status().notes.join("\n");
    assert!(notes.contains("all.yaml:") && notes.contains("weight"), "status does not say it: {notes}");
}

#[test]
fn a_document_that_cannot_be_read_costs_only_itself() {
    let world = World::new();
    let _versions = versions();
    let entries = |port: u16| base().set("WorkloadEntry/tcp-echo-v1", "spec.ports.tcp", port);
    let _moved = Server::named("127.0.0.1:9777", "moved");
    let last = route_of([rule(&[("v1", 1)]).when("port", 31_500)]).named("last");
    let file = world.write("all.yaml", (entries(9000) + route(&[("v1", 1)]) + &last).to_string());
    let agent = Agent::start(&world, &[&file]);
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    let broken = route(&[("v2", 1)]).to_string().replace("weight: 1", "weight: [1");
    let text = together(&[&entries(9777).to_string(), &broken, &last.named("renamed").to_string()]);
    let line = 1 + text.lines().position(|line| line.contains("weight: [1")).unwrap();
    world.write("all.yaml", &text);
    until_so("the others have advanced", seconds(3), || ask(ENTRANCE).is_ok_and(|who| who == "moved"));
    // Objects that the file had before stay: the unreadable document may be any of them.
    let names: Vec<_> = agent.objects("vs").iter().map(|object| object["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["last", "renamed", "tcp-echo"]);
    agent.says(&format!("all.yaml:{line}: "));
    // `apply` takes all documents or none, and prints every problem.
    let both = text.replace("port: 31500", "port: 99999");
    let output = agent.cli_with(&["apply", "-f", "-"], &both).expect(65);
    assert_eq!(output.stderr.matches(": error: ").count(), 2, "{}", output.stderr);
    world.write("all.yaml", text.replace("[1", "1"));
    until_so("all is read again", seconds(3), || {
        ask(ENTRANCE).is_ok_and(|who| who == "two") && agent.objects("vs").len() == 2
    });
}

#[test]
fn an_object_that_is_invalid_at_start_is_left_out() {
    let world = World::new();
    let _versions = versions();
    let broken = route(&[("v1", 1)]).named("broken").set(WEIGHT, -1);
    let file = world.write("all.yaml", (base() + broken + route(&[("v2", 1)])).to_string());
    let agent = Agent::start(&world, &[&file]);
    assert_eq!(ask(ENTRANCE).unwrap(), "two");
    agent.says("all.yaml:");
}

#[test]
fn a_file_that_is_no_longer_yaml_keeps_all_of_its_objects() {
    let world = World::new();
    let _versions = versions();
    let file = world.write("all.yaml", (base() + route(&[("v1", 70), ("v2", 30)])).to_string());
    let other = world.write("other.yaml", "");
    let agent = Agent::start(&world, &[&file, &other]);
    until_weight(&agent, 30);
    for rubbish in [&b"]]]: {{{ no yaml"[..], b"\xff\xfe\x00 binary \x00", b"a: b\n c: d\n- e"] {
        let before = agent.log().len();
        world.write("all.yaml", rubbish);
        until_so("the problem is printed", seconds(3), || agent.log()[before..].contains("all.yaml"));
        until_weight(&agent, 30);
        assert!(ask(ENTRANCE).is_ok());
    }
    world.write("all.yaml", (base() + route(&[("v1", 50), ("v2", 50)])).to_string());
    until_weight(&agent, 50);
}

#[test]
fn the_same_object_twice_in_files_names_both_lines() {
    let world = World::new();
    let first = world.write("a.yaml", (base() + route(&[("v1", 1)])).to_string());
    let second = world.write("b.yaml", format!("# moved down a line\n{}", route(&[("v2", 1)])));
    let agent = Agent::start(&world, &[&first, &second]);
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("a.yaml:") && line.contains("b.yaml:"));
    assert!(line.is_some_and(|line| line.contains("tcp-echo")), "no line of the log names both:\n{log}");
    let both = cli(&[], &[Path::new("validate"), &first, &second], b"").expect(65);
    let all = format!("{}{}", both.stdout, both.stderr);
    assert!(all.lines().any(|line| line.contains("a.yaml:") && line.contains("b.yaml:")), "{all}");
}

#[test]
fn what_belongs_to_a_file_cannot_be_changed_by_the_socket() {
    let world = World::new();
    let _versions = versions();
    let file = world.write("all.yaml", (base() + route(&[("v1", 70), ("v2", 30)])).to_string());
    let agent = Agent::start(&world, &[&file]);
    let before = agent.generation();
    agent.cli_with(&["apply", "-f", "-"], route(&[("v2", 1)])).expect(1).complains("all.yaml");
    agent.cli(&["delete", "vs", "tcp-echo"]).expect(1).complains("all.yaml");
    agent.cli(&["shift", "vs/tcp-echo", "v2=50"]).expect(1).complains("all.yaml");
    assert_eq!(agent.generation(), before);
    until_weight(&agent, 30);
}

#[test]
fn a_file_beats_the_state_folder_with_a_warning() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    assert_eq!(ask(ENTRANCE).unwrap(), "one");
    drop(agent);
    let file = world.write("route.yaml", route(&[("v2", 1)]).to_string());
    let agent = Agent::start(&world, &[&file]);
    assert_eq!(ask(ENTRANCE).unwrap(), "two");
    let log = agent.log();
    assert!(log.to_lowercase().contains("warn") && log.contains("route.yaml"), "no warning:\n{log}");
}

#[test]
fn state_alone_is_enough_to_start_from() {
    let world = World::new();
    let _versions = versions();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 90), ("v2", 10)]).annotation("tcpshift.io/steer-by", "sequence"));
    agent.terminate();
    let mut agent = agent;
    assert!(agent.process().wait(seconds(10)).success());
    drop(agent);
    let agent = Agent::start::<&str>(&world, &[]);
    assert_eq!(agent.destination("default/tcp-echo", "v2").weight, 10);
    assert!(ask(ENTRANCE).is_ok());
}

#[test]
fn a_path_that_is_not_there_is_named_and_exit_1() {
    let world = World::new();
    let missing = world.path("nowhere.yaml");
    let mut agent = Agent::launch(
        &world,
        "agent",
        tcpshift_tests::process::command(tcpshift_tests::process::built("tcpshift-agent")),
        &[&missing],
    );
    let status = agent.process().wait(seconds(10));
    assert_eq!(status.code(), Some(1), "{}", agent.log());
    agent.says("nowhere.yaml");
}
