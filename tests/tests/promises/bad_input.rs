//! Bad input of every sort: a clear message with file and line, exit code 65, and nothing else happens.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::json;
use tcpshift_tests::agent::Agent;
use tcpshift_tests::client::{ENTRANCE, connect, converse};
use tcpshift_tests::example::{base, example_text, route, together};
use tcpshift_tests::noise::Noise;
use tcpshift_tests::objects::virtual_service;
use tcpshift_tests::server::Server;
use tcpshift_tests::until::{seconds, until_so};
use tcpshift_tests::world::World;

/// The most memory that the agent may ever have.
const MEGABYTES: u64 = 200;

/// A valid route file, of which most others are made.
const GOOD: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: tcp-echo
spec:
  hosts: [\"*\"]
  gateways: [tcp-echo-gateway]
  tcp:
  - match: [{port: 31400}]
    route:
    - destination: {host: tcp-echo, subset: v1, port: {number: 9000}}
      weight: 80
    - destination: {host: tcp-echo, subset: v2, port: {number: 9000}}
      weight: 20
";

/// Text that is no valid route file, by what is wrong with it.
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let edit = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from:?}");
        GOOD.replacen(from, to, 1).into_bytes()
    };
    let annotated = |name: &str, value: &str| route(&[("v1", 1)]).annotation(name, value).to_string().into_bytes();
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        writeln!(aliases, "a{level}: &a{level} [{}]", [before.as_str(); 9].join(", ")).unwrap();
    }
    let mut indented = String::new();
    for level in 0..1_500 {
        writeln!(indented, "{}a:", " ".repeat(level)).unwrap();
    }
    let mut binary = Noise::new(2).take(50_000);
    binary[0] = 0xff;
    vec![
        ("unclosed bracket", edit("hosts: [\"*\"]", "hosts: [\"*\"")),
        ("unclosed quote", edit("\"*\"", "\"*")),
        ("bad indentation", edit("  gateways", "   gateways")),
        ("tab for indentation", edit("  hosts", "\thosts")),
        ("mapping in a scalar", b"a: b: c: d".to_vec()),
        ("a scalar", b"just words".to_vec()),
        ("a list", b"- kind: VirtualService\n- 2\n".to_vec()),
        ("deep brackets", "[".repeat(100_000).into_bytes()),
        ("deep closed brackets", format!("a: {}{}", "[".repeat(50_000), "]".repeat(50_000)).into_bytes()),
        ("deep mappings", "{a: ".repeat(20_000).into_bytes()),
        ("deep indentation", indented.into_bytes()),
        ("deep sequences", "- ".repeat(50_000).into_bytes()),
        ("aliases", format!("{aliases}{GOOD}").into_bytes()),
        ("an unknown alias", edit("hosts: [\"*\"]", "hosts: *nothing")),
        ("binary", binary),
        ("NUL bytes", edit("tcp-echo\n", "tcp\0echo\n")),
        ("control characters", edit("tcp-echo\n", "tcp\u{1}echo\n")),
        ("wrong type, a word for a weight", edit("weight: 80", "weight: heavy")),
        ("wrong type, a list for a weight", edit("weight: 80", "weight: [80]")),
        ("wrong type, a fraction for a weight", edit("weight: 80", "weight: 79.5")),
        ("a negative weight", edit("weight: 80", "weight: -80")),
        ("a weight beyond 32 bits", edit("weight: 80", "weight: 4294967296")),
        ("a port out of range", edit("port: 31400", "port: 99999")),
        ("a port 0 of a destination", edit("number: 9000", "number: 0")),
        ("a number for a list", edit("hosts: [\"*\"]", "hosts: 5")),
        ("a null entry", edit("hosts: [\"*\"]", "hosts: [null]")),
        ("a null rule", virtual_service("x").set("spec.tcp", json!([null])).to_string().into_bytes()),
        ("a duplicate key", edit("hosts: [\"*\"]", "hosts: [\"*\"]\n  hosts: [\"a\"]")),
        ("an unknown field", edit("weight: 80", "weigth: 80")),
        ("an unknown field of metadata", edit("metadata:", "metadata:\n  nom: x")),
        ("an unknown kind of a known group", edit("kind: VirtualService", "kind: VirtualServices")),
        ("an unknown version of a known group", edit("istio.io/v1", "istio.io/v9")),
        ("an unknown annotation", annotated("tcpshift.io/steer-bye", "source")),
        ("an unknown way to steer", annotated("tcpshift.io/steer-by", "moon")),
        ("an unknown word for on-empty", annotated("tcpshift.io/on-empty", "panic")),
        ("a datapath that this version has not", annotated("tcpshift.io/datapath", "sockmap")),
        ("a prefix too long", annotated("tcpshift.io/steer-by", "source/33,64")),
        ("a bad subnet", edit("port: 31400", "sourceSubnet: 10.0.0.0/33")),
        ("a total of 0", route(&[("v1", 0), ("v2", 0)]).to_string().into_bytes()),
        ("no name", edit("  name: tcp-echo\n", "  namespace: default\n")),
        ("a name that is none", edit("  name: tcp-echo\n", "  name: ../../etc/passwd\n")),
        ("a name too long", edit("  name: tcp-echo\n", &format!("  name: {}\n", "a".repeat(300)))),
        ("no kind", edit("kind: VirtualService\n", "")),
        ("no apiVersion", edit("apiVersion: networking.istio.io/v1\n", "")),
        ("no spec", virtual_service("x").without("spec").to_string().into_bytes()),
        ("the same object twice", together(&[GOOD, GOOD]).into_bytes()),
        ("a broken second document", together(&[GOOD, "a: [b"]).into_bytes()),
    ]
}

