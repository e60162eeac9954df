//! `validate` as a person uses it: what it prints where, in which order, and its exit codes. There is no agent.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/tcp-echo");

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpshift-agent"));
    command.env_remove("TCPSHIFT_ADMIN").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(words: &[&str]) -> (i32, String, String) {
    told(&binary().args(words).output().unwrap())
}

fn file(folder: &TempDir, name: &str, text: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A `VirtualService` with an unknown field on its eighth line.
fn broken_route(name: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: {name}\nspec:\n  \
         hosts: [\"*\"]\n  nonsense: true\n  gateways: [g]\n  tcp:\n  - route:\n    - destination: {{host: h}}\n"
    )
}

#[test]
fn validate_needs_no_agent() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(&folder, "good.yaml", b"");
    let (code, out, _) = run(&["validate", &good]);
    assert_eq!((code, out.as_str()), (0, "1 file: no problem found\n"));
    let (code, _, err) = run(&["validate", &good, "/nowhere"]);
    assert!(code == 1 && err.contains("/nowhere"), "{err}");
    let broken = file(&folder, "broken.yaml", b"kind: [BROKEN");
    let (code, out, err) = run(&["validate", &broken]);
    assert_eq!(code, 65, "{out}{err}");
    assert!(out.starts_with("1 file: 1 error") && err.contains("broken.yaml:1: error: "), "{out}{err}");
    let (code, out, err) = run(&["validate", "-o", "json", &broken]);
    assert_eq!((code, &serde_json::from_str::<Value>(&out).unwrap()["errors"]), (65, &json!(1)));
    assert_eq!(err, "", "a problem is said once");
    let (code, out, _) = run(&["validate", "--help"]);
    assert!(code == 0 && !out.contains("--admin"), "{out}");
    for words in
        [&["--admin", "unix:/nowhere", "validate", &good][..], &["validate", &good, "--admin", "unix:/nowhere"]]
    {
        assert_eq!(binary().args(words).output().unwrap().status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn problems_are_in_the_order_of_files_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    let routes = file(&folder, "z.yaml", ["a", "a", "b"].map(broken_route).concat().as_bytes());
    let no_text = file(&folder, "m.yaml", b"\xff");
    let no_yaml = file(&folder, "a.yaml", b"kind: [BROKEN");
    let (_, _, err) = run(&["validate", &routes, &no_text, &no_yaml]);
    // The second route stands twice, which is known only when all are read.
    let positions: Vec<_> = err.lines().filter_map(|line| Some(line.split_once(": error: ")?.0)).collect();
    let at = |file: &str, lines: &[&str]| lines.iter().map(|line| format!("{file}{line}")).collect::<Vec<_>>();
    let expected = [at(&routes, &[":8", ":14", ":20", ":32"]), at(&no_text, &[""]), at(&no_yaml, &[":1"])].concat();
    assert_eq!(positions, expected, "{err}");
}

/// Runs a command whose standard input is a text.
fn fed(words: &[&str], text: &str) -> (i32, String, String) {
    let mut command = binary();
    let mut child =
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    told(&child.wait_with_output().unwrap())
}

#[test]
fn standard_input_has_a_name() {
    let (code, _, err) = fed(&["validate", "-"], "kind: [BROKEN");
    assert!(code == 65 && err.starts_with("<stdin>:1: error: "), "{err}");
}

#[test]
fn each_example_is_valid_and_they_can_be_joined() {
    let example = |name: &str| format!("{EXAMPLES}/{name}");
    let text = |name: &str| std::fs::read_to_string(example(name)).unwrap();
    for name in ["services.yaml", "workload-entries.yaml", "all-v1.yaml", "20-v2.yaml"] {
        assert_eq!(run(&["validate", &example(name)]).0, 0, "{name}");
        assert!(text(name).starts_with("---\n"), "{name}");
    }
    let together = ["services.yaml", "workload-entries.yaml", "all-v1.yaml"].map(text).concat();
    let (code, out, err) = fed(&["validate", "-"], &together);
    assert_eq!((code, out.as_str()), (0, "1 file: no problem found; 2 objects of other kinds passed over\n"), "{err}");
}

#[test]
fn many_mistakes_of_one_document_are_said_at_once_and_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: r\n  annotations: {tcpshift.io/steer: x}\n\
                spec:\n  hosts: ['*']\n  gateways: [g]\n  tpc: []\n  tcp:\n  - match: [{port: 314000, sourceSubnet: 10.0.0.0/33}]\n    \
                route:\n    - destination: {host: h, port: {number: '9000'}}\n      weight: -20\n    - destination: {host: h}\n      weight: x\n";
    let (code, _, err) = run(&["validate", &file(&folder, "r.yaml", text.as_bytes())]);
    assert_eq!(code, 65);
    let fields =
        ["steer", "tpc", "match[0].port:", "sourceSubnet", "port.number", "route[0].weight", "route[1].weight"];
    for field in fields {
        assert!(err.contains(field), "{field} is missing:\n{err}");
    }
    assert_eq!(err.lines().filter(|line| line.contains(": error: ")).count(), fields.len(), "{err}");
}

#[test]
fn a_value_of_the_wrong_type_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s}\nspec:\n  hosts: [a.example.com]\n  \
                ports: [{number: 80, name: tcp, protocol: TCP}]\n  resolution: STATIC\n  endpoints:\n  - 10.0.0.1\n";
    let (code, _, err) = run(&["validate", &file(&folder, "s.yaml", text.as_bytes())]);
    assert_eq!((code, err.lines().filter(|line| line.contains(": error: ")).count()), (65, 1), "{err}");
    assert!(err.contains("s.yaml:9: error: ") && err.contains("(write `{address: 10.0.0.1}`)"), "{err}");
}

