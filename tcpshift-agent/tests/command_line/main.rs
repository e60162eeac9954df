//! The binary as a person uses it: what it prints where, and its exit codes, against an agent that answers by
//! heart.

#![expect(clippy::unwrap_used, reason = "a test")]

mod agent;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use agent::{app, route};
use serde_json::{Value, json};
use tcpshift_agent::admin::api::{ChangeReply, Diff};
use tcpshift_agent::admin::server;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

const ROUTE: &str = "kind: VirtualService";

/// An agent that answers by heart, in a thread of the test.
struct World {
    folder: TempDir,
    _runtime: tokio::runtime::Runtime,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = server::bind(&folder.path().join("admin.sock")).unwrap();
    let (commands, inbox) = mpsc::channel(8);
    runtime.spawn(app(inbox));
    let socket = runtime.block_on(async { listener.listen() }).unwrap();
    let (served, renewed) = ((listener, socket), mpsc::channel(1).1);
    runtime.spawn(server::serve(served, renewed, commands, std::future::pending(), oneshot::channel().0));
    let world = World { folder, _runtime: runtime };
    for _ in 0..100 {
        if std::os::unix::net::UnixStream::connect(world.folder.path().join("admin.sock")).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    world
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpshift-agent"));
    command.env_remove("TCPSHIFT_ADMIN").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

impl World {
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = binary();
        command.env("TCPSHIFT_ADMIN", format!("unix:{}/admin.sock", self.folder.path().display())).args(words);
        command
    }

    /// Exit code, standard output, standard error.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        told(&self.command(words).output().unwrap())
    }
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn apply_prints_as_kubectl_does() {
    let world = world();
    let file = world.file("a.yaml", ROUTE);
    let (code, out, err) = world.run(&["apply", "-f", &file]);
    assert_eq!(
        out,
        "gateway.networking.istio.io/tcp-echo-gateway created\nvirtualservice.networking.istio.io/tcp-echo unchanged\n"
    );
    assert_eq!(
        err,
        "a.yaml:3: warning: VirtualService default/tcp-echo: spec.tcp[0]: something (mend it)\n\
         note: deployment.apps/tcp-echo-v1 passed over: tcpshift does not read this kind\n"
    );
    assert_eq!(code, 0);
    let (_, out, _) = world.run(&["apply", "-f", &file, "--dry-run"]);
    assert!(out.starts_with("gateway.networking.istio.io/tcp-echo-gateway created (dry run)\n"));
    let (_, out, _) = world.run(&["apply", "-f", &file, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["generation"], 3);
    let (code, out, _) = world.run(&["apply", "-f", &file, "-o", "name"]);
    let names = "gateway.networking.istio.io/tcp-echo-gateway\nvirtualservice.networking.istio.io/tcp-echo\n";
    assert_eq!((code, out.as_str()), (0, names));
    let broken = world.file("broken.yaml", "BROKEN");
    let (code, out, err) = world.run(&["apply", "-f", &broken]);
    assert_eq!((code, out.as_str()), (65, ""));
    assert_eq!(
        err,
        "a.yaml:3: error: VirtualService default/tcp-echo: spec.tcp[0]: something (mend it)\n\
         error: nothing is stored: 1 object is invalid\n"
    );
}

#[test]
fn preview_prints_what_would_change() {
    let world = world();
    let file = world.file("a.yaml", ROUTE);
    let (code, output, errors) = world.run(&["preview", &file]);
    assert_eq!((code, output.as_str()), (0, "nothing changes\n"), "{errors}");
    assert!(errors.contains("warning: "), "{errors}");
    let (code, output, _) = world.run(&["preview", "--delete", "-f", &file, "-o", "json"]);
    let reply: ChangeReply = serde_json::from_str(&output).unwrap();
    assert_eq!((code, reply.diff), (0, Some(Diff::default())));
    let (code, output, _) = world.run(&["preview", &world.file("b.yaml", "BROKEN")]);
    assert_eq!((code, output.as_str()), (65, ""));
    assert_eq!(world.run(&["preview"]).0, 2);
}

#[test]
fn apply_reads_folders_and_standard_input() {
    let world = world();
    world.file("folder/a.yaml", ROUTE);
    let folder = world.folder.path().join("folder").display().to_string();
    assert_eq!(world.run(&["apply", "-f", &folder]).0, 0);
    let mut child = world.command(&["apply", "-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"BROKEN").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(65));
    assert_eq!(world.run(&["apply", "-f", &world.file("huge.yaml", "HUGE")]).0, 65);
    std::fs::create_dir(world.folder.path().join("nothing")).unwrap();
    let nothing = world.folder.path().join("nothing").display().to_string();
    let (code, _, err) = world.run(&["apply", "-f", &nothing]);
    assert!(code == 1 && err.contains("no file in"), "{err}");
    let (code, _, err) = world.run(&["apply", "-f", "/nowhere/a.yaml"]);
    assert!(code == 1 && err.starts_with("error: cannot read /nowhere/a.yaml: "), "{err}");
    assert_eq!(world.run(&["apply", "-f", "-", "-f", "-"]).0, 2);
}

#[test]
fn delete_prints_as_kubectl_does() {
    let world = world();
    let deleted = "virtualservice.networking.istio.io \"tcp-echo\" deleted\n";
    for words in [&["delete", "vs", "tcp-echo"][..], &["delete", "virtualservice/tcp-echo"]] {
        assert_eq!(world.run(words), (0, deleted.to_owned(), String::new()));
    }
    let (code, out, err) = world.run(&["delete", "vs", "x"]);
    let expected = "Error from server (NotFound): virtualservices.networking.istio.io \"x\" not found\n";
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", expected));
    assert_eq!(world.run(&["delete", "vs", "x", "--ignore-not-found"]).0, 0);
    assert_eq!(world.run(&["delete", "-f", &world.file("a.yaml", ROUTE)]).0, 0);
    for words in [&["delete"][..], &["delete", "vs"], &["delete", "vs", "x", "-f", "y"]] {
        assert_eq!(world.run(words).0, 2, "{words:?}");
    }
    let (code, _, err) = world.run(&["delete", "pod", "x"]);
    assert!(code == 1 && err.contains("there is no kind \"pod\""), "{err}");
}

#[test]
fn get_prints_as_kubectl_does() {
    let world = world();
    let (code, out, err) = world.run(&["get", "vs"]);
    let table = "NAME       GATEWAYS               HOSTS   AGE\n\
                 other      [\"tcp-echo-gateway\"]   [\"*\"]   <unknown>\n\
                 tcp-echo   [\"tcp-echo-gateway\"]   [\"*\"]   <unknown>\n";
    assert_eq!((code, out.as_str(), err.as_str()), (0, table, ""));
    let (_, out, _) = world.run(&["get", "vs", "tcp-echo", "-o", "wide"]);
    assert!(out.ends_with("   v1=80,v2=20   applied\n"), "{out}");
    let (_, out, _) = world.run(&["get", "vs,dr", "-A"]);
    assert!(out.contains("\ndefault     virtualservice.networking.istio.io/other  "), "{out}");
    let names = "virtualservice.networking.istio.io/other\nvirtualservice.networking.istio.io/tcp-echo\n";
    assert_eq!(world.run(&["get", "vs", "-o", "name"]).1, names);
    let (_, out, _) = world.run(&["get", "virtualservice", "tcp-echo", "-o", "yaml"]);
    assert!(out.starts_with("apiVersion: networking.istio.io/v1\n") && out.contains("weight: 80\n"), "{out}");
    let (_, out, _) = world.run(&["get", "vs/tcp-echo", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), route("tcp-echo", 20));
    let (_, out, _) = world.run(&["get", "vs", "-o", "json"]);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 2));
}

#[test]
fn get_says_what_is_not_there() {
    let world = world();
    for (words, said) in [
        (&["get", "dr"][..], "No resources found in default namespace.\n"),
        (&["get", "vs", "-n", "empty"], "No resources found in empty namespace.\n"),
        (&["get", "dr", "-A"], "No resources found\n"),
    ] {
        assert_eq!(world.run(words), (0, String::new(), said.to_owned()));
    }
    let (code, out, err) = world.run(&["get", "vs", "x", "tcp-echo"]);
    assert_eq!(err, "Error from server (NotFound): virtualservices.networking.istio.io \"x\" not found\n");
    assert!(code == 1 && out.lines().count() == 2, "{out}");
    for words in [&["get"][..], &["get", "vs", "x", "-A"], &["get", "vs,dr", "-w"], &["get", "vs", "-o", "x"]] {
        assert_eq!(world.run(words).0, 2, "{words:?}");
    }
    let (code, _, err) = world.run(&["delete", "pod", "x"]);
    assert!(code == 1 && err.contains("there is no kind \"pod\""), "{err}");
}

#[test]
fn get_follows() {
    let world = world();
    let (code, out, err) = world.run(&["get", "vs", "tcp-echo", "-w"]);
    let row = "tcp-echo   [\"tcp-echo-gateway\"]   [\"*\"]   <unknown>\n";
    assert_eq!(out, format!("NAME       GATEWAYS               HOSTS   AGE\n{row}{row}"));
    assert_eq!((code, err.as_str()), (1, "error: the agent is ending; run it again once one answers\n"));
    let (_, out, _) = world.run(&["get", "vs", "tcp-echo", "-w", "-o", "wide"]);
    assert!(out.contains("v1=80,v2=20   applied\n") && out.ends_with("v1=50,v2=50   routes.yaml:7\n"), "{out}");
    let (code, _, err) = world.run(&["get", "vs", "x", "-w"]);
    assert_eq!(err, "Error from server (NotFound): virtualservices.networking.istio.io \"x\" not found\n");
    assert_eq!(code, 1);
    let (_, out, _) = world.run(&["get", "vs", "tcp-echo", "-w", "-o", "yaml"]);
    assert_eq!(out.matches("---\n").count(), 1, "{out}");
}

#[test]
fn shift_shows_the_difference() {
    let world = world();
    let (code, out, _) = world.run(&["shift", "vs/tcp-echo", "v2=30"]);
    let expected = "virtualservice.networking.istio.io/tcp-echo configured\n  \
                    tcp-echo:9000/v1  80 % -> 70 %  (weight 70)\n  \
                    tcp-echo:9000/v2  20 % -> 30 %  (weight 30)\n";
    assert_eq!((code, out.as_str()), (0, expected));
    for (word, kind) in [("tcproute/a", "tcproute.gateway.networking.k8s.io"), ("a", "")] {
        let (code, out, _) = world.run(&["shift", word, "v2=30", "--dry-run", "--rule", "1"]);
        let expected = format!(
            "{kind}/a configured (dry run)\n  rules[1] tcp-echo:9000/v1  70 % -> 70 %  (weight 70)\n  \
             rules[1] tcp-echo:9000/v2  30 % -> 30 %  (weight 30)\nnothing changes\n"
        );
        assert_eq!((code, out), (0, expected));
    }
    let (_, out, _) = world.run(&["shift", "a", "v2=30", "--rule", "canary", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["shifted"]["rule"], "rules[\"canary\"]");
    let (_, out, _) = world.run(&["shift", "a", "v2=40", "-o", "yaml"]);
    assert!(out.starts_with("apiVersion: ") && out.contains("weight: 40"), "{out}");
    assert_eq!(world.run(&["shift", "vs/a", "v2=40", "-o", "name"]).1, "virtualservice.networking.istio.io/a\n");
    let (code, _, err) = world.run(&["shift", "vs/from-file", "v2=30"]);
    assert!(code == 1 && err.starts_with("error: virtualservice from-file comes from routes.yaml:1"), "{err}");
    for words in [
        &["shift", "vs/tcp-echo"][..],
        &["shift", "vs", "v2=1"],
        &["shift", "vs/x", "v2=101"],
        &["shift", "vs/x", "v2=1.234"],
    ] {
        assert_eq!(world.run(words).0, 2, "{words:?}");
    }
    // Every word is well formed; whether a route can be divided so is for the agent to say.
    let (code, _, err) = world.run(&["shift", "vs/x", "v1=60", "v2=60"]);
    assert_eq!((code, err.as_str()), (1, "error: more than 100 %\n"));
    let (code, _, err) = world.run(&["delete", "pod", "x"]);
    assert!(code == 1 && err.contains("there is no kind \"pod\""), "{err}");
}

#[test]
fn status_is_told_to_people_and_programs() {
    let world = world();
    let (code, out, _) = world.run(&["status"]);
    assert!(
        code == 0
            && out
                .starts_with("agent 0.1.0, pid 1, up 2s, generation 7, 0 objects\ndatapath proxy, assignment kernel\n")
    );
    assert_eq!(serde_json::from_str::<Value>(&world.run(&["status", "-o", "json"]).1).unwrap()["generation"], 7);
}

#[test]
fn analyze_lays_files_over_an_agent_that_is_named() {
    let world = world();
    let route = format!("{}\n", route("tcp-echo", 100));
    let file = world.file("route.yaml", &route);
    let (code, out, _) = world.run(&["analyze", &file]);
    assert_eq!(code, 79, "{out}");
    assert!(out.starts_with("Error [IST0101] (VirtualService default/tcp-echo "), "{out}");
    let (code, out, _) = told(&binary().args(["analyze", "-o", "json", &file]).output().unwrap());
    let found: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found[0]["code"]), (79, &Value::from("IST0101")));
    let quiet = ["analyze", "-S", "IST0101=VirtualService *.default", "--failure-threshold", "info", &file];
    let (code, out, err) = told(&binary().args(quiet).output().unwrap());
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.starts_with("\u{2714} No validation issues found when analyzing "), "{err}");
    let broken = world.file("broken.yaml", "a: [\n");
    let (code, _, err) = told(&binary().args(["analyze", &broken, &file]).output().unwrap());
    assert_eq!(code, 65, "{err}");
    let (code, out, _) = told(&binary().args(["analyze", "--list"]).output().unwrap());
    assert!(code == 0 && out.contains("IST0145 ") && out.contains("TS0025 "), "{out}");
    let (code, _, err) = told(&binary().args(["analyze", "--admin", "unix:/nowhere", &file]).output().unwrap());
    assert_eq!(code, 1, "{err}");
}

