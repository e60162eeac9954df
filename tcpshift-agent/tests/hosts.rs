//! `hosts`: what ServiceEntries become in a host file, from files and from an agent.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tcpshift_agent::admin::api::{GetReply, Item, StatusReply};
use tcpshift_agent::admin::{self, server};
use tokio::sync::{mpsc, oneshot};

const ENTRIES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b}
spec:
  hosts: [one.example.com, two.example.com, '*.wild.example.com']
  addresses: [240.0.0.1, 240.1.0.0/16, 'fd00::1']
  ports: [{number: 9000, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [net.example.com]
  addresses: [240.2.0.0/16]
  ports: [{number: 9000, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild}
spec:
  hosts: ['*.example.org']
  addresses: [240.0.0.9]
  ports: [{number: 9000, name: tcp, protocol: TCP}]
";

fn run(folder: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpshift-agent"));
    command.env("TCPSHIFT_ADMIN", format!("unix:{}/admin.sock", folder.display())).env_remove("RUST_LOG");
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn files_become_lines_of_a_host_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.yaml");
    std::fs::write(&file, ENTRIES).unwrap();
    let (code, out, err) = run(folder.path(), &["hosts", &file.display().to_string()]);
    let expected = "\
# net.example.com: ServiceEntry default/a has no single address
240.0.0.1 one.example.com two.example.com
fd00::1 one.example.com two.example.com
";
    assert_eq!((code, out.as_str(), err.as_str()), (0, expected, ""));
    std::fs::write(&file, format!("{ENTRIES}---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n")).unwrap();
    let (code, out, err) = run(folder.path(), &["hosts", &file.display().to_string()]);
    assert!(code == 65 && out.is_empty() && err.contains("routes.yaml:"), "{out}{err}");
    let (code, out, _) = run(folder.path(), &["hosts", "/nowhere.yaml"]);
    assert!(code == 1 && out.is_empty(), "{out}");
}

#[test]
fn a_host_file_has_the_lines_once_however_often_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let (file, hosts) = (folder.path().join("routes.yaml"), folder.path().join("hosts"));
    std::fs::write(&file, ENTRIES).unwrap();
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let (file_name, hosts_name) = (file.display().to_string(), hosts.display().to_string());
    let words = ["hosts", "--write", &hosts_name, &file_name];
    assert_eq!(run(folder.path(), &words), (0, format!("{hosts_name} written\n"), String::new()));
    let text = std::fs::read_to_string(&hosts).unwrap();
    assert!(text.starts_with("127.0.0.1 localhost\n# BEGIN") && text.contains("\n240.0.0.1 one.example.com"), "{text}");
    assert_eq!(run(folder.path(), &words), (0, format!("{hosts_name} unchanged\n"), String::new()));
    assert_eq!(std::fs::read_to_string(&hosts).unwrap(), text);
    // What is gone goes, and what is somebody else's stays.
    std::fs::write(&file, ENTRIES.replace("240.0.0.1", "240.0.0.7")).unwrap();
    assert_eq!(run(folder.path(), &words).0, 0);
    assert_eq!(std::fs::read_to_string(&hosts).unwrap(), text.replace("240.0.0.1", "240.0.0.7"));
    let (code, out, err) = run(folder.path(), &["hosts", "--write", "/nowhere/hosts", &file_name]);
    assert!(code == 1 && out.is_empty() && err.contains("/nowhere/hosts"), "{out}{err}");
}

/// One service is served, one asks for what cannot be had, and of the third there is nothing.
fn status() -> StatusReply {
    let listener = |host: &str, address: &str, datapath: &str| {
        let route = json!({
            "name": format!("default/{host}"), "steerBy": "connection", "datapath": datapath, "reason": "",
            "destinations": [],
        });
        json!({"name": format!("{host}.example.com:9000"), "address": address, "unrouted": 0, "routes": [route]})
    };
    serde_json::from_value(json!({
        "version": "1", "pid": 1, "uptimeSeconds": 1, "generation": 1, "seed": 1, "datapath": "connect",
        "assignment": {"by": "kernel", "reason": "", "kernel": 0, "agent": 0}, "draining": false, "objects": 3,
        "listeners": [listener("a", "240.0.0.1, fd00::1", "connect"), listener("b", "240.0.0.2", "none")],
        "retiredActive": 0, "trouble": [], "notes": [],
    }))
    .unwrap()
}

fn entry(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "hosts": [format!("{name}.example.com")],
            "addresses": [address],
            "ports": [{"number": 9000, "name": "tcp", "protocol": "TCP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "10.0.0.1"}],
        },
    })
}

#[test]
fn the_agent_is_asked_where_no_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = run(folder.path(), &["hosts"]);
    assert!(code == 1 && out.is_empty() && err.contains("no agent answers"), "{out}{err}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = server::bind(&folder.path().join("admin.sock")).unwrap();
    let (commands, mut inbox) = mpsc::channel(8);
    runtime.spawn(async move {
        while let Some(command) = inbox.recv().await {
            match command {
                admin::AdminCommand::Get(request, reply) => {
                    assert_eq!((request.kind.as_str(), request.name), ("serviceentry.networking.istio.io", None));
                    let items = [("a", "240.0.0.1"), ("b", "240.0.0.2"), ("c", "240.0.0.3")];
                    let items = items.map(|(name, ip)| Item { object: entry(name, ip), origin: "applied".to_owned() });
                    drop(reply.send(Ok(GetReply {
                        items: items.to_vec(),
                        resource_version: "1".to_owned(),
                        digest: "d1".to_owned(),
                    })));
                }
                admin::AdminCommand::Status(reply) => drop(reply.send(Ok(status()))),
                command => panic!("{command:?}"),
            }
        }
    });
    let socket = runtime.block_on(async { listener.listen() }).unwrap();
    let (served, renewed) = ((listener, socket), mpsc::channel(1).1);
    runtime.spawn(server::serve(served, renewed, commands, std::future::pending(), oneshot::channel().0));
    let expected = "\
240.0.0.1 a.example.com
# b.example.com: ServiceEntry default/b is not served: it has no endpoint, or this host steers nothing
# c.example.com: ServiceEntry default/c is not served: it has no endpoint, or this host steers nothing
";
    assert_eq!(run(folder.path(), &["hosts"]), (0, expected.to_owned(), String::new()));
}