#[test]
fn every_sort_is_refused_with_its_line_and_changes_nothing() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let agent = Agent::start::<&str>(&world, &[]);
    agent.apply(base() + route(&[("v1", 1)]));
    let held = connect(ENTRANCE).unwrap();
    let before = agent.generation();
    let stored = agent.objects("vs");
    let mut wrong = String::new();
    for (what, text) in bad() {
        let file = world.write("bad.yaml", &text);
        let output = agent.cli(&["apply", "-f", file.to_str().unwrap()]);
        let line = output.stderr.split("bad.yaml:").nth(1).map(|rest| rest.split(':').next().unwrap_or_default());
        let has_line = line.is_some_and(|line| line.trim().parse::<usize>().is_ok());
        if output.status != 65 || !(has_line || what == "binary" && output.stderr.contains("bad.yaml")) {
            let said: String = output.stderr.chars().take(300).collect();
            writeln!(wrong, "{what}: exit code {}, {said}", output.status).unwrap();
        }
        if output.stderr.len() > 20_000 || output.stderr.contains("panicked") {
            writeln!(wrong, "{what}: {} bytes of message", output.stderr.len()).unwrap();
        }
        assert_eq!(converse(&held, "still there").unwrap(), "one", "{what}");
    }
    assert!(wrong.is_empty(), "not refused as they should be:\n{wrong}");
    assert_eq!((agent.generation(), agent.objects("vs")), (before, stored));
    assert!(agent.most_megabytes() < MEGABYTES, "{} MB", agent.most_megabytes());
}

#[test]
fn all_problems_are_said_at_once() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    let route = route(&[("v1", 80), ("v2", 20)]).set("spec.tcp[0].route[0].weight", -1);
    let objects = route.set("spec.tcp[0].match[0].port", 70_000) + base();
    let objects = objects.set("Gateway/tcp-echo-gateway", "spec.servers[0].port.number", "x");
    let file = world.write("bad.yaml", objects.to_string());
    let output = agent.cli(&["apply", "-f", file.to_str().unwrap()]).expect(65);
    assert_eq!(output.stderr.matches(": error: ").count(), 3, "{}", output.stderr);
    assert!(agent.objects("svc").is_empty(), "half an apply is stored");
}

#[test]
fn one_hundred_megabytes_are_refused_within_bounds() {
    let world = World::new();
    let _server = Server::named("127.0.0.1:9000", "one");
    let folder = world.folder("routes");
    std::fs::write(folder.join("all.yaml"), (base() + route(&[("v1", 1)])).to_string()).unwrap();
    let huge = world.path("huge.yaml");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&huge).unwrap());
    let document = format!("{}---\n", route(&[("v1", 1)]));
    for _ in 0..100_000_000 / document.len() {
        file.write_all(document.as_bytes()).unwrap();
    }
    drop(file);
    let agent = Agent::start(&world, &[&folder]);
    let before = agent.generation();
    let output = agent.cli(&["apply", "-f", huge.to_str().unwrap()]).expect(65).complains("huge.yaml");
    assert!(output.stderr.len() < 20_000, "{} bytes of message", output.stderr.len());
    agent.cli(&["validate", huge.to_str().unwrap()]).expect(65);

    // And in a watched folder.
    std::fs::rename(&huge, folder.join("huge.yaml")).unwrap();
    until_so("the file is complained of", seconds(5), || agent.log().contains("huge.yaml"));
    assert_eq!(converse(&connect(ENTRANCE).unwrap(), "still there").unwrap(), "one");
    assert_eq!(agent.generation(), before);
    assert!(agent.most_megabytes() < MEGABYTES, "{} MB", agent.most_megabytes());
}

#[test]
fn files_that_are_no_files_are_refused() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    agent.cli(&["apply", "-f", "/nonexistent/x.yaml"]).expect(1).complains("/nonexistent/x.yaml");
    let empty = world.folder("empty");
    let output = agent.cli(&["apply", "-f", empty.to_str().unwrap()]);
    assert!(output.status != 0 && output.stderr.contains("empty"), "{output:?}");
    agent.cli(&["apply", "-f", "/dev/zero"]).complains("/dev/zero");
    assert!(agent.most_megabytes() < MEGABYTES);
}

#[test]
fn random_edits_of_a_good_file_never_harm() {
    let world = World::new();
    let agent = Agent::start::<&str>(&world, &[]);
    let annotated = "name: second\n  annotations: {tcpshift.io/steer-by: \"source/24,64\"}\n";
    let second = GOOD.replace("name: tcp-echo\n", annotated);
    let files = ["services.yaml", "workload-entries.yaml", "all-v1.yaml"].map(example_text);
    let good = together(&[&files[0], &files[1], &files[2], &second]);
    let mut noise = Noise::new(77);
    for round in 0..400 {
        let mut text = good.clone().into_bytes();
        for _ in 0..=noise.below(4) {
            let at = noise.below(text.len() as u64) as usize;
            match noise.below(4) {
                0 => text[at] = noise.below(256) as u8,
                1 => drop(text.drain(at..(at + noise.below(30) as usize).min(text.len()))),
                2 => text.insert(at, b"[]{}:-*&!|>'\"#%\t\n 0"[noise.below(19) as usize]),
                _ => text.truncate(at.max(1)),
            }
        }
        let Ok(text) = String::from_utf8(text) else { continue };
        let answer = agent.request("POST", "/v1/apply", Some(&tcpshift_tests::admin::documents(&text)));
        assert!([200, 400, 422, 500].contains(&answer.status), "round {round}: {}\n{text}", answer.body);
        assert!(answer.status != 500, "round {round}: {}\n{text}", answer.body);
    }
    assert!(agent.most_megabytes() < MEGABYTES);
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}