#[test]
fn without_an_agent_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("admin.sock");
    let admin = format!("unix:{}", path.display());
    for words in [&["--admin", &admin, "status"][..], &["status", "--admin", &admin]] {
        let (code, out, err) = told(&binary().args(words).output().unwrap());
        let said = format!("error: no agent answers at {}: start one with `sudo tcpshift-agent run`", path.display());
        assert!(code == 1 && out.is_empty() && err.starts_with(&said), "{err}");
    }
}

#[test]
fn a_wrong_command_line_is_2() {
    for words in [
        &[][..],
        &["frobnicate"],
        &["status", "--admin", "/run/admin.sock"],
        &["validate", "--admin", "tcp:1", "x"],
        &["run", "--seed", "x"],
        &["run", "--drain-timeout", "30"],
        &["run", "--label", "x"],
        &["run", "--datapath", "warp"],
        &["run", "--listen-address", "localhost"],
        &["apply"],
        &["validate"],
    ] {
        let (code, out, err) = told(&binary().args(words).output().unwrap());
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {err}");
        assert!(!err.is_empty());
    }
    assert_eq!(binary().env("TCPSHIFT_ADMIN", "rubbish").arg("status").output().unwrap().status.code(), Some(2));
}

#[test]
fn help_names_the_exit_codes_and_gives_examples() {
    let (code, out, _) = told(&binary().arg("--help").output().unwrap());
    assert!(code == 0 && out.contains("65  invalid input") && out.contains("TCPSHIFT_ADMIN"), "{out}");
    for command in
        ["run", "apply", "delete", "get", "shift", "validate", "analyze", "preview", "describe", "status", "hosts"]
    {
        let (code, out, _) = told(&binary().args([command, "--help"]).output().unwrap());
        assert!(code == 0 && out.contains("Example") && out.contains(&format!("tcpshift-agent {command}")), "{out}");
        assert!(!out.contains("sudo"), "{out}");
        for word in out.split_whitespace().filter(|word| word.starts_with("examples/")) {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(word);
            assert!(path.exists(), "{command} --help names {word}");
        }
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let world = world();
    let mut child = world.command(&["status"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let (code, _, err) = told(&child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
}