#[test]
fn json_values_in_a_row_are_read_as_kubectl_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |name: &str, host: &str| {
        let metadata = json!({"name": name});
        json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata, "spec": {"host": host}})
    };
    // One is printed in a single line, and the other as by `jq .`.
    let (a, b) = (rule("a", "a.example.com").to_string(), rule("b", "b.example.com"));
    let pretty = serde_json::to_string_pretty(&b).unwrap();
    let stream = file(&folder, "stream.json", format!("{a}{a}\n{pretty}\n").replacen("\"a\"", "\"c\"", 1).as_bytes());
    let (code, out, err) = run(&["validate", &stream]);
    assert_eq!((code, out.as_str()), (0, "1 file: no problem found\n"));
    // What only a look at all objects together can see has a command of its own.
    assert_eq!(
        err,
        format!(
            "Not checked here: whether the hosts, ports, subsets and gateways exist that objects\n\
             refer to, and which rules are reached. See `tcpshift-agent analyze {stream}`.\n"
        )
    );
    // A fault is named with its line, and hides neither that of the value behind it nor the value itself.
    let faulty = format!("{a}\n{}\n{}\n{a}\n", "{\"kind\": [}", pretty.replace("\"host\"", "\"hots\""));
    let (code, out, err) = run(&["validate", &file(&folder, "faulty.json", faulty.as_bytes())]);
    assert_eq!(code, 65, "{out}{err}");
    let line = 3 + pretty.lines().position(|line| line.contains("\"host\"")).unwrap();
    for said in
        ["faulty.json:2: error: this is not JSON", &format!("faulty.json:{line}: error: "), "stands twice: here and at"]
    {
        assert!(err.contains(said), "{said} is not in\n{err}");
    }
}

#[test]
fn a_folder_of_other_things_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        file(&folder, &format!("{name}.yaml"), "replicas: 1\n---\nimage: x\n---\ntag: y\n".as_bytes());
    }
    let path = folder.path().display().to_string();
    let no_object = |err: &str| err.lines().filter(|line| line.contains("no apiVersion or no kind")).count();
    let (code, out, err) = run(&["validate", &path]);
    assert_eq!((code, out.as_str(), no_object(&err)), (65, "2 files: 6 errors, 0 warnings\n", 1), "{err}");
    assert!(err.contains("6 documents in 2 files are no objects") && err.contains("--all"), "{err}");
    assert_eq!(no_object(&run(&["validate", "--all", &path]).2), 6);
    let (_, out, _) = run(&["validate", "-o", "json", &path]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["problems"].as_array().unwrap().len(), 6);
    let (code, out, _) = run(&["analyze", &path]);
    assert_eq!((code, out.lines().count(), no_object(&out)), (79, 1, 1), "{out}");
    assert_eq!(no_object(&run(&["analyze", "--all", &path]).1), 6);
}

#[test]
fn what_goes_wrong_in_silence_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {ports: [{name: tcp-pg, port: 5432}], selector: {app: db}}\n";
    let entry = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: one}\nspec:\n  address: 10.0.0.1\n  \
                 labels: {app: db}\n  ports: {pg: 15432}\n";
    let (service, entry) = (file(&folder, "s.yaml", service.as_bytes()), file(&folder, "w.yaml", entry.as_bytes()));
    let (code, out, err) = run(&["validate", &service, &entry]);
    assert_eq!((code, out.as_str()), (0, "2 files: valid, 1 warning\n"), "{err}");
    assert!(err.contains(&format!("{entry}:7: warning: WorkloadEntry default/one: spec.ports.pg: ")), "{err}");
    assert!(err.contains("15432 is not dialled (write tcp-pg)"), "{err}");
    // Without the service nothing is known.
    assert_eq!(run(&["validate", &entry]).1, "1 file: no problem found\n");
}
